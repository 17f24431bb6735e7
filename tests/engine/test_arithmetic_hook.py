"""TensorFloat32 on a GPU for the time of a run; nothing on the CPU; bfloat16 only where a GPU has it."""

import os

import pytest
import torch

from mmrel.engine.hooks import ArithmeticHook, arithmetic
from mmrel.engine.optimizers import precision
from mmrel.engine.optimizers.precision import check_precision

CUDA = torch.device("cuda")


def state() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "convolutions"), [("highest", False), ("high", True), ("medium", True)]
)
def test_precision__for_the_time_of_a_run(
    monkeypatch: pytest.MonkeyPatch, precision: str, convolutions: bool
) -> None:
    monkeypatch.setattr(arithmetic, "on_cpu", lambda: False)
    before, hook = state(), ArithmeticHook(precision)
    hook.before_run(None)
    try:
        assert state() == (precision, convolutions)
        assert torch.backends.cuda.matmul.allow_tf32 == convolutions
    finally:
        hook.after_run(None)
    assert state() == before


def test_precision__not_on_the_cpu() -> None:
    before, hook = state(), ArithmeticHook("medium")
    hook.before_run(None)
    assert state() == before
    hook.after_run(None)
    assert state() == before


def test_precision__unknown() -> None:
    with pytest.raises(ValueError, match="float32_matmul is 'tf32'; set default_hooks.arithmetic"):
        ArithmeticHook("tf32")


def test_deterministic_mode__gives_cublas_its_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it torch refuses the first matrix product; what the user has set stays."""
    monkeypatch.setattr(arithmetic, "on_cpu", lambda: False)
    monkeypatch.setenv(arithmetic.WORKSPACE, "")
    monkeypatch.delenv(arithmetic.WORKSPACE)
    hook = ArithmeticHook()
    for deterministic, expected in ((False, None), (True, ":4096:8")):
        monkeypatch.setattr(
            torch, "are_deterministic_algorithms_enabled", lambda on=deterministic: on
        )
        hook.before_run(None)
        hook.after_run(None)
        assert os.environ.get(arithmetic.WORKSPACE) == expected
    monkeypatch.setenv(arithmetic.WORKSPACE, ":16:8")
    hook.before_run(None)
    hook.after_run(None)
    assert os.environ[arithmetic.WORKSPACE] == ":16:8"


def test_bfloat16__refused_where_a_gpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    with pytest.raises(ValueError, match=r"Tesla V100 \(compute capability 7.0\) has no bfloat16"):
        check_precision("bf16", CUDA)
    for name in ("fp16", "fp32"):
        check_precision(name, CUDA)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    check_precision("bf16", CUDA)


@pytest.mark.parametrize("slow", [False, True])
def test_half_precision__warned_of_where_a_cpu_emulates_it(
    slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "emulates", lambda name, device: slow and name != "fp32")
    told: list[str] = []
    monkeypatch.setattr(precision, "print_log", lambda text, **rest: told.append(text))
    for name in ("bf16", "fp16", "fp32"):
        check_precision(name, torch.device("cpu"))
    assert len(told) == (2 if slow else 0)
    assert all("optim_wrapper.precision='fp32'" in text for text in told)
