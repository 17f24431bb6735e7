"""RelViT's quarter-cosine (public code of arXiv 2206.00481), as a function and through a real optimizer; resume."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

import mmrel.engine  # noqa: F401
from mmrel.engine.schedulers import QuarterCosineSchedule
from mmrel.ops.schedules import quarter_cosine_schedule

R8 = {
    0: 0.0, 1: 5e-6, 50: 2.5e-4, 99: 4.95e-4, 100: 4.93859560e-4, 101: 4.93736396e-4,
    250: 4.62034917e-4, 500: 3.53919507e-4, 750: 1.92113362e-4, 900: 7.92716894e-5, 999: 2.03343435e-6,
}  # fmt: skip


def wrapper(lr: float = 5e-4) -> OptimWrapper:
    return OptimWrapper(torch.optim.AdamW([nn.Parameter(torch.zeros(2))], lr=lr, weight_decay=0.1))


def build(optimizer: OptimWrapper, epochs: int, length: int) -> QuarterCosineSchedule:
    """As the runner does, which fills in the number of epochs."""
    settings = dict(type="mmrel.QuarterCosineSchedule", convert_to_iter_based=True, end=epochs)
    return PARAM_SCHEDULERS.build(
        settings, default_args=dict(optimizer=optimizer, epoch_length=length)
    )


def values(optimizer: OptimWrapper, schedule: QuarterCosineSchedule, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(("step", "value"), R8.items())
def test_function__values(step: int, value: float) -> None:
    assert quarter_cosine_schedule(step, 1000, 5e-4, 1.25e-6) == pytest.approx(value, rel=5e-9)


def test_function__drops_at_the_end_of_the_warmup() -> None:
    before, after = (quarter_cosine_schedule(e, 19_600, 1.0, 0.0) for e in (1959, 1960))
    assert before == pytest.approx(1959 / 1960)
    assert after == pytest.approx(
        0.98769, abs=5e-6
    )  # cos(9 degrees); with an end above 0 it is .98771


def test_function__after_the_end() -> None:
    assert quarter_cosine_schedule(1000, 1000, 5e-4, 1.25e-6) == 1.25e-6


@pytest.mark.parametrize("wrong", [dict(step=-1), dict(total_steps=0), dict(warmup_ratio=1.5)])
def test_function__refuses(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* {next(iter(wrong.values()))}"):
        quarter_cosine_schedule(**{**dict(step=0, total_steps=10, start=1.0, end=0.0), **wrong})


def test_schedule__through_an_optimizer() -> None:
    optimizer = wrapper()
    found = values(optimizer, build(optimizer, epochs=100, length=10), 1000)
    for step, value in R8.items():
        assert found[step] == pytest.approx(value, rel=5e-9)


def test_schedule__published_lengths() -> None:
    """CIFAR: 196 steps an epoch, warm-up of 1960."""
    schedule = build(wrapper(), epochs=100, length=196)
    assert schedule.end == 19_600
    assert quarter_cosine_schedule(1960, schedule.end, 5e-4, 1.25e-6) / 5e-4 == pytest.approx(
        0.98771, abs=1e-5
    )


def test_schedule__weight_decay_is_left_alone() -> None:
    optimizer = wrapper()
    values(optimizer, build(optimizer, 2, 5), 10)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_schedule__resumes_exactly_with_the_configured_curve() -> None:
    whole = wrapper()
    expected = values(whole, build(whole, 4, 5), 20)
    first = wrapper()
    schedule = build(first, 4, 5)
    assert values(first, schedule, 7) == expected[:7]
    optimizer_state, state = copy.deepcopy(first.state_dict()), copy.deepcopy(schedule.state_dict())
    second = wrapper()
    resumed = build(second, 4, 5)
    second.load_state_dict(optimizer_state)
    resumed.load_state_dict(state)
    assert values(second, resumed, 13) == expected[7:]
    longer = build(wrapper(), 8, 5)
    longer.load_state_dict(state)
    assert longer.end == 40


@pytest.mark.parametrize(
    "options", [dict(), dict(end=5, end_value=-1.0), dict(end=5, warmup_ratio=2)]
)
def test_schedule__refuses(options: dict) -> None:
    with pytest.raises(ValueError, match="end is"):
        QuarterCosineSchedule(wrapper(), **options)
    with pytest.raises(ValueError, match="by_epoch=True"):
        QuarterCosineSchedule.build_iter_from_epoch(
            optimizer=wrapper(), epoch_length=5, end=5, by_epoch=False
        )
