"""The corruption of SiT: groups of connected pixels are overwritten (GMML; SiT, arXiv 2104.03602).

Rectangles are drawn one after another until their union covers the wanted share of the image, each
pixel counted once. Two properties of the official code are kept because they shape the statistics: a
rectangle never starts in the last ``align`` rows or columns, so the top left is hidden least; and sides
are rounded to multiples of ``align`` half to even. Only the source of randomness differs: a NumPy
generator that the caller keys. :func:`group_mask` draws; :func:`blank` and :func:`overwrite` carry out.
"""

import math
from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BoolArray = NDArray[np.bool_]
Block = tuple[slice, slice]
"""One rectangle: its rows and its columns."""

BLOCK = 0.3
"""Bound of a rectangle's side as a share of the image's side."""

CHUNK = 24
FIXED_SHARE = 0.5


class Material(IntEnum):
    """What is written over an image. The names are those of the recipes, in lower case."""

    ZEROS = 0  # the mean colour, since images are normalised
    NOISE = 1  # iid N(0, 1), in normalised units
    SELF = 2  # other places of the same image, corrupted or not
    OTHER = 3  # the same places of another image


def parse_materials(names: str) -> tuple[Material, ...]:
    """Materials of a ``'-'``-joined list such as ``'zeros-noise'``.

    Raises:
        ValueError: for an unknown name.
    """
    known = {material.name.lower(): material for material in Material}
    wanted = names.split("-")
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(
            f"material is {names!r}, but {unknown} is unknown; choose from {', '.join(known)}, "
            "several joined by '-'"
        )
    return tuple(known[name] for name in wanted)


def group_mask(
    height: int,
    width: int,
    area: float,
    align: int,
    rng: np.random.Generator,
    block: float = BLOCK,
) -> BoolArray:
    """Cover about ``area`` of an image with rectangles of many sizes.

    The share to cover is drawn from U(min(0.5, area), area): it is ``area`` itself up to 0.5. The last
    rectangle overshoots it.

    Args:
        height: in pixels.
        width: in pixels.
        area: largest share to cover, in (0, 1).
        align: a; rectangles start and end at multiples of a pixels (1: anywhere; the patch size: whole patches).
        rng: source of randomness.
        block: sides are drawn from a to ``floor(block * side of the image) - 1`` pixels.

    Returns:
        bool ``(height, width)``, true where covered.

    Raises:
        ValueError: the image is too small for these rectangles, or an argument is out of range.
    """
    return draw_group(height, width, area, align, rng, block)[0]


def draw_group(
    height: int,
    width: int,
    area: float,
    align: int,
    rng: np.random.Generator,
    block: float = BLOCK,
) -> tuple[BoolArray, list[Block]]:
    """:func:`group_mask` with its rectangles in the order of drawing; the arguments are the same."""
    check_blocks(height, width, area, align, block)
    low = min(FIXED_SHARE, area)
    wanted = (low + (area - low) * rng.random()) * height * width
    mask = np.zeros((height, width), dtype=bool)
    covered, blocks = 0, []
    for rectangle in _endless_blocks(height, width, align, rng, block):
        window = mask[rectangle]
        covered += window.size - int(np.count_nonzero(window))
        window[:] = True
        blocks.append(rectangle)
        if covered >= wanted:
            break
    return mask, blocks


