"""The teacher's moving average against a loop over the tensors."""

from pathlib import Path

import pytest
import torch
from interpreted import interpreted
from torch import Tensor

from mmrel.ops.moving_average import move_towards
from mmrel.ops.tensor_lists import CHUNK

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


KERNEL = "mmrel.ops.moving_average:_move_towards"


def long_tensors(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(7,), (0,), (CHUNK,), (CHUNK + 1,), (), (2, 2 * CHUNK)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def broken_students() -> list[Tensor]:
    students = long_tensors(1)
    students[0][0], students[0][1] = float("inf"), float("nan")
    return students


def bits(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.view(torch.int32) for tensor in tensors]


def loop(momentum: float) -> list[Tensor]:
    pairs = zip(long_tensors(0), long_tensors(1), strict=True)
    return [t * momentum + s * (1 - momentum) for t, s in pairs]


def test_kernel__equals_the_loop_bitwise(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    yes, no = torch.tensor(True), torch.tensor(False)
    calls = {
        str(m): (KERNEL, (long_tensors(0), long_tensors(1), m, yes)) for m in (0.0, 0.9995, 1.0)
    }
    calls["skipped"] = (KERNEL, (long_tensors(0), broken_students(), 0.9, no))
    results = interpreted(calls, tmp_path)
    teachers = {name: found[1][0] for name, found in results.items()}
    for name in calls:
        wanted = long_tensors(0) if name == "skipped" else loop(float(name))
        assert all(map(torch.equal, bits(teachers[name]), bits(wanted))), name


@pytest.mark.gpu
@pytest.mark.parametrize("momentum", [0.0, 0.9995, 1.0])
def test_move__on_a_gpu_equals_the_loop_bitwise(momentum: float) -> None:
    teachers, students = ([t.cuda() for t in long_tensors(seed)] for seed in (0, 1))
    move_towards(teachers, students, momentum, torch.tensor(True, device="cuda"))
    wanted = [
        t.cpu()
        for t in (
            t * momentum + s * (1 - momentum)
            for t, s in zip([t.cuda() for t in long_tensors(0)], students, strict=True)
        )
    ]
    assert all(map(torch.equal, bits([t.cpu() for t in teachers]), bits(wanted)))
