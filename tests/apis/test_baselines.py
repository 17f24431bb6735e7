"""What figures are compared with: random weights of the same network, and thumbnails."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from checkpoints import official
from mmengine.config import Config
from PIL import Image

from mmrel.apis import extract_features, get_backbone
from mmrel.apis.baselines import random_like, thumbnail_features
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.models.backbones import MoCoV3ViT, ViT
from mmrel.utils.normalization import Normalization


def fresh(**settings: object) -> ViT:
    cfg = Config(dict(model=dict(backbone={**tiny.vit(), **settings})))
    return get_backbone(cfg, "student")


def trained(backbone: ViT) -> ViT:
    """Every weight away from where it began."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn_like(parameter) + 3)
    return backbone


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mask_token": True},
        {"with_cls_token": False, "final_norm": False},
        {"use_pos_embed": False},
        {"layer_scale_init_value": 1e-5},
        {"pre_norm": True},
        {"type": "mmrel.MoCoV3ViT"},
    ],
)
def test_random_like__nothing_of_the_training_is_left(settings) -> None:
    """Distributed as a network that a pretraining begins with; the same for the same seed."""
    begun = fresh(**settings)
    backbone = trained(fresh(**settings))
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    drawn = random_like(backbone, seed=1)
    assert type(drawn) is type(backbone) and not drawn.training
    for (name, value), wanted in zip(
        drawn.state_dict().items(), begun.state_dict().values(), strict=True
    ):
        assert value.isfinite().all() and not torch.equal(value, state[name])
        scale_is_one = name.endswith(("gamma1.weight", "gamma2.weight"))
        mean, std = (1.0, 0.0) if scale_is_one else (wanted.mean(), wanted.std())
        assert abs(value.mean() - mean) < 0.1, name
        assert value.std(correction=0) == pytest.approx(float(std), rel=0.5, abs=0.01), name
    same, other = random_like(backbone, 1).state_dict(), random_like(backbone, 2).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in drawn.state_dict().items())
    assert any(not torch.equal(value, other[name]) for name, value in drawn.state_dict().items())
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())


def test_random_like__keeps_what_is_no_weight(tmp_path) -> None:
    torch.save(official.vit(width=64, patch=4, grid=(4, 4)), tmp_path / "dino.pth")
    backbone = get_backbone(
        tmp_path / "dino.pth", out_indices=(0, 1), out_norm=False, mean=(1, 2, 3), std=(4, 5, 6)
    )
    backbone.train()
    before = torch.get_rng_state()
    drawn = random_like(backbone)
    assert torch.equal(torch.get_rng_state(), before) and backbone.training
    assert drawn.normalization == Normalization((1, 2, 3), (4, 5, 6))
    assert (drawn.out_indices, drawn.out_norm) == ([0, 1], False)
    assert drawn.pos_interpolation == backbone.pos_interpolation and drawn.provenance is None
    images = torch.randn(2, 3, 16, 16)
    features = extract_features(drawn, images)
    assert features.shape == extract_features(backbone, images).shape
    assert features.std() > 0


def test_random_like__of_a_config_with_pretrained_weights(tmp_path) -> None:
    source = trained(fresh())
    torch.save({"state_dict": source.state_dict()}, tmp_path / "a.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "a.pth"))
    backbone = fresh(init_cfg=init)
    assert torch.equal(backbone.ln1.weight, source.ln1.weight)
    drawn = random_like(backbone)
    assert torch.equal(drawn.ln1.weight, torch.ones(tiny.WIDTH))
    assert backbone.init_cfg["checkpoint"] == init["checkpoint"]


def test_random_like__a_part_that_nobody_draws() -> None:
    class Odd(ViT):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.extra = torch.nn.Parameter(torch.zeros(2))

    settings = {key: value for key, value in tiny.vit().items() if key != "type"}
    with pytest.raises(RuntimeError, match="Odd has no rule to draw extra by"):
        random_like(Odd(**settings))
    assert isinstance(random_like(MoCoV3ViT(**settings)), MoCoV3ViT)


def test_thumbnails__are_means_of_boxes(tmp_path) -> None:
    """Of a photo whose sides are multiples, by hand; files, Pillow images and arrays alike."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    expected = pixels.reshape(4, 3, 4, 5, 3).mean(axis=(1, 3)).ravel() / 255
    for image in (path, str(path), Image.open(path), pixels):
        found = thumbnail_features([image, pixels[:3, :2]], size=4)
        assert found.dtype == torch.float32 and found.shape == (2, 48)
        assert (
            np.abs(found[0].numpy() - expected).max() <= 1.01 / 255
        )  # rounded after rows and columns
    assert thumbnail_features([path]).shape == (1, 16 * 16 * 3)


def test_thumbnails__stand_upright(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    turned = np.ascontiguousarray(np.rot90(pixels, -1))
    assert torch.equal(
        thumbnail_features([tmp_path / "turned.png"], 8), thumbnail_features([turned], 8)
    )


def test_thumbnails__bad_arguments(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"x\.png"):
        thumbnail_features([tmp_path / "x.png"])
    with pytest.raises(ValueError, match="0 images"):
        thumbnail_features([])
    with pytest.raises(ValueError, match="size is 0"):
        thumbnail_features([np.zeros((4, 4, 3), np.uint8)], 0)
