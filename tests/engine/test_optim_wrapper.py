"""Clipping, precision, accumulation and frozen gradients of the optimizer wrapper."""

import copy

import pytest
import torch
from engine_toys import WIDTH, ToyStudentTeacher
from mmengine.optim import OptimWrapper
from torch import nn

from mmrel.engine.optimizers import SelfSupOptimWrapper
from mmrel.engine.optimizers.clipping import clip_together
from mmrel.engine.optimizers.selfsup_optim_wrapper import clip_per_tensor


def wrapper(model: nn.Module, fused: bool = False, **kwargs: object) -> SelfSupOptimWrapper:
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1, fused=fused
    )
    return SelfSupOptimWrapper(optimizer, **kwargs)


def toy() -> ToyStudentTeacher:
    model = ToyStudentTeacher(dropout=0.0)
    model.init_weights()
    return model


def batch(seed: int = 0, size: int = 4) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        "inputs": torch.randn(size, WIDTH, generator=generator),
        "data_samples": torch.arange(size),
    }


def test_clip__per_tensor() -> None:
    """clip_gradients of DINO's code (utils.py): each tensor by its own norm; a global norm gives other values."""
    gradients = [torch.tensor([3.0, 4.0]), torch.tensor([0.6, 0.8])]
    norms = clip_per_tensor(gradients, 3.0)
    assert norms.tolist() == pytest.approx([5.0, 1.0])
    assert torch.equal(gradients[0], torch.tensor([3.0, 4.0]) * (3.0 / torch.tensor(5.0 + 1e-6)))
    assert torch.equal(gradients[1], torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("seed", range(3))
def test_clip__equals_a_plain_loop_bitwise(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(7, 3), (5,), (1,), (2, 3, 4)]
    gradients = [torch.randn(shape, generator=generator) * 3 for shape in shapes]
    expected = [g.clone() for g in gradients]
    for gradient in expected:
        coefficient = 2.0 / (gradient.norm(2) + 1e-6)
        if coefficient < 1:
            gradient.mul_(coefficient)
    clip_per_tensor(gradients, 2.0)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_clip__zero_only_measures() -> None:
    gradients = [torch.tensor([3.0, 4.0])]
    assert clip_per_tensor(gradients, 0.0).tolist() == [5.0]
    assert gradients[0].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("max_norm", [0.0, 2.0, 1e3])
def test_clip__together_equals_torch_bitwise(max_norm: float) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in [(7, 3), (5,), (1,), (2, 3, 4)]]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 3
    gradients = [p.grad.clone() for p in parameters]
    norms = clip_together(gradients, max_norm)
    total = nn.utils.clip_grad_norm_(parameters, max_norm or 1e9)
    assert torch.equal(norms.norm(), total)
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, parameters, strict=True))


