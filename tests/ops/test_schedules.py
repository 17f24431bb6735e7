"""Schedules: those of DINO's and iBOT's public code (cosine_scheduler in utils.py), as numpy's tables."""

import pytest
from reference import schedules as reference

from mmrel.ops.schedules import cosine_schedule, warmup_constant_schedule


def test_cosine_schedule__toy_learning_rate() -> None:
    """Four epochs of five iterations, one of warm-up."""
    values = [cosine_schedule(i, 20, 0.002, 1e-6, warmup_steps=5) for i in range(20)]
    expected = [0, 0.0005, 0.001, 0.0015, 0.002, 0.002, 0.001978, 0.001914, 0.001809, 0.001669]
    expected += [0.0015, 0.001309, 0.001105, 0.000896, 0.000692, 0.000501, 0.000332, 0.000192]
    assert values == pytest.approx([*expected, 0.000087, 0.000023], abs=6e-7)


def test_cosine_schedule__toy_weight_decay_and_momentum() -> None:
    """Four epochs of five iterations, one of warm-up."""
    decay = [cosine_schedule(i, 20, 0.04, 0.4) for i in range(12)]
    expected = [0.04, 0.042216, 0.04881, 0.059619, 0.074377, 0.092721, 0.114199, 0.138282]
    assert decay == pytest.approx([*expected, 0.164377, 0.191842, 0.22, 0.248158], abs=6e-7)
    momentum = [cosine_schedule(i, 20, 0.996, 1.0) for i in (0, 1, 2, 3, 4, 10, 19)]
    expected = [0.996, 0.996025, 0.996098, 0.996218, 0.996382, 0.998, 0.999975]
    assert momentum == pytest.approx(expected, abs=6e-7)


@pytest.mark.parametrize(
    ("step", "value"),
    [
        (0, 0.0),
        (1, 1.59884883e-7),
        (1251, 2.00015988e-4),
        (12509, 0.002),
        (12510, 0.002),
        (62550, 1.17406135e-3),
        (125099, 1.00000039e-6),
    ],
)
def test_cosine_schedule__sere_learning_rate(step: int, value: float) -> None:
    """100 epochs of 1251 iterations."""
    result = cosine_schedule(step, 125100, 0.002, 1e-6, warmup_steps=12510)
    assert result == pytest.approx(value, rel=1e-8, abs=1e-16)


def test_cosine_schedule__sere_weight_decay_and_momentum() -> None:
    """DINO's 100 epochs of 1251 iterations."""
    assert cosine_schedule(12510, 125100, 0.04, 0.4) == pytest.approx(0.0488098271, rel=1e-8)
    assert cosine_schedule(62550, 125100, 0.04, 0.4) == pytest.approx(0.22)
    assert cosine_schedule(12510, 125100, 0.996, 1.0) == pytest.approx(0.996097887, rel=1e-9)
    assert cosine_schedule(62550, 125100, 0.996, 1.0) == pytest.approx(0.998)


@pytest.mark.parametrize(
    ("step", "value"),
    [(1, 3.9969623e-8), (25019, 0.001), (25020, 0.001), (125100, 5.8723726e-4), (250199, 1e-6)],
)
def test_cosine_schedule__vanilla_dino(step: int, value: float) -> None:
    """100 epochs of 2502 iterations."""
    result = cosine_schedule(step, 250200, 0.001, 1e-6, warmup_steps=25020)
    assert result == pytest.approx(value, rel=2e-7)


@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_cosine_schedule__equals_reference(warmup: int) -> None:
    table = reference.cosine_table(30, 3.0, 0.5, warmup, 0.25)
    values = [cosine_schedule(i, 30, 3.0, 0.5, warmup, 0.25) for i in range(30)]
    assert values == pytest.approx(table.tolist(), rel=1e-12)


def test_cosine_schedule__past_the_end() -> None:
    assert cosine_schedule(20, 20, 1.0, 0.1) == 0.1
    assert cosine_schedule(3, 3, 1.0, 0.1, warmup_steps=5) == pytest.approx(0.75)


@pytest.mark.parametrize("arguments", [(-1, 10, 0), (0, 0, 0), (0, 10, -1)])
def test_cosine_schedule__bad_input(arguments: tuple[int, int, int]) -> None:
    step, total, warmup = arguments
    with pytest.raises(ValueError, match="at least"):
        cosine_schedule(step, total, 1.0, 0.0, warmup)


def test_warmup_constant_schedule__dino() -> None:
    """0.04 to 0.07 over the first 30 of 100 epochs."""
    values = [warmup_constant_schedule(e, 0.04, 0.07, 30) for e in (0, 1, 15, 29, 30, 99)]
    assert values == pytest.approx([0.04, 0.041034, 0.055517, 0.07, 0.07, 0.07], abs=5e-7)


def test_warmup_constant_schedule__ibot_delay() -> None:
    """iBOT's second temperature, which begins to rise after two epochs."""
    values = [warmup_constant_schedule(e, 0.04, 0.07, 3, delay=2) for e in range(7)]
    assert values == pytest.approx([0.04, 0.04, 0.04, 0.055, 0.07, 0.07, 0.07])


@pytest.mark.parametrize(("warmup", "delay"), [(0, 0), (1, 0), (3, 2), (12, 0), (4, 9)])
def test_warmup_constant_schedule__equals_reference(warmup: int, delay: int) -> None:
    table = reference.temperature_table(8, 0.1, 0.9, warmup, delay)
    values = [warmup_constant_schedule(e, 0.1, 0.9, warmup, delay) for e in range(8)]
    assert values == pytest.approx(table.tolist())


def test_warmup_constant_schedule__bad_input() -> None:
    with pytest.raises(ValueError, match="warmup_epochs -1"):
        warmup_constant_schedule(0, 0.04, 0.07, -1)
