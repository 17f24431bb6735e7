"""Plans that go on from released weights."""

from pathlib import Path
from typing import Any

import plan_toys
import pytest
from checkpoints import official
from mmengine.config import Config

from mmrel.apis.pretraining.planning import Plan
from mmrel.apis.pretraining.weights import Weights, look_at_weights, network_of
from mmrel.apis.pretraining.wishes import Wishes

META: dict[str, Any] = dict(
    embed_dims=384,
    num_layers=12,
    num_heads=6,
    feedforward_channels=1536,
    patch_size=16,
    layer_scale=False,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
)


def plan(tmp_path: Path, method: str, **meta: Any) -> tuple[Plan, Config]:
    planner = plan_toys.planner(3000, plan_toys.GPU, method=method, weights="w.pth")
    planner.weights = Weights("/w.pth", "dinov2", "vit-small", META | meta)
    made = planner.plan(plan_toys.ToyTrial)
    (tmp_path / "pretrain.py").write_text(made.config)
    return made, Config.fromfile(tmp_path / "pretrain.py")


def test_weights__network_and_patch_are_told_from_the_file(tmp_path: Path) -> None:
    state = official.vit(width=192, depth=12, hidden=768, patch=14, grid=(2, 2), scale="ls")
    path = official.save(state | {"mask_token": official.draw((1, 192))}, tmp_path / "w.pth")
    found = look_at_weights(Wishes("d", weights=str(path)))
    assert found is not None
    assert (found.network, found.patch, found.origin) == ("vit-tiny", 14, "dinov2")
    assert found.meta["layer_scale"] and found.path == str(path)
    assert look_at_weights(Wishes("d")) is None
    assert network_of(META | dict(num_layers=24)) is None


def test_plan__keeps_what_the_weights_were_trained_with(tmp_path: Path) -> None:
    made, config = plan(tmp_path, "sere", patch_size=14, layer_scale=True, mean=[1.0, 2.0, 3.0])
    assert (config.load_from, config.patch_size, config.crop_size) == ("/w.pth", 14, 224)
    backbone = config.model.base.backbone
    assert (backbone.layer_scale_init_value, backbone.frozen_stages) == (1.0, 0)
    assert config.data_preprocessor.mean == [1.0, 2.0, 3.0]
    assert config.default_hooks.freeze_backbone.type == "mmrel.FreezeBackboneHook"
    assert config.optim_wrapper.paramwise_cfg == dict(decay_rule="sere", backbone_lr_mult=0.1)
    values = {choice.name: choice.value for choice in made.choices}
    assert values["weights"] == "vit-small, patch 14, dinov2"
    assert values["backbone rests"] == "5 epochs"  # 23 steps each, for 100
    assert made.warnings == []


def test_plan__says_nothing_that_the_method_has_already(tmp_path: Path) -> None:
    made, config = plan(tmp_path, "dino")
    assert "layer_scale_init_value" not in config.model.backbone
    assert config.model.backbone.arch == "auto"
    assert "mean=" not in made.config


@pytest.mark.parametrize("heads", [6, 12])
def test_plan__takes_over_the_number_of_heads(heads: int, tmp_path: Path) -> None:
    """MoCo v3's ViT-S has 12 heads, the others' 6."""
    arch = plan(tmp_path, "mocov3", num_heads=heads)[1].model.backbone.arch
    assert arch == "auto" if heads == 12 else arch["num_heads"] == heads


def test_plan__few_photos_get_other_words(tmp_path: Path) -> None:
    planner = plan_toys.planner(60, plan_toys.CPU, method="relvit", weights="w.pth", epochs=2)
    planner.weights = Weights("/w.pth", "dino", "vit-small", META)
    short, few = planner.plan(plan_toys.ToyTrial).warnings
    assert "the released weights will hardly change" in short
    assert few.startswith("60 photos are too few to learn from")
    assert few.endswith("Watch a task of your own, not the loss, for when to stop.")
