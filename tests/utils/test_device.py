"""What a CPU computes slowly in, asked of torch and measured."""

import time

import pytest
import torch

from mmrel.utils.device import cpu_emulates


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
def test_cpu_emulates__is_what_a_product_takes(name: str) -> None:
    """As long as in float32, up to some times, or tens of times as long."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[name]
    assert cpu_emulates(name) == (seconds(dtype) > 6 * seconds(torch.float32))


def test_cpu_emulates__without_onednn_all_but_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert [cpu_emulates(name) for name in ("bf16", "fp16", "fp32")] == [True, True, False]
