"""A non-finite loss or gradient stops all ranks before weights, teacher or centre change."""

import copy
from pathlib import Path

import engine_toys
import pytest
import torch
from test_optim_wrapper import batch, toy, wrapper

from mmrel.engine.optimizers import NonFiniteGradientError, NonFiniteLossError

MODES = [dict(), dict(fused=True, nonfinite_check="deferred")]


def step(model: torch.nn.Module, wrapped: object, data: dict) -> None:
    """One iteration with its commit, as the runner does."""
    model.train_step(data, wrapped)
    model.commit(0.9, ok=wrapped.step_ok)


def poisoned() -> dict:
    data = batch(7)
    data["inputs"][2, 0] = float("inf")
    data["data_samples"] += 40
    return data


def is_equal(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_loss__stops_before_anything_changes(mode: dict, precision: str) -> None:
    """fp16 included; deferred: the step after the bad one raises, and nothing got through."""
    model = toy()
    wrapped = wrapper(model, precision=precision, **mode)
    step(model, wrapped, batch(0))
    before = copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(wrapped.optimizer.state_dict()["state"])
    with pytest.raises(
        NonFiniteLossError, match=r"loss_view = nan.*iteration 1 .*\[40, 41, 42, 43\]"
    ):
        step(model, wrapped, poisoned())
        assert mode and not bool(wrapped.step_ok)
        assert is_equal(model.state_dict(), before)
        step(model, wrapped, batch(1))
    assert is_equal(model.state_dict(), before)
    for key, state in wrapped.optimizer.state_dict()["state"].items() if not mode else ():
        assert is_equal(state, moments[key])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_loss__infinite_with_finite_gradients_stops_too(mode: dict, value: float) -> None:
    """No gradient would betray this loss: only the loss itself is not finite."""
    model = toy()
    wrapped = wrapper(model, **mode)
    step(model, wrapped, batch(0))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NonFiniteLossError, match=f"loss = {value} at iteration 1 "):
        finite = sum(parameter.sum() for parameter in model.last_layer.parameters())
        with wrapped.optim_context(model):
            wrapped.update_params(finite + value)
        wrapped.check_finite(wait=True)
    assert is_equal(model.state_dict(), before)


def test_deferred__saving_raises_too() -> None:
    model = toy()
    wrapped = wrapper(model, **MODES[1])
    step(model, wrapped, poisoned())
    with pytest.raises(NonFiniteLossError):
        wrapped.state_dict()


@pytest.mark.parametrize("mode", MODES)
def test_gradient__stops_with_the_parameters_name(mode: dict) -> None:
    model = toy()
    wrapped = wrapper(model, **mode)
    step(model, wrapped, batch(0))
    before = copy.deepcopy(model.state_dict())
    handle = model.last_layer.bias.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(NonFiniteGradientError, match=r"last_layer.bias = nan at iteration 1 "):
        step(model, wrapped, batch(1))
        assert is_equal(model.state_dict(), before)
        handle.remove()
        step(model, wrapped, batch(2))
        assert is_equal(model.state_dict(), before)
        step(model, wrapped, batch(3))
    assert is_equal(model.state_dict(), before)


@pytest.mark.parametrize("mode", MODES)
def test_accumulation__a_bad_micro_batch_spoils_the_window(mode: dict) -> None:
    model = toy()
    wrapped = wrapper(model, accumulative_counts=2, **mode)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NonFiniteLossError):
        model.train_step(poisoned(), wrapped)
        model.train_step(batch(0), wrapped)
    assert is_equal(model.state_dict(), before)


def test_runner__last_iteration_is_checked(tmp_path: Path) -> None:
    """A bad last iteration has no successor that could look at its flag."""
    poison = (last_sample(tmp_path / "clean"),)
    settings = engine_toys.config(tmp_path)
    settings["optim_wrapper"]["nonfinite_check"] = "deferred"
    settings["optim_wrapper"]["optimizer"]["fused"] = True
    settings["default_hooks"]["checkpoint"] = None
    settings["train_cfg"]["max_epochs"] = 1
    settings["train_dataloader"]["dataset"]["poison"] = poison
    with pytest.raises(NonFiniteLossError, match="iteration 5 "):
        engine_toys.build(settings).train()


def last_sample(tmp_path: Path) -> int:
    """An image of the last batch of the toy run."""
    loop = dict(type="mmrel.ResumableEpochLoop", max_epochs=1)
    runner = engine_toys.runner(tmp_path, train_cfg=loop)
    runner.train()
    return engine_toys.trace(runner).samples[-1][0]
