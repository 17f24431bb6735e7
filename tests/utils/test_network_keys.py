"""One key for the network, the crop size, the patch size and the precision; what follows from them."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmrel.registry import MODELS
from mmrel.utils import UsageError
from mmrel.utils.algorithm import algorithm_of, with_bases
from mmrel.utils.config import load_config
from mmrel.utils.network_keys import AUTO, settle_network

CONFIGS = Path(__file__).parents[2] / "configs"
CUSTOM = sorted(CONFIGS.glob("*/*_vit-small-p16_custom.py"))
names = pytest.mark.parametrize("path", CUSTOM, ids=lambda path: path.stem)


def test_every_method_has_a_recipe_for_images_of_ones_own():
    methods = {path.parent.name for path in CUSTOM}
    assert methods == {"dino", "gram", "ibot", "mocov3", "relvit", "selfpatch", "sere", "sit"}


@names
@pytest.mark.parametrize("network", ["vit-tiny", "vit-base"])
def test_widths_follow_the_network_and_the_model_builds(path: Path, network: str):
    config = load_config(str(path), dict(network=network, crop_size=96))
    text = str(config.model)
    assert f"'{AUTO}'" not in text.replace("'warmup_epochs': 'auto'", "").replace(
        "'alpha': 'auto'", ""
    )
    base = algorithm_of(config.model)
    width = dict(zip(("vit-tiny", "vit-base"), (192, 768), strict=True))[network]
    assert base.backbone.arch == f"deit-{network[4:]}"
    assert base.backbone.img_size == 96
    assert "neck" not in base or base.neck.in_channels == width
    crop = config.train_dataloader.dataset.pipeline[1]
    assert crop.global_size == 96
    assert crop.get("local_size", 48) == 48 or crop.num_local == 0
    if network == "vit-tiny":
        for part in (base.get("head") or {}, base.get("patch_head") or {}):
            part.pop("teacher_temperature", None)
        for part in with_bases(config.model):
            if part.get("alpha") == AUTO:
                part["alpha"] = 1.0
        model = MODELS.build(config.model)
        assert model.backbone.embed_dims == width


def test_patch_14_has_local_crops_of_whole_patches():
    config = load_config(str(CONFIGS / "ibot/ibot_vit-small-p16_custom.py"), dict(patch_size=14))
    crop, masks = config.train_dataloader.dataset.pipeline[1], config.train_dataloader.dataset
    assert (crop.global_size, crop.local_size) == (224, 98)
    assert masks.pipeline[3].patch_size == masks.pipeline[4].patch_size == 14


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(network="vit-huge"), "network is 'vit-huge'; choose one of vit-tiny, vit-small"),
        (dict(crop_size=100), "crop_size is 100; .* give crop_size=96"),
        (dict(crop_size=32), "crop_size is 32; .* give crop_size=48"),
        (dict(crop_size="large"), "crop_size is 'large'"),
        (dict(patch_size=0), "patch_size is 0"),
        (dict(precision="fp64"), "precision is 'fp64'; choose one of fp32, fp16, bf16"),
    ],
)
def test_wrong_values_are_told_with_the_allowed_ones(options: dict, text: str):
    with pytest.raises(UsageError, match=text):
        load_config(str(CUSTOM[0]), options)


def test_a_published_recipe_has_no_such_key():
    path = CONFIGS / "dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k.py"
    with pytest.raises(UsageError, match=r"network=vit-tiny was given, but .* has no such key"):
        load_config(str(path), dict(network="vit-tiny"))


def test_a_config_whose_numbers_are_settled_takes_no_other_network(tmp_path: Path):
    config = load_config(str(CUSTOM[0]))
    config.dump(tmp_path / "run.py")
    again = load_config(str(tmp_path / "run.py"))
    assert again.model == config.model
    with pytest.raises(UsageError, match="is the configuration of a run"):
        load_config(str(tmp_path / "run.py"), dict(crop_size=96))


def test_settled_once_is_settled():
    config = load_config(str(CUSTOM[0]))
    before = config.to_dict()
    settle_network(config)
    assert config.to_dict() == before
    plain = Config(dict(model=dict(arch=AUTO)))
    settle_network(plain)
    assert plain.model.arch == AUTO
