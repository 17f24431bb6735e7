"""Weights of other projects in the shipped configs: the table of docs/downstream.md, row by row."""

from pathlib import Path

import downstream_builds as builds
import pytest
import torch
from checkpoints import official

from mmrel.checkpoints import convert
from mmrel.models.backbones import DenseViT

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

SMALL = dict(embed_dims=384, num_layers=2, num_heads=6, feedforward_channels=1536)
CONFIGS = {
    "detection": "detection/mask-rcnn_vit-small-p16_fpn_8xb2-amp-ms-crop-1x_coco.py",
    "segmentation": "segmentation/vit-small-p16_upernet_4xb4-amp-160k_ade20k-512x512.py",
    "selfpatch": "segmentation/vit-small-p16_selfpatch-fpn_4xb4-amp-40k_ade20k-512x512.py",
}
BARE = {"model.backbone.with_cls_token": False, "model.backbone.out_norm": "none"}
FOURTEEN = {"model.backbone.patch_size": 14, "model.backbone.layer_scale_init_value": 1}


def contents(method: str, depth: int = 2) -> dict:
    """What that project's file holds, at the width of ViT-S."""
    bare = dict(class_token=False, final_norm=False) if method == "selfpatch" else {}
    size = dict(patch=14, grid=(37, 37), scale="ls") if method == "dinov2" else {}
    vit = official.vit(width=384, depth=depth, hidden=1536, **bare, **size)
    if method == "mocov3":
        networks = ("base_encoder", "momentum_encoder")
        return {"state_dict": {f"module.{n}.{k}": v for n in networks for k, v in vit.items()}}
    if method == "dinov2":
        return vit | {"mask_token": torch.zeros(1, 384)}
    return {"teacher": {f"backbone.{k}": v for k, v in vit.items()}} if bare else vit


def build(config: str, path: Path, options: dict, arch: dict | None = SMALL) -> DenseViT:
    settings = builds.load(builds.CONFIGS / CONFIGS[config])
    shrunk = {} if arch is None else {"model.backbone.out_indices": [0, 1]}
    settings.merge_from_dict(shrunk | {"model.backbone.init_cfg.checkpoint": str(path)} | options)
    backbone = settings.model.backbone.to_dict()
    backbone.pop("type")
    model = DenseViT(**(backbone if arch is None else backbone | dict(arch=arch)))
    model.init_weights()
    return model


@pytest.mark.parametrize(
    ("method", "config", "options"),
    [
        ("dino", "detection", {}),
        ("dino", "segmentation", {}),
        ("dino", "selfpatch", {}),
        ("selfpatch", "selfpatch", {}),
        ("selfpatch", "detection", BARE),
        ("selfpatch", "segmentation", BARE),
        ("dinov2", "segmentation", FOURTEEN),
    ],
)
def test_table__loads_whole(tmp_path: Path, method: str, config: str, options: dict) -> None:
    torch.save(contents(method), tmp_path / "theirs.pth")
    converted = convert(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    model = build(config, tmp_path / "ours.pth", options)
    for name, value in model.layers.state_dict().items():
        assert torch.equal(value, converted.state[f"layers.{name}"]), name
    with torch.no_grad():
        assert all(torch.isfinite(x).all() for x in model(torch.randn(1, 3, 64, 96)))


def test_table__mocov3_s_twelve_heads(tmp_path: Path) -> None:
    torch.save(contents("mocov3", depth=12), tmp_path / "theirs.pth")
    convert(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    named = {"model.backbone.arch": "mocov3-small"}
    model = build("detection", tmp_path / "ours.pth", named, arch=None)
    assert model.layers[0].attn.num_heads == 12
    with pytest.raises(ValueError, match="trained with 12 attention heads, the model has 6"):
        build("detection", tmp_path / "ours.pth", {}, arch=None)


@pytest.mark.parametrize("config", ["detection", "segmentation"])
def test_table__selfpatch_without_the_options_is_refused(tmp_path: Path, config: str) -> None:
    torch.save(contents("selfpatch"), tmp_path / "theirs.pth")
    convert(tmp_path / "theirs.pth", tmp_path / "ours.pth")
    with pytest.raises(ValueError, match=r"missing: cls_token.*with_cls_token=False"):
        build(config, tmp_path / "ours.pth", {})
