"""The numbers that depend on the length of a run."""

import math

import pytest

from mmrel.engine.run_length import (
    LEAST_MOMENTUM,
    RunLength,
    choose_freeze_last_layer,
    choose_log_interval,
    choose_lr,
    choose_momentum,
    choose_teacher_temp_warmup,
    choose_warmup,
    initial_share,
)
from mmrel.ops.schedules import cosine_schedule


@pytest.mark.parametrize(
    ("photos", "percent"), [(228, 93), (1000, 69), (3000, 32), (5000, 14), (10_000, 2)]
)
def test_share_of_the_random_start_with_a_momentum_for_large_data(photos: int, percent: int):
    length = RunLength(photos, batch_size=64, epochs=100)
    assert round(100 * initial_share(0.9995, 1.0, length.steps)) == percent


@pytest.mark.parametrize("steps", [1, 2, 7, 300])
@pytest.mark.parametrize(("momentum", "end"), [(0.9995, 1.0), (0.9, 1.0), (0.3, 0.8), (0.99, 0.99)])
def test_initial_share_is_the_product_of_the_schedule(momentum: float, end: float, steps: int):
    values = [cosine_schedule(step, steps, momentum, end) for step in range(steps)]
    assert initial_share(momentum, end, steps) == pytest.approx(math.prod(values), rel=1e-10)


def test_initial_share_at_the_edges():
    assert initial_share(0.996, 1.0, 0) == 1.0
    assert initial_share(0.0, 1.0, 5) == 0.0
    assert initial_share(1.0, 1.0, 10**9) == 1.0
    with pytest.raises(ValueError, match=r"momentum is 1\.2"):
        initial_share(1.2, 1.0, 5)


@pytest.mark.parametrize("photos", [50, 228, 1000, 10_000, 100_000, 5_000_000])
def test_chosen_momentum_forgets_the_random_start(photos: int):
    length = RunLength(photos, batch_size=64, epochs=100)
    momentum = choose_momentum(length.steps, 64)
    assert LEAST_MOMENTUM <= momentum <= 0.9995
    assert initial_share(momentum, 1.0, length.steps) <= 0.01
    longer = choose_momentum(2 * length.steps, 64)
    assert longer >= momentum


def test_chosen_momentum_is_the_recipes_where_the_run_is_the_recipes():
    assert choose_momentum(125_000, 1024) == 0.996
    assert choose_momentum(10**6, 256) == 0.99899  # 0.996 ** (1 / 4)
    assert choose_momentum(10**6, 4096, recipe=0.99, recipe_batch=4096) == 0.99
    assert choose_momentum(10**6, 8, recipe=0.99, recipe_batch=4096) == 0.9995


def test_chosen_momentum_of_a_run_too_short_to_forget():
    assert choose_momentum(20, 64) == LEAST_MOMENTUM
    assert initial_share(LEAST_MOMENTUM, 1.0, 20) > 0.05


def test_steps():
    assert RunLength(228, 64, 100).steps == 300
    assert RunLength(228, 64, 100, drop_last=False).steps == 400
    assert RunLength(50, 64, 100).steps == 100
    assert RunLength(50, 64, 100).images_per_step == 50
    with pytest.raises(ValueError, match="a run of 0 images"):
        RunLength(0, 64, 100)


@pytest.mark.parametrize(
    ("length", "warmup", "temperature", "freeze"),
    [
        (RunLength(1_281_167, 1024, 100), 12_510, 30, 1),
        (RunLength(1_281_167, 1024, 800), 12_510, 30, 1),
        (RunLength(228, 64, 100), 30, 30, 1),
        (RunLength(5_000_000, 64, 1), 7812, 1, 0),
        (RunLength(5, 8, 3), 1, 1, 0),
    ],
)
def test_schedules_follow_the_length(length, warmup, temperature, freeze):
    assert choose_warmup(length) == warmup
    assert choose_teacher_temp_warmup(length) == temperature
    assert choose_freeze_last_layer(length) == freeze


def test_learning_rate_is_linear_in_the_images_per_step():
    assert choose_lr(RunLength(10_000, 64, 1), 2e-3, 1024) == 1.25e-4
    assert choose_lr(RunLength(32, 64, 1), 2e-3, 1024) == 6.25e-5


@pytest.mark.parametrize(
    ("images", "interval"), [(3, 1), (64 * 4, 1), (64 * 25, 5), (64 * 250, 50), (64 * 9999, 50)]
)
def test_log_interval__several_lines_in_every_epoch(images, interval):
    assert choose_log_interval(RunLength(images, 64, 10)) == interval
