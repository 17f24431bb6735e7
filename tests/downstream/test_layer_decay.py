"""Layer-wise decay: the depth table, weight-decay exemptions, frozen parts, bad input."""

from typing import Any

import pytest
import torch
from torch import nn

from mmrel.engine.optimizers.layer_decay import LayerDecayOptimWrapperConstructor
from mmrel.models.backbones import DenseViT, ViT

NO_DECAY = {".pos_embed": dict(decay_mult=0.0), ".cls_token": dict(decay_mult=0.0)}


class _Detector(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.Conv2d(2, 2, 1)


def _groups(model: nn.Module, **paramwise: Any) -> dict[str, dict]:
    constructor = LayerDecayOptimWrapperConstructor(
        dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05)),
        paramwise_cfg=dict(layer_decay_rate=0.75, custom_keys=NO_DECAY) | paramwise,
    )
    groups = constructor(model).optimizer.param_groups
    return {group["param_name"]: group for group in groups}


@pytest.fixture(scope="module")
def small() -> _Detector:
    with torch.device("meta"):
        return _Detector(DenseViT("deit-small", out_norm="all"))


def test_depth_table__deit_small(small: _Detector) -> None:
    groups = _groups(small)
    depths = {"backbone.cls_token": 0, "backbone.pos_embed": 0, "neck.weight": 13, "neck.bias": 13}
    depths |= {"backbone.patch_embed.projection.weight": 0, "backbone.ln1.weight": 13}
    depths |= {f"backbone.layers.{i}.attn.qkv.weight": i + 1 for i in range(12)}
    depths |= {f"backbone.layers.{i}.ffn.layers.1.bias": i + 1 for i in range(12)}
    for name, depth in depths.items():
        assert groups[name]["lr"] == pytest.approx(1e-4 * 0.75 ** (13 - depth), rel=1e-12), name
    assert groups["backbone.layers.11.ln1.bias"]["lr"] == pytest.approx(0.75e-4)
    assert len(groups) == len(list(small.parameters()))


def test_weight_decay__exemptions(small: _Detector) -> None:
    groups = _groups(small, norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
    for name, param in small.named_parameters():
        exempt = param.ndim == 1 or name in ("backbone.pos_embed", "backbone.cls_token")
        assert groups[name]["weight_decay"] == (0.0 if exempt else 0.05), name


def test_wrappers_are_looked_through(small: _Detector) -> None:
    wrapped = nn.Module()
    wrapped.module = nn.Module()
    wrapped.module.module = small
    assert _groups(wrapped).keys() == _groups(small).keys()


def test_frozen_parameters_get_no_group() -> None:
    with torch.device("meta"):
        model = _Detector(DenseViT("deit-tiny", frozen_stages=2))
    names = set(_groups(model))
    assert names == {name for name, p in model.named_parameters() if p.requires_grad}
    assert "backbone.layers.2.ln1.weight" in names and "backbone.pos_embed" not in names


def test_mask_token_is_an_embedding() -> None:
    with torch.device("meta"):
        model = _Detector(ViT("deit-tiny", mask_token=True))
    assert _groups(model)["backbone.mask_token"]["layer_id"] == 0


def test_model_with_its_own_depths() -> None:
    class Own(nn.Linear):
        def get_layer_depth(self, name: str) -> tuple[int, int]:
            return (0 if name == "weight" else 1), 2

    groups = _groups(Own(2, 2))
    assert groups["weight"]["lr"] == pytest.approx(0.75e-4)
    assert groups["bias"]["lr"] == pytest.approx(1e-4)


def test_rate_one_is_plain(small: _Detector) -> None:
    assert {g["lr"] for g in _groups(small, layer_decay_rate=1.0).values()} == {1e-4}


@pytest.mark.parametrize("rate", [0.0, 1.5, -1.0])
def test_bad_rate(small: _Detector, rate: float) -> None:
    with pytest.raises(ValueError, match=rf"layer_decay_rate is {rate}; it must lie in \(0, 1\]"):
        _groups(small, layer_decay_rate=rate)


def test_unknown_key(small: _Detector) -> None:
    with pytest.raises(ValueError, match=r"\['decay_rate'\]; allowed: .*layer_decay_rate"):
        _groups(small, decay_rate=0.7)


def test_backbone_without_depths() -> None:
    with pytest.raises(ValueError, match=r"neither _Detector nor its backbone \(Conv2d\)"):
        _groups(_Detector(nn.Conv2d(1, 1, 1)))
