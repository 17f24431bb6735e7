"""Large maps piece by piece, so that a piece and its temporaries stay in the cache, or in little memory."""

from collections.abc import Iterator

import torch

ENTRIES_PER_THREAD = 3 * 2**17
"""Map entries per piece and thread on a CPU: a piece and its temporaries stay in the cache."""
ENTRIES_PER_DEVICE = 2**25
"""Map entries per piece elsewhere: 128 MiB in float32, enough to fill a GPU."""


def pieces(count: int, entries: int, device: torch.device, least: int = 1) -> Iterator[slice]:
    """Slices of ``range(count)``.

    Args:
        count: elements.
        entries: map entries that each element makes.
        device: where the maps are.
        least: elements in a piece even if they make more entries, for efficient matrix products.
    """
    if device.type == "cpu" and not torch.compiler.is_compiling():
        # Per thread, since torch divides a batched product among its threads: each works on its
        # share in its own cache.
        step = _fitting(ENTRIES_PER_THREAD * torch.get_num_threads(), entries, least)
    else:
        # Equal pieces: a small one at the end would leave most of a device idle. A compiler unrolls
        # the pieces and fuses what is inside, so it gets few, on a CPU as well; it also could not
        # read the number of threads.
        step = _fitting(ENTRIES_PER_DEVICE, entries, least)
        number = max((count + step - 1) // step, 1)
        step = max((count + number - 1) // number, 1)
    return (slice(start, start + step) for start in range(0, count, step))


def _fitting(limit: int, entries: int, least: int) -> int:
    return max(least, limit // max(entries, 1))
