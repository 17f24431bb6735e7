"""The least that Triton can be asked to do, to find out whether it can."""

# Triton gives annotations a meaning of its own, so arguments that are not constants have none.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

import triton
import triton.language as tl


@triton.jit
def add_one(numbers):
    """Add 1 to the first number."""
    tl.store(numbers, tl.load(numbers) + 1)
