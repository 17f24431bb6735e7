"""Round trips with transformers' own classes, of random weights: features and files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmrel.apis import get_backbone
from mmrel.checkpoints import convert, convert_to_folder, read_backbone_file
from mmrel.models.backbones import DenseViT, ViT

transformers = pytest.importorskip("transformers")

SIZES = [(224, 224), (160, 240)]
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
KINDS = {
    "dinov2": ("Dinov2Model", "Dinov2Config", {"patch_size": 16, "mlp_ratio": 2}),
    "vit": ("ViTModel", "ViTConfig", {"intermediate_size": 96}),
    "vit_mae": ("ViTMAEModel", "ViTMAEConfig", {"intermediate_size": 96, "mask_ratio": 0.0}),
    "classifier": ("ViTForImageClassification", "ViTConfig", {"intermediate_size": 96}),
    "pretraining": (
        "ViTMAEForPreTraining",
        "ViTMAEConfig",
        {
            "intermediate_size": 96,
            "decoder_hidden_size": 32,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 32,
        },
    ),
}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def made(kind: str, folder: Path, **options: Any) -> Any:
    """A model of transformers' with weights that all count, and its folder."""
    model_class, config_class, own = KINDS[kind]
    config = getattr(transformers, config_class)(**SMALL | own)
    model = getattr(transformers, model_class)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    model.save_pretrained(folder, **options)
    images = {"image_mean": MEAN, "image_std": STD, "do_normalize": True, "do_rescale": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return model


def theirs(model: Any, images: Tensor) -> Tensor:
    """All tokens after the final norm."""
    encoder = model.vit if hasattr(model, "vit") else model
    options: dict[str, Any] = {}
    if "Dinov2" not in type(encoder).__name__:
        options["interpolate_pos_encoding"] = True
    if "MAE" in type(encoder).__name__:
        patches = images.shape[-1] * images.shape[-2] // 256
        options["noise"] = torch.arange(patches).expand(len(images), -1)  # keeps the order
    with torch.no_grad():
        return encoder(images, **options).last_hidden_state


def ours(backbone: ViT, images: Tensor) -> Tensor:
    with torch.no_grad():
        views = backbone(images)
    assert views.cls is not None
    return torch.cat([views.cls[:, None], views.patches], 1)


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["dinov2", "vit", "vit_mae"])
@pytest.mark.parametrize("size", SIZES)
def test_features__equal_those_of_transformers(
    kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    model = made(kind, tmp_path / kind)
    images = torch.randn(2, 3, *size)
    backbone = get_backbone(tmp_path / kind)
    assert backbone.num_heads == 4
    close(ours(backbone, images), theirs(model, images))


@pytest.mark.parametrize("kind", ["dinov2", "vit"])
def test_round_trip__back_to_transformers(kind: str, tmp_path: Path) -> None:
    model = made(kind, tmp_path / "theirs")
    middle, written = tmp_path / "backbone.pth", tmp_path / "ours"
    convert(tmp_path / "theirs", middle)
    convert_to_folder(middle, written)
    again, report = transformers.AutoModel.from_pretrained(written, output_loading_info=True)
    again.eval()
    assert type(again) is type(model)
    assert not any(report.values()), report
    for size in SIZES:
        images = torch.randn(2, 3, *size)
        close(theirs(again, images), theirs(model, images))
        close(ours(get_backbone(written), images), theirs(model, images))
    with torch.no_grad():
        found = again(torch.randn(1, 3, 224, 224), output_hidden_states=True)
    close(found.pooler_output, found.last_hidden_state[:, 0])
    assert len(found.hidden_states) == 3
    processor = transformers.AutoImageProcessor.from_pretrained(written)
    assert processor.image_mean == pytest.approx(MEAN) and processor.image_std == pytest.approx(STD)
    pixels = processor(torch.zeros(3, 300, 400, dtype=torch.uint8), return_tensors="pt")
    assert pixels["pixel_values"].shape == (1, 3, 224, 224)


@pytest.mark.parametrize("kind", ["classifier", "pretraining"])
def test_folders__of_models_for_a_task_give_their_backbone(kind: str, tmp_path: Path) -> None:
    model = made(kind, tmp_path / kind)
    found = read_backbone_file(tmp_path / kind)
    assert found.prefix == "vit." and list(found.left_out) == [
        "classifier" if kind == "classifier" else "decoder"
    ]
    model.config.mask_ratio = 0.0
    images = torch.randn(1, 3, 224, 224)
    close(ours(get_backbone(tmp_path / kind), images), theirs(model, images))


def test_folders__in_shards_are_the_same(tmp_path: Path) -> None:
    model = made("vit", tmp_path / "whole")
    model.save_pretrained(tmp_path / "parts", max_shard_size="100KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    whole, parts = (read_backbone_file(tmp_path / name).state for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], value) for key, value in parts.items())


def test_init_cfg__takes_a_folder(tmp_path: Path) -> None:
    model = made("dinov2", tmp_path / "folder")
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "folder"), "prefix": "backbone."}
    arch = {"embed_dims": 48, "num_layers": 2, "num_heads": 4, "feedforward_channels": 96}
    dense = DenseViT(
        arch=arch,
        out_indices=(1,),
        out_norm="all",
        layer_scale_init_value=1.0,
        init_cfg=init_cfg,
    )
    dense.init_weights()
    dense.eval()
    images = torch.randn(1, 3, 160, 240)
    close(dense(images)[0].flatten(2).transpose(1, 2), theirs(model, images)[:, 1:])
