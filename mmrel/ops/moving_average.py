"""The exponential moving average that a teacher is (Mean Teacher, arXiv 1703.01780), over all tensors at once."""

import torch
from torch import Tensor

from mmrel.ops.kernels import current_device, define_operator, missing_for_kernels
from mmrel.ops.tensor_lists import CHUNK, SPAN, addresses, chunks, fits


@torch.no_grad()
def move_towards(
    teachers: list[Tensor], students: list[Tensor], momentum: float, ok: Tensor
) -> None:
    """``t <- m t + (1 - m) s`` in place for every pair, unless the step was skipped.

    A loop would launch hundreds of kernels. On a GPU with Triton, float32 tensors take one launch together; elsewhere
    each operation goes over all tensors. The values are those of the loop, to the last bit.

    Args:
        teachers: t, tensors on one device.
        students: s, of the same shapes.
        momentum: m.
        ok: 0-dim bool on that device; where false nothing changes, not even if a student holds infinities. The
            host does not read it.
    """
    if missing_for_kernels(ok.device) or not all(map(fits, (*teachers, *students))):
        _move_together(teachers, students, momentum, ok)
    else:
        torch.ops.mmrel.move_towards(teachers, students, momentum, ok)


def _move_together(
    teachers: list[Tensor], students: list[Tensor], momentum: float, ok: Tensor
) -> None:
    # A skipped step keeps 1 and adds 0.
    keep, add = (
        torch.where(ok, torch.full_like(ok, factor, dtype=teachers[0].dtype), other)
        for factor, other in ((momentum, 1.0), (1.0 - momentum, 0.0))
    )
    torch._foreach_mul_(teachers, keep)
    moves = torch.cat([student.reshape(-1) for student in students]).mul_(add)
    # 0 * inf is NaN, so a skipped step needs more than the factor 0; and x + -0.0 is x, also for x = -0.0.
    moves = torch.where(ok, moves, -0.0)
    parts = moves.split([teacher.numel() for teacher in teachers])
    torch._foreach_add_(
        teachers, [part.view(t.shape) for part, t in zip(parts, teachers, strict=True)]
    )


def _move_towards(
    teachers: list[Tensor], students: list[Tensor], momentum: float, ok: Tensor
) -> None:
    from mmrel.ops import moving_average_kernels

    owners, starts, sizes = chunks(teachers)
    with current_device(ok):
        moving_average_kernels.move[(len(owners),)](
            *(addresses(teachers), addresses(students), sizes),
            # Products and sum are rounded one by one, as in the loop.
            *(momentum, 1.0 - momentum, ok, owners, starts),
            chunk=CHUNK,
            span=SPAN,
            enable_fp_fusion=False,
        )


define_operator(
    "move_towards(Tensor(a!)[] teachers, Tensor[] students, float momentum, Tensor ok) -> ()",
    _move_towards,
)
