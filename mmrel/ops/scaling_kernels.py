"""Triton kernel that multiplies many tensors, each by its own factor, in one launch."""

# Triton gives annotations a meaning of its own, so arguments that are not constants have none.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

import triton
import triton.language as tl


@triton.jit
def scale(addresses, sizes, factors, owners, starts, chunk: tl.constexpr, span: tl.constexpr):
    """One program per chunk of one tensor; a factor of 1 changes nothing and costs no traffic.

    Args:
        addresses: int64 ``(P,)``, where the float32 tensors are.
        sizes: int64 ``(P,)``, their numbers of elements.
        factors: float32 ``(P,)``.
        owners: int64 ``(chunks,)``, which tensor a chunk is of.
        starts: int64 ``(chunks,)``, its first element.
        chunk: elements of a chunk.
        span: elements at a time.
    """
    owner = tl.load(owners + tl.program_id(0))
    factor = tl.load(factors + owner)
    if factor != 1:
        values = tl.load(addresses + owner).to(tl.pointer_type(tl.float32))
        size = tl.load(sizes + owner)
        start = tl.load(starts + tl.program_id(0))
        for first in range(0, chunk, span):
            at = start + first + tl.arange(0, span)
            value = tl.load(values + at, at < size)
            tl.store(values + at, value * factor, at < size)
