"""The teacher's moving average against a loop over the tensors."""

import pytest
import torch
from torch import Tensor

from mmrel.ops.moving_average import move_towards

SHAPES = [(3, 4), (1,), (2, 2, 2), (), (7,)]


def tensors(seed: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.9995, 1.0])
def test_move__equals_the_loop_exactly(momentum: float, dtype: torch.dtype) -> None:
    teachers, students = tensors(0, dtype), tensors(1, dtype)
    wanted = [t * momentum + s * (1 - momentum) for t, s in zip(teachers, students, strict=True)]
    move_towards(teachers, students, momentum, torch.tensor(True))
    assert all(torch.equal(t, w) for t, w in zip(teachers, wanted, strict=True))
    assert all(torch.equal(s, o) for s, o in zip(students, tensors(1, dtype), strict=True))


def test_move__skipped_step_changes_no_bit() -> None:
    teachers, students = tensors(0, torch.float32), tensors(1, torch.float32)
    teachers[0][0, 0] = -0.0
    students[0][0, 0], students[1][0] = float("inf"), float("nan")
    before = [t.clone().view(torch.int32) for t in teachers]
    move_towards(teachers, students, 0.9, torch.tensor(False))
    after = [t.view(torch.int32) for t in teachers]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_move__transposed_tensors() -> None:
    teachers, students = [torch.zeros(4, 3).T], [torch.arange(12.0).view(4, 3).T]
    move_towards(teachers, students, 0.0, torch.tensor(True))
    assert torch.equal(teachers[0], students[0])
