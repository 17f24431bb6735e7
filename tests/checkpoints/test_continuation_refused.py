"""Going on from weights: what does not fit is refused and listed, and the model stays as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from beginnings import begin, dino
from checkpoints import official
from checkpoints.official import LAYOUTS
from mmengine.model import ModuleDict
from torch import nn


@pytest.mark.parametrize(
    ("content", "backbone", "message"),
    [
        (lambda: LAYOUTS["selfpatch"]().content, {}, "missing: cls_token, ln1.bias, ln1.weight"),
        (lambda: official.vit(depth=1), {}, "missing: layers.1"),
        (lambda: official.vit(depth=3), {}, "unexpected: layers.2"),
        (lambda: official.vit(width=96, hidden=192), {}, "of another shape"),
        (
            lambda: official.vit(scale="ls"),
            {},
            "unexpected: layers.0.attn.gamma1.*Build the backbone with layer_scale_init_value=1.0",
        ),
        (
            lambda: official.dinov2(registers=4).content,
            dict(patch_size=14),
            "unexpected:.*with num_registers=4 and layer_scale_init_value=1.0",
        ),
        (lambda: official.vit(), dict(num_registers=2), "missing: register.*with num_registers=0"),
        (
            lambda: official.vit(channels=4),
            {},
            "trained on images of 4 channels.*what 3 would.*in_channels=4",
        ),
        (lambda: {"a.weight": torch.zeros(2)}, {}, "no backbone of a known layout.* a"),
        (lambda: {"state_dict": {"conv1.weight": torch.zeros(2)}}, {}, "no backbone.* conv1"),
        (lambda: [1], {}, "holds a list"),
        (lambda: {"epoch": 3}, {}, "holds no state dict"),
    ],
)
def test_misfits__are_refused_and_listed(
    content: Any, backbone: dict[str, Any], message: str, tmp_path: Path
) -> None:
    network = dino(**backbone)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        begin(network, content(), tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_misfits__number_of_heads(tmp_path: Path) -> None:
    state = {f"backbone.{k}": v for k, v in dino().backbone.state_dict().items()}
    with pytest.raises(ValueError, match="trained with 6 attention heads, the model has 3"):
        begin(dino(), {"state_dict": state, "meta": {"num_heads": 6}}, tmp_path)


def test_other_backbones__go_by_their_names(tmp_path: Path) -> None:
    """Its own checkpoint is taken whole; a ViT's, or one that lacks a tensor, is refused."""
    network = nn.Module()
    network.backbone = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    network.head = ModuleDict()
    state = {f"backbone.{k}": v + 1 for k, v in network.backbone.state_dict().items()}
    assert begin(network, {"state_dict": state}, tmp_path).fresh == {}
    del state["backbone.1.bias"]
    with pytest.raises(ValueError, match="missing: 1.bias"):
        begin(network, {"state_dict": state}, tmp_path)
    with pytest.raises(ValueError, match="vision transformer of dino, which does not fit"):
        begin(network, official.vit(), tmp_path)


def test_models_without_backbone__must_fit_somewhere(tmp_path: Path) -> None:
    network = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    state = {f"encoder.{k}": v + 1 for k, v in network["encoder"].state_dict().items()}
    assert begin(network, {"state_dict": state}, tmp_path).fresh == {"head": "not in the file"}
    with pytest.raises(ValueError, match="fits nothing of this ModuleDict"):
        begin(network, {"state_dict": {"other.weight": torch.zeros(2)}}, tmp_path)
