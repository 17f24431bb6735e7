"""At which size images are trained on: from their own sizes, their objects, and the device."""

from collections.abc import Sequence
from statistics import median

from mmrel.apis.choices import Choice

STEP = 32
"""Sizes are multiples of it: whole patches, and whole cells of the coarsest map."""

OBJECT_SIDE = 32
"""Pixels that half of the objects should be wide at least: two patches."""


def round_to_step(value: float) -> int:
    """The nearest multiple of :data:`STEP`, at least two."""
    return max(2 * STEP, round(value / STEP) * STEP)


def detection_size(
    sizes: Sequence[tuple[int, int]], object_side: float, on_gpu: bool
) -> tuple[int, Choice]:
    """Short side in pixels that images are resized to.

    Args:
        sizes: (width, height) of the images.
        object_side: half of the objects are smaller, in pixels.
        on_gpu: whether there is a GPU.
    """
    own = median(min(size) for size in sizes)
    enlarge = max(1.0, OBJECT_SIDE / max(object_side, 1.0))
    most = 800 if on_gpu else 384
    size = round_to_step(min(own * enlarge, most))
    reason = f"short side; the images' own is {own:g} (median)"
    if size > own and enlarge > 1:
        reason += f", enlarged because half of the objects are under {object_side:.0f} pixels"
    if own * enlarge > most:
        reason += f", limited to {most} on a {'GPU' if on_gpu else 'CPU'}"
    return size, Choice("size", str(size), reason)


def segmentation_size(sizes: Sequence[tuple[int, int]], on_gpu: bool) -> tuple[int, Choice]:
    """Short side in pixels that images are resized to, and the side of the crops.

    Args:
        sizes: (width, height) of the images.
        on_gpu: whether there is a GPU.
    """
    own = median(min(size) for size in sizes)
    most = 512 if on_gpu else 256
    size = round_to_step(min(own, most))
    reason = f"crop, and short side before it; the images' own is {own:g} (median)"
    if own > most:
        reason += f", limited to {most} on a {'GPU' if on_gpu else 'CPU'}"
    return size, Choice("size", f"{size}x{size}", reason)
