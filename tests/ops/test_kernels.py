"""Whether a device can run the project's Triton kernels, and what is said if it cannot."""

from collections.abc import Iterator
from pathlib import Path

import interpreted
import pytest
import torch

from mmrel.ops import kernels


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    kernels._missing_on_cuda.cache_clear()
    yield
    kernels._missing_on_cuda.cache_clear()


def test_probe__runs(tmp_path: Path) -> None:
    calls = {"probe": ("mmrel.ops.kernels:_add_one", (torch.tensor([41.0]),))}
    _, (numbers,) = interpreted.interpreted(calls, tmp_path)["probe"]
    assert numbers == 42


def test_missing__cpu() -> None:
    assert "'cpu'" in kernels.missing_for_kernels(torch.device("cpu"))


@pytest.mark.parametrize(
    ("capability", "told"),
    [((6, 1), r"compute capability is \(6, 1\)"), ((9, 0), "Failed to find C compiler")],
)
def test_missing__is_told_once_with_its_reason(
    capability: tuple[int, int], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: torch.device) -> str:
        return "a first kernel failed, RuntimeError: Failed to find C compiler"

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(kernels, "_failing", fail)
    with pytest.warns(UserWarning, match=told):
        reason = kernels.missing_for_kernels(torch.device("cuda"))
    assert reason == kernels.missing_for_kernels(
        torch.device("cuda", 0)
    )  # without a second warning


def test_missing__a_kernel_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: torch.Tensor) -> None:
        raise RuntimeError("no headers")

    monkeypatch.setattr(torch.ops.mmrel, "add_one", broken)
    assert "RuntimeError: no headers" in kernels._failing(torch.device("cpu"))
