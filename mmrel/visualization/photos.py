"""A photograph on its way into a backbone, places in it, and tokens of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.images import OneImage, fit_to_patches, normalised_images, read_image
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens

SIZE = 480
"""Short side in pixels, as DINO's attention maps have it."""

Point = tuple[float, float]
Grid = tuple[int, int]


@dataclass(frozen=True)
class PhotoTokens:
    """Patch tokens of one photograph.

    Attributes:
        tokens: float32 ``(N, C)`` on the CPU, row-major.
        grid: ``(rows, cols)``, N = rows * cols.
        shape: height and width of the photograph in its own pixels.
    """

    tokens: Tensor
    grid: Grid
    shape: tuple[int, int]


def photo_batch(
    backbone: ViT, image: OneImage, size: int | None = SIZE
) -> tuple[Tensor, tuple[int, int]]:
    """A photograph as the backbone takes it, ``(1, 3, H, W)``, and its own height and width.

    Args:
        backbone: as ``get_backbone`` gives it.
        image: file, Pillow image or uint8 array ``(H, W, 3)``.
        size: short side in pixels; ``None``: its own. The aspect ratio is kept to within half a patch.

    Raises:
        UnreadableImageError: a file that holds no image, with its path.
        ValueError: it is smaller than a patch.
    """
    picture = read_image(image)
    fitted = fit_to_patches(picture, backbone.patch_size, size)
    return normalised_images([fitted], backbone), sides(picture)


@torch.inference_mode()
def photo_tokens(
    backbone: ViT,
    image: OneImage,
    size: int | None = SIZE,
    block: int = -1,
    norm: bool = True,
) -> PhotoTokens:
    """Patch tokens of a photograph after one block.

    Args:
        backbone: as ``get_backbone`` gives it; it is left as it was.
        image: see :func:`photo_batch`.
        size: likewise.
        block: its number; negative ones count from the end.
        norm: whether they pass the final norm, if the backbone has one.

    Raises:
        ValueError: there is no such block, or as for :func:`photo_batch`.
    """
    batch, shape = photo_batch(backbone, image, size)
    with evaluation_mode(backbone):
        [views] = intermediate_tokens(backbone, batch, (block,), norm)
    return PhotoTokens(views.patches[0].float().cpu(), views.grid, shape)


def sides(pixels: NDArray[Any]) -> tuple[int, int]:
    """Height and width of a picture or a map."""
    return pixels.shape[0], pixels.shape[1]


def as_share(point: Point, shape: tuple[int, int]) -> Point:
    """A place as shares of an image's sides.

    Args:
        point: ``(x, y)``: two whole numbers are pixels of the image, two floats in [0, 1] are shares of its sides.
        shape: height and width of the image in pixels.

    Raises:
        ValueError: the place is outside of the image, or neither.
    """
    height, width = shape
    if all(isinstance(value, Integral) for value in point):
        if 0 <= point[0] < width and 0 <= point[1] < height:
            return (point[0] + 0.5) / width, (point[1] + 0.5) / height
    elif all(0 <= value <= 1 for value in point):
        return float(point[0]), float(point[1])
    raise ValueError(
        f"the point {tuple(point)} is outside of the image, which is {width} pixels wide and {height} high; give two "
        f"whole numbers, x below {width} and y below {height}, or two shares from 0.0 to 1.0 with a decimal point"
    )


def patch_at(point: Point, shape: tuple[int, int], grid: Grid) -> tuple[int, int]:
    """Row and column of the patch that shows a place, see :func:`as_share`."""
    x, y = as_share(point, shape)
    return min(int(y * grid[0]), grid[0] - 1), min(int(x * grid[1]), grid[1] - 1)


def patch_center(point: Point, shape: tuple[int, int], grid: Grid) -> Point:
    """The centre of that patch, as shares of the image's sides."""
    row, col = patch_at(point, shape, grid)
    return (col + 0.5) / grid[1], (row + 0.5) / grid[0]


def flat_patches(points: Sequence[Point], shape: tuple[int, int], grid: Grid) -> list[int]:
    """Positions of the patches at several places, row-major.

    Raises:
        ValueError: no places, or one is outside of the image.
    """
    if not points:
        raise ValueError("points is empty; give at least one (x, y)")
    cells = (patch_at(point, shape, grid) for point in points)
    return [row * grid[1] + col for row, col in cells]


def check_heads(heads: Sequence[int] | None, count: int) -> list[int]:
    """Numbers of attention heads; ``None``: all.

    Raises:
        ValueError: there are no such heads.
    """
    found = list(range(count)) if heads is None else list(heads)
    if not found or min(found) < 0 or max(found) >= count:
        raise ValueError(f"heads are {found}; this backbone has the heads 0 to {count - 1}")
    return found
