"""A learning rate of the backbone's own: four groups, and without it the two of ever."""

import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper

from mmrel.engine.optimizers import SelfSupOptimWrapperConstructor
from mmrel.engine.schedulers import CosineSchedule


def groups_of(model: torch.nn.Module, rule: str, **options: float) -> list[dict]:
    wrapper = build_optim_wrapper(
        model,
        dict(
            type="mmrel.SelfSupOptimWrapper",
            constructor="mmrel.SelfSupOptimWrapperConstructor",
            optimizer=dict(type="AdamW", lr=0.01, weight_decay=0.04),
            paramwise_cfg=dict(decay_rule=rule, **options),
        ),
    )
    CosineSchedule(wrapper, "lr", end=1e-6, total=10, warmup=5, by_epoch=False)
    return wrapper.optimizer.param_groups


@pytest.mark.parametrize("rule", ["dino", "sere", "all"])
def test_backbone__has_a_tenth_of_the_rate(rule: str) -> None:
    """Every parameter once, with the decay that it has anyway; the schedule begins at each group's own rate."""
    model = tiny.build(tiny.ibot())
    usual, split = groups_of(model, rule), groups_of(model, rule, backbone_lr_mult=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays = {names[id(p)]: g["weight_decay"] for g in usual for p in g["params"]}
    found = {names[id(p)]: g for g in split for p in g["params"]}
    assert sum(len(group["params"]) for group in split) == len(found)
    assert {name: group["weight_decay"] for name, group in found.items()} == decays
    for name, group in found.items():
        assert group["initial_lr"] == (0.001 if name.startswith("backbone.") else 0.01)
    assert split[-1]["initial_lr"] == 0.01, "the one that is logged"
    kinds = {(name.startswith("backbone."), decay) for name, decay in decays.items()}
    assert len(split) == len(kinds) > len(usual)


def test_backbone__with_the_usual_rate_changes_nothing() -> None:
    model = tiny.build(tiny.dino())
    first, second = groups_of(model, "dino"), groups_of(model, "dino", backbone_lr_mult=1)
    for one, other in zip(first, second, strict=True):
        assert [id(p) for p in one["params"]] == [id(p) for p in other["params"]]


@pytest.mark.parametrize("factor", [0, -1, 2])
def test_backbone__of_no_possible_rate(factor: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        SelfSupOptimWrapperConstructor(
            dict(optimizer=dict(type="AdamW", lr=0.1)), dict(backbone_lr_mult=factor)
        )
