"""What a device computes slowly in, asked of torch and, of the CPU, measured."""

import time

import pytest
import torch

from mmrel.utils.device import emulates

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def seconds(dtype: torch.dtype) -> float:
    """The least of some products of matrices, which other work on the machine disturbs least."""
    own = torch.ones(384, 384, dtype=dtype)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        own @ own
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_emulates__is_what_a_product_takes(name: str) -> None:
    """As long as in float32, up to some times, or tens of times as long."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[name]
    assert emulates(name, CPU) == (seconds(dtype) > 6 * seconds(torch.float32))


def test_emulates__without_onednn_all_but_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert [emulates(name, CPU) for name in ("bf16", "fp16", "fp32")] == [True, True, False]


@pytest.mark.parametrize(("capability", "slow"), [((7, 5), True), ((8, 0), False)])
def test_emulates__bfloat16_on_older_gpus(
    capability: tuple[int, int], slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert [emulates(name, CUDA) for name in ("bf16", "fp16", "fp32")] == [slow, False, False]