def test_update__clips_by_the_global_norm_as_mmengine_does() -> None:
    """MMEngine's wrapper, which RelViT has had, over three steps: the same weights to the bit."""
    model, plain = toy(), toy()
    ours = wrapper(model, clip_grad=dict(max_norm=0.05, scope="global"))
    trained = [p for p in plain.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    theirs = OptimWrapper(optimizer, clip_grad=dict(max_norm=0.05))
    for step in range(3):
        model.train_step(batch(step), ours)
        plain.train_step(batch(step), theirs)
    assert_equal_state(model, plain)


def test_update__equals_plain_adamw_with_clipping() -> None:
    model, plain = toy(), toy()
    wrapped = wrapper(model, clip_grad=dict(max_norm=0.05))
    optimizer = torch.optim.AdamW(
        [p for p in plain.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1
    )
    for step in range(3):
        model.train_step(batch(step), wrapped)
        losses = plain(**batch(step))
        (losses["loss_view"] + losses["loss_size"]).backward()
        clip_per_tensor([p.grad for p in plain.parameters() if p.grad is not None], 0.05)
        optimizer.step()
        optimizer.zero_grad()
    assert_equal_state(model, plain)
    assert wrapped.stepped and bool(wrapped.step_ok)


def assert_equal_state(one: nn.Module, other: nn.Module, **tolerance: float) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if tolerance:
            torch.testing.assert_close(a, b, **tolerance, msg=name)
        else:
            assert torch.equal(a, b), name


def test_accumulation__micro_batches_equal_one_batch() -> None:
    model, whole = toy(), toy()
    accumulating, single = wrapper(model, accumulative_counts=2), wrapper(whole)
    data = batch(0, size=8)
    flags = []
    for half in (slice(0, 4), slice(4, 8)):
        model.train_step({key: value[half] for key, value in data.items()}, accumulating)
        flags.append(accumulating.stepped)
    whole.train_step(data, single)
    assert flags == [False, True]
    assert_equal_state(model, whole, rtol=1e-5, atol=1e-6)


def test_frozen__neither_gradient_nor_decay_moves_them() -> None:
    """cancel_gradients_last_layer of DINO's public code (utils.py)."""
    model = toy()
    before = copy.deepcopy(model.state_dict())
    wrapped = wrapper(model)
    wrapped.frozen_parameters = list(model.last_layer.parameters())
    model.train_step(batch(), wrapped)
    assert torch.equal(model.last_layer.weight, before["last_layer.weight"])
    assert not torch.equal(model.backbone[0].weight, before["backbone.0.weight"])
    assert model.last_layer.weight not in wrapped.optimizer.state
    wrapped.frozen_parameters = []
    model.train_step(batch(), wrapped)
    assert not torch.equal(model.last_layer.weight, before["last_layer.weight"])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_precision__autocast_on_the_cpu(precision: str) -> None:
    model, reference = toy(), toy()
    seen = []
    model.last_layer.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    low, full = wrapper(model, precision=precision), wrapper(reference)
    for step in range(3):
        model.train_step(batch(step), low)
        reference.train_step(batch(step), full)
    assert seen[0] == {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    assert (low.loss_scaler is not None) == (precision == "fp16")
    assert bool(low.step_ok)
    assert_equal_state(model, reference, rtol=0.1, atol=0.03)


@pytest.mark.parametrize("fused", [False, True])
def test_fp16__overflow_skips_the_step_and_halves_the_scale(fused: bool) -> None:
    model = toy()
    wrapped = wrapper(model, fused=fused, precision="fp16", loss_scale=dict(init_scale=2.0**40))
    before = copy.deepcopy(model.state_dict())
    model.train_step(batch(), wrapped)
    assert wrapped.stepped and not bool(wrapped.step_ok)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert wrapped.loss_scaler.get_scale() == 2.0**39
    for _ in range(40):
        model.train_step(batch(), wrapped)
    assert bool(wrapped.step_ok)
    assert not torch.equal(model.backbone[0].weight, before["backbone.0.weight"])


def test_fp16__state_round_trip_and_other_precision() -> None:
    model = toy()
    wrapped = wrapper(model, precision="fp16", loss_scale=dict(init_scale=8.0))
    model.train_step(batch(), wrapped)
    state = copy.deepcopy(wrapped.state_dict())
    assert state["loss_scaler"]["scale"] == 8.0
    again = wrapper(toy(), precision="fp16")
    again.load_state_dict(copy.deepcopy(state))
    assert again.loss_scaler.get_scale() == 8.0
    wrapper(toy(), precision="bf16").load_state_dict(state)


def test_state__kernel_choice_stays_the_runs_own() -> None:
    model = toy()
    plain = wrapper(model)
    model.train_step(batch(), plain)
    fused = wrapper(model, fused=True, nonfinite_check="deferred")
    fused.load_state_dict(plain.state_dict())
    assert fused.optimizer.param_groups[0]["fused"] is True
    model.train_step(batch(), fused)
    assert bool(fused.step_ok)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(precision="fp8"), "'bf16', 'fp16', 'fp32'"),
        (dict(clip_grad=dict(max_norm=-1)), "max_norm"),
        (dict(clip_grad=dict(type="value", clip_value=1)), "global norm"),
        (dict(clip_grad=dict(scope="global")), "global norm"),
        (dict(clip_grad=dict(max_norm=1, scope="layer")), "scope='global'"),
        (dict(precision="fp16", loss_scale="static"), "'dynamic'"),
        (dict(nonfinite_check="deferred"), "fused=True"),
        (dict(nonfinite_check="never"), "'immediate'"),
    ],
)
def test_init__bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrapper(toy(), **arguments)
