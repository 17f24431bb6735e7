"""What settings beside weights tell and change, what is refused by its name, and every way in and out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.beginnings import dino, same
from checkpoints.official import HEADS, WIDTH, save
from mmengine.config import Config
from mmengine.logging import MMLogger

pytest.importorskip("safetensors")

from checkpoints.hub_folders import CONFIG, DINOV2, IMAGES, TIMM, hub_folder

from mmrel.apis import get_backbone
from mmrel.checkpoints import convert, convert_to_folder, load_backbone, read_backbone_file
from mmrel.checkpoints.continuation import continue_from
from mmrel.models.backbones import ViT
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.config import check_load_from, check_pretrained
from mmrel.utils.normalization import IMAGENET

ARCH = {"embed_dims": WIDTH, "num_layers": 2, "num_heads": HEADS, "feedforward_channels": 96}


def test_settings__tell_heads_eps_and_images(tmp_path: Path) -> None:
    """Of 48 channels no number of heads could be guessed."""
    path = hub_folder(tmp_path / "hub")
    _, meta = load_backbone(path)
    assert (meta["num_heads"], meta["norm_eps"], meta["img_size"]) == (HEADS, 1e-12, 70)
    assert meta["method"] == "hf-vit" and meta["pos_interpolation"] == "size"
    assert (tuple(meta["mean"]), tuple(meta["std"])) == IMAGENET
    backbone = get_backbone(path)
    assert {m.eps for m in backbone.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-12}
    convert(path, tmp_path / "backbone.safetensors")
    state, again = load_backbone(tmp_path / "backbone.safetensors")
    assert again == meta | {"source": again["source"]}
    assert same(get_backbone(tmp_path / "backbone.safetensors"), state)


def test_settings__defaults_of_the_class_where_a_config_is_short(tmp_path: Path) -> None:
    """As transformers builds it: 12 heads, which 48 channels have too."""
    short = {k: v for k, v in CONFIG.items() if k not in ("num_attention_heads", "hidden_act")}
    assert load_backbone(hub_folder(tmp_path / "a", config=short))[1]["num_heads"] == 12
    state = official.hf_dinov2().teacher
    meta = load_backbone(hub_folder(tmp_path / "b", state, DINOV2))[1]
    assert (meta["num_heads"], meta["layer_scale"]) == (HEADS, True) and "norm_eps" not in meta


@pytest.mark.parametrize(
    ("images", "mean", "std"),
    [
        (IMAGES, IMAGENET.mean, IMAGENET.std),
        (IMAGES | {"rescale_factor": 1 / 127.5}, [v / 2 for v in IMAGENET.mean], None),
        (IMAGES | {"do_normalize": False}, (0, 0, 0), (255, 255, 255)),
        (IMAGES | {"do_rescale": False}, IMAGES["image_mean"], IMAGES["image_std"]),
        ({"image_mean": [0.5, 0.5, 0.5]}, None, None),
        (IMAGES | {"image_mean": [10**400] * 3}, None, None),
        (IMAGES | {"rescale_factor": "255"}, None, None),
        (None, None, None),
    ],
)
def test_settings__mean_and_deviation(images: Any, mean: Any, std: Any, tmp_path: Path) -> None:
    meta = load_backbone(hub_folder(tmp_path / "hub", images=images))[1]
    assert meta["mean"] == (mean if mean is None else pytest.approx(list(mean), rel=1e-6))
    if std is not None:
        assert meta["std"] == pytest.approx(list(std), rel=1e-6)
    given = load_backbone(tmp_path / "hub", mean=(1, 2, 3), std=(4, 5, 6))[1]
    assert (given["mean"], given["std"]) == ([1, 2, 3], [4, 5, 6])


def test_timm__folder(tmp_path: Path) -> None:
    state = official.vit() | official.pair("head", 10, WIDTH)
    path = hub_folder(tmp_path / "hub", state, TIMM, None)
    found = read_backbone_file(path)
    assert (found.layout, found.meta["num_heads"]) == ("timm", HEADS)
    assert found.meta["mean"] == found.meta["std"] == [127.5] * 3
    assert same(get_backbone(path), found.state)


def test_a_config_beside_a_single_file_counts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    path = save(official.vit(), tmp_path / "pytorch_model.bin")
    assert read_backbone_file(path).meta["num_heads"] == HEADS
    with pytest.raises(ValueError, match="num_heads is 4, but config.json .* says 3. Leave it out"):
        read_backbone_file(path, num_heads=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 64}, r"another network, with embed_dims 64 \(the tensors: 48\)"),
        ({"num_hidden_layers": 3}, "num_layers 3"),
        ({"patch_size": 16}, "patch_size 16"),
        ({"intermediate_size": 192}, "feedforward_channels 192"),
        ({"image_size": 224}, "has 16 x 16 patches"),
        ({"model_type": "beit"}, "'beit', which adds relative position biases"),
        ({"model_type": "swin"}, "'swin', which attends in windows"),
        ({"model_type": "deit"}, "'deit', which has a distillation token"),
        ({"model_type": "bert"}, "'bert'; mmrel's ViT is none. Give one of vit"),
        ({"hidden_act": "quick_gelu"}, "hidden_act='quick_gelu'.*exact GELU"),
        ({"qkv_bias": False}, "no biases on queries"),
        ({"num_attention_heads": "12"}, "num_attention_heads='12'; wanted a number from 1 on"),
        ({"num_attention_heads": 5}, "must divide the width 48"),
        ({"patch_size": [14, 16]}, r"patch_size='\[14, 16\]'"),
        ({"image_size": [70]}, "image_size"),
        ({"layer_norm_eps": 0}, "layer_norm_eps='0'; wanted a number above 0"),
        ({"layer_norm_eps": 10**400}, "layer_norm_eps='1000"),
        ({"num_attention_heads": True}, "num_attention_heads='True'"),
        ({"model_type": "dinov2", "mlp_ratio": "4"}, "mlp_ratio='4'; wanted a number above 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps='nan'"),
    ],
)
def test_settings__that_do_not_fit_are_errors(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = hub_folder(tmp_path / "hub", config=CONFIG | changes)
    with pytest.raises(ValueError, match=message):
        read_backbone_file(path)


def test_load_from__a_folder(tmp_path: Path) -> None:
    path = hub_folder(tmp_path / "hub")
    config = Config(dict(load_from=str(path), model=dict(type="x")))
    check_load_from(config)
    assert config.load_from == str(path / "model.safetensors")
    network = dino(img_size=70, patch_size=14)
    found = continue_from(network, read_checkpoint(config.load_from), config.load_from)
    network.load_state_dict(found.state)
    state = read_backbone_file(path).state
    assert same(network.backbone, state) and same(network.teacher.backbone, state)
    assert "number of attention heads" not in found.report
    assert "layer norms of eps 1e-12, the network has 1e-06" in found.report
    (tmp_path / "hub" / "config.json").write_text(json.dumps(CONFIG | {"num_attention_heads": 4}))
    with pytest.raises(ValueError, match="trained with 4 attention heads, the model has 3"):
        continue_from(network, read_checkpoint(path), str(path))


@pytest.mark.parametrize("prefix", ["backbone.", None])
def test_init_cfg__a_folder(prefix: str | None, tmp_path: Path) -> None:
    path = hub_folder(tmp_path / "hub")
    init_cfg = dict(type="Pretrained", checkpoint=str(path), prefix=prefix)
    config = Config(dict(model=dict(type="mmrel.ViT", init_cfg=init_cfg)))
    check_pretrained(config)
    messages: list[str] = []
    logger = MMLogger.get_current_instance()
    logger.addFilter(lambda record: bool(messages.append(record.getMessage())) or True)
    backbone = ViT(arch=ARCH, img_size=70, patch_size=14, init_cfg=init_cfg)
    backbone.init_weights()
    logger.filters.clear()
    assert same(backbone, read_backbone_file(path).state)
    assert any("norm_cfg=dict(type='LN', eps=1e-12)" in message for message in messages)


def test_written_folder__is_whole_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hub_folder(tmp_path / "hub")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/folder"):
        written = convert_to_folder(source, tmp_path / name)
        files = {file.name for file in (tmp_path / name).iterdir()}
        assert files == {"config.json", "model.safetensors", "preprocessor_config.json"}
    again = read_backbone_file(tmp_path / "empty")
    assert again.meta == written.meta | {
        "source": "empty"
    } and again.state.keys() == written.state.keys() - {"mask_token"}
    assert all(torch.equal(written.state[key], value) for key, value in again.state.items())
    with pytest.raises(ValueError, match="exists. Give the name of a new folder"):
        convert_to_folder(source, tmp_path / "empty")
    place = "mmrel.checkpoints.hugging_face.folder.write_text_atomically"
    monkeypatch.setattr(place, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        convert_to_folder(source, tmp_path / "failed")
    assert {path.name for path in tmp_path.iterdir()} == {"hub", "empty", "new"}


def test_written_folder__notes_where_transformers_differs(tmp_path: Path) -> None:
    path = save(official.dino().content, tmp_path / "dino.pth")
    notes = " ".join(convert_to_folder(path, tmp_path / "hub", num_heads=HEADS).notes)
    assert "equal at 224 x 224 pixels and differ a little at other sizes" in notes
    assert "interpolate_pos_encoding=True" in notes
    images = json.loads((tmp_path / "hub" / "preprocessor_config.json").read_text())
    assert images["image_mean"] == IMAGES["image_mean"] and images["size"] == {"shortest_edge": 256}


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("selfpatch", {}, "no class token, no final norm"),
        ("relvit", {}, "no class token, no positions"),
        ("oblong", {"img_size": (112, 448)}, "a grid that is no square"),
        ("fine-tuned", {}, "no final norm, a norm of the mean patch token"),
        ("scaled", {}, "no whole multiple of the network's 48"),
    ],
)
def test_written_folder__refuses_what_transformers_lacks(
    layout: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    contents = {
        "oblong": lambda: official.vit(grid=(7, 28)),
        "fine-tuned": lambda: official.mae_finetuned().content,
        "scaled": lambda: official.vit(hidden=72, scale="ls"),
    }
    content = contents.get(layout, lambda: official.LAYOUTS[layout]().content)()
    path = save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        convert_to_folder(path, tmp_path / "hub", num_heads=HEADS, **options)
    assert not (tmp_path / "hub").exists()
