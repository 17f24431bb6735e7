"""Triton kernel that moves many tensors towards others in one launch."""

# Triton gives annotations a meaning of its own, so arguments that are not constants have none.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

import triton
import triton.language as tl


@triton.jit
def move(
    teachers,
    students,
    sizes,
    keep,
    add,
    ok,
    owners,
    starts,
    chunk: tl.constexpr,
    span: tl.constexpr,
):
    """One program per chunk of one pair of tensors.

    Args:
        teachers: int64 ``(P,)``, where the float32 tensors are that move.
        students: int64 ``(P,)``, where those are that they move towards.
        sizes: int64 ``(P,)``, their numbers of elements.
        keep: what the first are multiplied by.
        add: what the others are multiplied by.
        ok: bool, 0-dim; if false, nothing is read or written.
        owners: int64 ``(chunks,)``, which pair a chunk is of.
        starts: int64 ``(chunks,)``, its first element.
        chunk: elements of a chunk.
        span: elements at a time.
    """
    if tl.load(ok):
        owner = tl.load(owners + tl.program_id(0))
        teacher = tl.load(teachers + owner).to(tl.pointer_type(tl.float32))
        student = tl.load(students + owner).to(tl.pointer_type(tl.float32))
        size = tl.load(sizes + owner)
        start = tl.load(starts + tl.program_id(0))
        for first in range(0, chunk, span):
            at = start + first + tl.arange(0, span)
            kept = tl.load(teacher + at, at < size) * keep
            tl.store(teacher + at, kept + tl.load(student + at, at < size) * add, at < size)
