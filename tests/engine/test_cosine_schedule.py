"""The schedule through a real optimizer: cosine_scheduler of DINO's public code (utils.py), scaling, resume."""

import copy

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

import mmrel.engine  # noqa: F401
from mmrel.engine.optimizers import SelfSupOptimWrapper
from mmrel.engine.schedulers import CosineSchedule
from mmrel.ops.schedules import cosine_schedule

D3_LR = [
    0, 0.0005, 0.001, 0.0015, 0.002, 0.002, 0.001978, 0.001914, 0.001809, 0.001669,
    0.001500, 0.001309, 0.001105, 0.000896, 0.000692, 0.000501, 0.000332, 0.000192, 0.000087, 0.000023,
]  # fmt: skip
D3_DECAY = [
    0.04, 0.042216, 0.04881, 0.059619, 0.074377, 0.092721, 0.114199, 0.138282,
    0.164377, 0.191842, 0.22, 0.248158,
]  # fmt: skip


def optimizer(lr: float = 0.002, max_iters: int | None = None) -> SelfSupOptimWrapper:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0}]
    wrapper = SelfSupOptimWrapper(torch.optim.AdamW(groups, lr=lr, weight_decay=0.04))
    if max_iters:
        wrapper.initialize_count_status(nn.Identity(), 0, max_iters)
    return wrapper


def build(wrapper: SelfSupOptimWrapper, epoch_length: int = 5, **changes: object) -> CosineSchedule:
    settings = dict(
        type="mmrel.CosineSchedule", param_name="lr", end=1e-6, total=4, convert_to_iter_based=True
    )
    return PARAM_SCHEDULERS.build(
        {**settings, **changes}, default_args=dict(optimizer=wrapper, epoch_length=epoch_length)
    )


def run(wrapper: SelfSupOptimWrapper, schedule: CosineSchedule, steps: int, name: str) -> list:
    values = []
    for _ in range(steps):
        values.append([group[name] for group in wrapper.optimizer.param_groups])
        wrapper.update_params(
            sum(p.sum() for g in wrapper.optimizer.param_groups for p in g["params"])
        )
        schedule.step()
    return values


def test_lr__twenty_steps() -> None:
    wrapper = optimizer()
    values = run(wrapper, build(wrapper, warmup=1), 20, "lr")
    assert [v[0] for v in values] == pytest.approx(D3_LR, abs=5.1e-7)
    assert [v[0] for v in values] == [v[1] for v in values]
    assert [v[0] for v in values] == [cosine_schedule(i, 20, 0.002, 1e-6, 5) for i in range(20)]


def test_weight_decay__twenty_steps_and_zero_stays_zero() -> None:
    wrapper = optimizer()
    values = run(wrapper, build(wrapper, param_name="weight_decay", end=0.4), 12, "weight_decay")
    assert [v[0] for v in values] == pytest.approx(D3_DECAY, abs=5.1e-7)
    assert [v[1] for v in values] == [0.0] * 12


@pytest.mark.parametrize(
    ("epoch_length", "lr", "table"),
    [
        (
            1251,
            0.002,
            {0: 0, 1: 1.59884883e-7, 1251: 2.00015988e-4, 12509: 0.002, 12510: 0.002,
             62550: 1.17406135e-3, 125099: 1.00000039e-6},
        ),
        (2502, 0.001, {1: 3.9969623e-8, 25019: 0.001, 25020: 0.001, 125100: 5.8723726e-4, 250199: 1e-6}),
    ],
)  # fmt: skip
def test_lr__recipes(epoch_length: int, lr: float, table: dict[int, float]) -> None:
    """100 epochs of ImageNet; the scheduler is moved to the iteration as a resume does."""
    wrapper = optimizer(lr)
    schedule = build(wrapper, epoch_length, total=100, warmup=10)
    for iteration, expected in table.items():
        schedule.last_step = schedule._global_step = iteration - 1
        wrapper._global_step = 0
        schedule.step()
        assert wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-7)


def test_weight_decay__recipe() -> None:
    wrapper = optimizer()
    schedule = build(wrapper, 1251, total=100, param_name="weight_decay", end=0.4)
    for iteration, expected in {12510: 0.0488098271, 62550: 0.22}.items():
        schedule.last_step = schedule._global_step = iteration - 1
        wrapper._global_step = 0
        schedule.step()
        assert wrapper.optimizer.param_groups[0]["weight_decay"] == pytest.approx(
            expected, rel=1e-8
        )


def test_total__none_is_the_whole_run() -> None:
    with_total, without = optimizer(), optimizer(max_iters=20)
    expected = run(with_total, build(with_total, warmup=1), 20, "lr")
    assert run(without, build(without, warmup=1, total=None), 20, "lr") == expected


def test_total__warmup_longer_than_the_run_is_cut() -> None:
    wrapper = optimizer(max_iters=4)
    values = run(wrapper, build(wrapper, warmup=10, total=None), 4, "lr")
    assert [v[0] for v in values] == pytest.approx([0, 0.001, 0.002, 0.002])


def test_lr__initial_value_scaled_before_is_the_peak() -> None:
    """What ``--auto-scale-lr`` does before the schedulers are built."""
    wrapper = optimizer()
    for group in wrapper.optimizer.param_groups:
        group["lr"] *= 4
    values = run(wrapper, build(wrapper, warmup=1), 6, "lr")
    assert values[5] == [0.008, 0.008]


def test_end__last_value_stays() -> None:
    wrapper = optimizer()
    values = run(wrapper, build(wrapper), 23, "lr")
    assert values[19] == values[20] == values[22]


def test_resume__is_exact() -> None:
    wrapper = optimizer()
    schedule = build(wrapper, warmup=1)
    expected = run(wrapper, schedule, 20, "lr")
    first = optimizer()
    schedule = build(first, warmup=1)
    run(first, schedule, 7, "lr")
    saved = copy.deepcopy((first.state_dict(), schedule.state_dict()))
    second = optimizer()
    schedule = build(second, warmup=1)
    second.load_state_dict(saved[0])
    schedule.load_state_dict(saved[1])
    assert run(second, schedule, 13, "lr") == expected[7:]


def test_resume__a_longer_run_follows_the_new_curve() -> None:
    first = optimizer()
    schedule = build(first)
    run(first, schedule, 7, "lr")
    second = optimizer()
    longer = build(second, total=8)
    second.load_state_dict(first.state_dict())
    longer.load_state_dict(schedule.state_dict())
    assert run(second, longer, 1, "lr")[0][0] == cosine_schedule(7, 40, 0.002, 1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(end=100), "value of lr at the end"),
        (dict(warmup=-1), "at least 0"),
        (dict(total=0), "above 0"),
        (dict(by_epoch=False), "Only epoch-based"),
    ],
)
def test_init__bad_arguments(changes: dict, message: str) -> None:
    with pytest.raises((ValueError, AssertionError), match=message):
        build(optimizer(), **changes)


def test_total__unknown_length() -> None:
    wrapper = optimizer()
    schedule = build(wrapper, total=None)
    wrapper._global_step = 0
    with pytest.raises(ValueError, match="give total in epochs"):
        schedule.step()
