"""Small tensors to a device in one piece."""

import pytest
import torch
from torch import Tensor

from mmrel.utils.transfer import send_together


def small() -> list[Tensor]:
    return [
        torch.tensor([True, False, True]),
        torch.arange(6).view(2, 3).T,
        torch.empty(0, 4),
        torch.randn(5),
        torch.arange(5, dtype=torch.uint8),
        torch.tensor(7.5, dtype=torch.float64),
    ]


def test_send__leaves_host_tensors_as_they_are() -> None:
    tensors = small()
    assert all(
        a is b for a, b in zip(send_together(tensors, torch.device("cpu")), tensors, strict=True)
    )
    assert send_together([], torch.device("cpu")) == []


def test_send__packs_and_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to a GPU, with host memory in the place of the GPU's."""
    made = []
    plain = torch.empty

    def empty(*sizes: int, pin_memory: bool = False, **kwargs: object) -> Tensor:
        made.append(pin_memory)
        return plain(*sizes, **kwargs)

    class Device:
        type = "cuda"

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(Tensor, "to", lambda self, device, non_blocking: self.clone())
    tensors = small()
    made.clear()
    found = send_together(tensors, Device())  # type: ignore[arg-type]
    assert made == [True]
    for a, b in zip(found, tensors, strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b) and a.is_contiguous()


@pytest.mark.gpu
def test_send__to_a_gpu_without_synchronising() -> None:
    tensors, device = small(), torch.device("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = send_together(tensors, device)
        send_together([], device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [(t.shape, t.dtype, t.device.type) for t in found] == [
        (t.shape, t.dtype, "cuda") for t in tensors
    ]
