"""Images as grids of patches: cutting, resizing and putting together, in batch and without waiting for the device.

What RelViT's public code (arXiv 2206.00481) does to patches one by one in the loader, with the same results: every
resize is bilinear without antialiasing and half-pixel centres.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

ZOOM = 1.15
CENTER_AREA = 0.85
CROPS = ("random", "center", "none")


class Window(NamedTuple):
    """The square that is cut out of each patch and enlarged to the patch's size.

    Attributes:
        side: in pixels.
        first: smallest distance from the patch's upper or left border, in pixels.
        choices: number of distances, which are consecutive.
    """

    side: int
    first: int
    choices: int


def patch_window(patch_size: int, crop: str) -> Window:
    """The window of a kind of crop.

    Args:
        patch_size: p, side of a patch in pixels.
        crop: ``'random'``: side ``round(p / 1.15)`` anywhere in the patch; ``'center'``: 85 % of the area of the
            central square of side ``ceil(p / 1.15)``, anywhere in it; ``'none'``: the whole patch.

    Raises:
        ValueError: an unknown kind.
    """
    if crop == "none":
        return Window(patch_size, 0, 1)
    if crop == "random":
        side = round(patch_size / ZOOM)
        return Window(side, 0, patch_size - side + 1)
    if crop == "center":
        center = math.ceil(patch_size / ZOOM)
        side = round(math.sqrt(CENTER_AREA * center**2))
        return Window(side, round((patch_size - center) / 2), center - side + 1)
    raise ValueError(f"crop is {crop!r}; choose one of {CROPS}")


def cut_windows(images: Tensor, offsets: Tensor, patch_size: int, side: int) -> Tensor:
    """Cut a window out of every patch and enlarge it to the patch's size.

    Args:
        images: float ``(n, C, H, W)``, H and W multiples of the patch size.
        offsets: long ``(n, N, 2)``: distance of each window from its patch's upper and left border, in pixels.
        patch_size: side of a patch in pixels.
        side: side of the windows in pixels.

    Returns:
        ``(n * N, C, patch_size, patch_size)``, row-major within an image.

    Raises:
        ValueError: if N is not the number of patches of an image.
    """
    rows, cols = images.shape[-2] // patch_size, images.shape[-1] // patch_size
    if offsets.shape[1] != rows * cols:
        raise ValueError(
            f"{offsets.shape[1]} offsets were drawn for images of {rows} x {cols} patches; give "
            "mmrel.DrawPatchAugmentation the patch size of the backbone, after what changes the size of crops"
        )
    index = torch.arange(rows * cols, device=images.device)
    top = index.div(cols, rounding_mode="floor") * patch_size + offsets[..., 0]
    left = index % cols * patch_size + offsets[..., 1]
    image = torch.arange(len(images), device=images.device)[:, None].expand_as(top)
    windows = images.unfold(2, side, 1).unfold(3, side, 1)
    cut = windows[image.flatten(), :, top.flatten(), left.flatten()]
    return cut if side == patch_size else _resize(cut, patch_size)


def split_patches(images: Tensor, patch_size: int) -> Tensor:
    """Images ``(n, C, H, W)`` to patches ``(n, N, C, p, p)``, row-major."""
    patches = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def merge_patches(patches: Tensor, rows: int) -> Tensor:
    """Patches ``(n, N, C, p, p)`` of a grid with so many rows to images ``(n, C, H, W)``."""
    grid = patches.unflatten(1, (rows, -1))
    return grid.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def permute_patches(images: Tensor, order: Tensor, patch_size: int) -> Tensor:
    """Images whose slot i shows what was in slot ``order[i]``.

    Args:
        images: ``(n, C, H, W)``.
        order: long ``(n, N)``, permutations of 0 to N - 1.
        patch_size: side of a patch in pixels.

    Returns:
        Images like the input.
    """
    patches = split_patches(images, patch_size)
    image = torch.arange(len(images), device=images.device)[:, None]
    return merge_patches(patches[image, order], images.shape[-2] // patch_size)


def draw_cuts(count: int, cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cut a side of ``cells`` equal cells into ``count`` parts; all ways to do so are equally likely.

    Args:
        count: m, parts of one cell or more.
        cells: S, cells of the side.
        rng: source of randomness.

    Returns:
        ``(m + 1,)``, ascending from 0 to S.

    Raises:
        ValueError: more parts than cells, or fewer than 2.
    """
    if not 2 <= count <= cells:
        raise ValueError(
            f"{count} mega-patches per side were asked of a grid with {cells} patches per side; give a number "
            f"from 2 to {cells}, or smaller patches"
        )
    inner = rng.permutation(cells - 1)[: count - 1] + 1
    return np.concatenate([[0], np.sort(inner), [cells]])


def mega_patches(images: Tensor, cuts: Tensor, patch_size: int) -> Tensor:
    """Cut images into m x m rectangles of unequal size and resize each to one patch.

    Args:
        images: float ``(n, C, H, W)``.
        cuts: long ``(n, 2, m + 1)``: where rows and columns are cut, in pixels, from 0 to H or W.
        patch_size: p, the side that every rectangle gets, in pixels.

    Returns:
        ``(n, C, m * p, m * p)``.
    """
    for axis, lines in zip((2, 3), cuts.unbind(1), strict=True):
        images = _resize_parts(images, lines, patch_size, axis)
    return images


def _resize_parts(images: Tensor, lines: Tensor, size: int, axis: int) -> Tensor:
    """Resize what lies between neighbouring lines ``(n, m + 1)`` to ``size`` along one axis."""
    # interpolate() resizes all images of a batch alike; here each image has parts of its own
    # lengths, so the rule is written out per pixel: bilinear with half-pixel centres
    # (align_corners=False), one axis after the other, which is separable. A part sees no pixel of
    # its neighbours: positions stop at its own first and last line.
    start, length = lines[:, :-1, None], lines.diff(dim=1)[..., None]
    position = (torch.arange(size, device=lines.device) + 0.5) * length / size - 0.5
    position = position.clamp(min=0)
    low = position.long()
    high = torch.minimum(low + 1, length - 1)
    shape = [len(images), 1, 1, 1]
    shape[axis] = -1
    below, above = (
        torch.take_along_dim(images, (start + index).view(shape), dim=axis) for index in (low, high)
    )
    return torch.lerp(below, above, (position - low).to(images.dtype).view(shape))


def _resize(patches: Tensor, size: int) -> Tensor:
    return interpolate(patches, (size, size), mode="bilinear", align_corners=False)
