"""Parameter groups: get_params_groups of DINO's public code (utils.py), and the rules of the other methods."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmrel.engine.optimizers import SelfSupOptimWrapper


class Parts(nn.Module):
    """One parameter of each kind that the rules tell apart."""

    def __init__(self, train_g: bool) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))
        self.linear = nn.Linear(4, 4)
        self.ln = nn.LayerNorm(4)
        self.bn = nn.BatchNorm1d(4)
        self.last_layer = nn.Module()
        self.last_layer.weight_v = nn.Parameter(torch.zeros(3, 4))
        self.last_layer.weight_g = nn.Parameter(torch.ones(3, 1), requires_grad=train_g)


def groups(rule: str, train_g: bool = True, ddp: bool = False, **options: bool) -> list[set]:
    """Names of the decayed and, if there is one, of the not decayed group."""
    model = Parts(train_g)
    names = {id(p): name for name, p in model.named_parameters()}
    wrapped = nn.Module()
    wrapped.module = model
    wrapper = build_optim_wrapper(
        wrapped if ddp else model,
        dict(
            type="mmrel.SelfSupOptimWrapper",
            constructor="mmrel.SelfSupOptimWrapperConstructor",
            paramwise_cfg=dict(decay_rule=rule, **options),
            optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.04),
        ),
    )
    assert isinstance(wrapper, SelfSupOptimWrapper)
    built = wrapper.optimizer.param_groups
    assert [group["weight_decay"] for group in built] == [0.04, 0.0][: len(built)]
    assert {group["lr"] for group in built} == {1e-3}
    return [{names[id(p)] for p in group["params"]} for group in built]


TENSORS = {"cls_token", "pos_embed", "linear.weight", "last_layer.weight_v"}
G = {"last_layer.weight_g"}


@pytest.mark.parametrize("ddp", [False, True])
@pytest.mark.parametrize("train_g", [False, True])
def test_dino__groups(train_g: bool, ddp: bool) -> None:
    decayed, plain = groups("dino", train_g, ddp)
    assert decayed == (TENSORS | G if train_g else TENSORS)
    assert plain == {"linear.bias", "ln.weight", "ln.bias", "bn.weight", "bn.bias"}


@pytest.mark.parametrize("train_g", [False, True])
def test_sere__groups(train_g: bool) -> None:
    decayed, plain = groups("sere", train_g)
    biases = {"linear.bias", "ln.bias", "bn.bias"}
    assert decayed == TENSORS | biases | (G if train_g else set())
    assert plain == {"ln.weight", "bn.weight"}


@pytest.mark.parametrize("train_g", [False, True])
def test_all__one_group(train_g: bool) -> None:
    """MoCo v3: norms and biases too; only what is not trained is left out."""
    (decayed,) = groups("all", train_g)
    ones = {f"{part}.{name}" for part in ("ln", "bn") for name in ("weight", "bias")}
    assert decayed == TENSORS | ones | {"linear.bias"} | (G if train_g else set())


def test_all__with_frozen_parameters_is_mmengines_group() -> None:
    (everything,) = groups("all", train_g=False, with_frozen=True)
    assert everything == {name for name, _ in Parts(False).named_parameters()}


def test_rule__unknown() -> None:
    with pytest.raises(ValueError, match="'dino', 'sere', 'all'"):
        groups("mae")