def self_origin(
    height: int, width: int, blocks: Sequence[Block], align: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Where every pixel comes from if each block is copied from a random place of the image itself.

    The places are as aligned as the blocks and lie inside the image. Copies are made in order, so a
    block may show what an earlier one has overwritten.

    Args:
        height: in pixels.
        width: in pixels.
        blocks: in the order of copying.
        align: alignment of the places, in pixels.
        rng: source of randomness; two numbers are taken per block.

    Returns:
        ``(height, width)``: flat positions.
    """
    origin = np.arange(height * width, dtype=np.int32).reshape(height, width)
    places = rng.random((len(blocks), 2)).tolist()
    for block, (u_top, u_left) in zip(blocks, places, strict=True):
        rows, cols = origin[block].shape
        top = int(u_top * (height - rows + 1)) // align * align
        left = int(u_left * (width - cols + 1)) // align * align
        # copy(): source and target may overlap. Reading `origin`, not plain positions, is what lets
        # a copy show an earlier one.
        origin[block] = origin[top : top + rows, left : left + cols].copy()
    return origin


def round_sides(sides: NDArray[np.int64], align: int) -> NDArray[np.int64]:
    """The nearest multiples of ``align``; halves go to the even multiple."""
    return (align * np.rint(sides / align)).astype(np.int64)


@cache
def check_blocks(height: int, width: int, area: float, align: int, block: float = BLOCK) -> None:
    """Raise ``ValueError`` unless :func:`group_mask` can cover ``area`` of such an image."""
    if align < 1 or not 0 < area < 1 or not 0 < block <= 1:
        raise ValueError(
            f"align is {align}, area is {area} and block is {block}; align must be 1 or more, area "
            "between 0 and 1, block above 0 and at most 1"
        )
    longest = math.floor(block * min(height, width))
    if longest <= align:
        raise ValueError(
            f"an image of {height} x {width} pixels is too small for corruption blocks aligned to {align} "
            f"pixels: floor({block} * {min(height, width)}) = {longest} must be greater than align. "
            f"Take align {max(1, longest - 1)} or less, or larger crops"
        )
    share = _reach(height, align, block) * _reach(width, align, block) / (height * width)
    if area > share:
        raise ValueError(
            f"blocks aligned to {align} pixels reach {share:.3f} of an image of {height} x {width} pixels, "
            f"but area is {area}; lower area or align, or take larger crops"
        )


def pack_mask(mask: BoolArray) -> NDArray[np.uint8]:
    """Eight pixels of each row in a byte: ``(..., W)`` to ``(..., ceil(W / 8))``."""
    return np.packbits(mask, axis=-1)


def unpack_mask(packed: Tensor, width: int) -> Tensor:
    """The inverse of :func:`pack_mask`, on the tensor's device.

    Args:
        packed: uint8 ``(..., ceil(W / 8))``.
        width: W.

    Returns:
        bool ``(..., W)``.
    """
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits = (packed.unsqueeze(-1) >> places).bitwise_and_(1).flatten(-2)
    return bits.view(torch.bool)[..., :width]


def blank(images: Tensor, masks: Tensor) -> Tensor:
    """Images with 0 where masked.

    Args:
        images: float ``(n, 3, H, W)``, finite.
        masks: bool ``(n, H, W)``.

    Returns:
        A new tensor like ``images``.
    """
    return images * (~masks).to(images.dtype).unsqueeze(1)


def overwrite(blanked: Tensor, masks: Tensor, positions: Tensor, sources: Tensor) -> Tensor:
    """Fill, in place, the masked pixels of some images.

    Args:
        blanked: ``(n, 3, H, W)``, from :func:`blank`.
        masks: bool ``(n, H, W)``.
        positions: long ``(m,)``, which images, each at most once.
        sources: ``(m, 3, H, W)``, what to fill with; it may be overwritten.

    Returns:
        ``blanked``.
    """
    weights = masks.index_select(0, positions).to(sources.dtype).unsqueeze(1)
    return blanked.index_add_(0, positions, sources.mul_(weights))


def rearrange(images: Tensor, origins: Tensor) -> Tensor:
    """Each image with its pixels taken from elsewhere in it.

    Args:
        images: ``(m, 3, H, W)``.
        origins: ``(m, H, W)``, flat positions, from :func:`self_origin`.

    Returns:
        A new tensor like ``images``.
    """
    index = origins.long().flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view_as(images)


def _endless_blocks(
    height: int, width: int, align: int, rng: np.random.Generator, block: float
) -> Iterator[Block]:
    lengths = np.array([[height], [width]])
    longest = np.floor(block * lengths).astype(np.int64)
    while True:
        uniform = rng.random((CHUNK, 4)).T
        starts = (uniform[:2] * (lengths - align)).astype(np.int64) // align * align
        sides = align + (uniform[2:] * (longest - align)).astype(np.int64)
        ends = starts + round_sides(np.minimum(sides, lengths - starts), align)
        for top, left, bottom, right in zip(*starts.tolist(), *ends.tolist(), strict=True):
            yield slice(top, bottom), slice(left, right)


def _reach(length: int, align: int, block: float) -> int:
    """One past the last pixel that a block can cover along an axis."""
    start = (length - align - 1) // align * align
    side = min(math.floor(block * length) - 1, length - start)
    return min(length, start + align * round(side / align))
