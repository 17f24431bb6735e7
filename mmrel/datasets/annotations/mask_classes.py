"""What the values or colours in masks mean: classes from grey values, palettes and colours.

A mask with a palette, or grey, holds numbers, and 255 is VOC's ignored border; only where 0 and 255 are all there is,
255 is the object (a binary mask). A mask of three channels holds a colour per class, and VOC's ivory (224, 224, 192)
is ignored. Numbers and colours become classes in ascending order; those that no pixel has are no classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mmrel.datasets.annotations.files import upright_size
from mmrel.datasets.annotations.mask_file import LOSSY, NUMBERS, stretch
from mmrel.datasets.transforms.image_file import open_image
from mmrel.utils.errors import UsageError

Values = NDArray[np.int64]
Color = tuple[int, int, int]
IGNORED = 255
MAX_CLASSES = 255
IVORY = (224 << 16) + (224 << 8) + 192


@dataclass(frozen=True)
class Coding:
    """How masks are read.

    Attributes:
        values: what the pixels of each class hold: a number, or a colour as 0xRRGGBB.
        ignored: values that count for nothing.
        colored: whether they are colours.
        palette: a colour for each class that the masks themselves tell; ``None``: they tell none.
        present: the values in each mask, in the order of the pairs.
        reason: in words.
    """

    values: tuple[int, ...]
    ignored: frozenset[int]
    colored: bool
    palette: tuple[Color, ...] | None
    present: tuple[frozenset[int], ...]
    reason: str

    def labels(self, mask: Path) -> NDArray[np.uint8]:
        """Class of each pixel, uint8 ``(H, W)``; 255 where it counts for nothing."""
        values = read_values(mask, self.colored)
        labels = np.full(values.shape, IGNORED, dtype=np.uint8)
        for label, value in enumerate(self.values):
            labels[values == value] = label
        return labels


def survey(
    pairs: Sequence[tuple[Path, Path]], progress: Callable[[int, int], None] | None = None
) -> Coding:
    """Read all masks once: their sizes must be their images', and their values are the classes.

    Args:
        pairs: (image, mask).
        progress: is called with the number of masks read and of all.

    Raises:
        UsageError: a mask cannot be read, is lossy, has another size than its image, or mixes with others of another
            kind; or there are too many values for classes.
    """
    present: list[frozenset[int]] = []
    known: set[int] = set()
    colored = is_colored(pairs[0][1])
    palettes: set[bytes] = set()
    for number, (image, mask) in enumerate(pairs, start=1):
        values = read_values(mask, colored, palettes)
        _check_size(values, mask, image)
        present.append(frozenset(np.unique(values).tolist()))
        known |= present[-1]
        if len(known) > MAX_CLASSES + 1:
            raise UsageError(
                f"The masks up to {mask} hold {len(known)} {'colours' if colored else 'values'}: more than "
                f"{MAX_CLASSES} classes. They number objects instead of classes, or their edges are smoothed; write "
                "one value or colour for each class, without smoothing."
            )
        if progress is not None:
            progress(number, len(pairs))
    return _coding(sorted(known), present, colored, palettes)


def _coding(
    values: Sequence[int], present: Sequence[frozenset[int]], colored: bool, palettes: set[bytes]
) -> Coding:
    ignored: set[int]
    if colored:
        ignored, reason = {IVORY}, "a class for each colour in the masks"
    elif values == [0, IGNORED] and not palettes:
        ignored, reason = set(), "the masks hold 0 and 255 alone, so 255 is the object"
    else:
        ignored, reason = {IGNORED}, "a class for each value in the masks; 255 is ignored"
    kept = tuple(value for value in values if value not in ignored)
    palette = None
    if colored:
        palette = tuple((v >> 16, v >> 8 & 255, v & 255) for v in kept)
    elif len(palettes) == 1:
        palette = _palette_colors(next(iter(palettes)), kept)
    return Coding(kept, frozenset(ignored), colored, palette, tuple(present), reason)


def _palette_colors(palette: bytes, values: Iterable[int]) -> tuple[Color, ...] | None:
    colors = [tuple(palette[3 * v : 3 * v + 3]) for v in values]
    distinct = len(set(colors)) == len(colors) and all(len(color) == 3 for color in colors)
    return tuple(colors) if distinct else None  # type: ignore[arg-type]


def is_colored(mask: Path) -> bool:
    """Whether a mask has several channels."""
    return _open(mask, lambda image: image.mode not in NUMBERS)


def read_values(mask: Path, colored: bool, palettes: set[bytes] | None = None) -> Values:
    """The numbers, or the colours as 0xRRGGBB, in a mask: int64 ``(H, W)``.

    Args:
        mask: the file.
        colored: which of the two it must have.
        palettes: to which the mask's palette is added, if it has one.

    Raises:
        UsageError: it cannot be read, is of a lossy format, or is of the other kind.
    """

    def values(image: Any) -> Values:
        if image.format in LOSSY:
            raise ValueError(
                f"{image.format} changes values around each border; write masks as PNG"
            )
        if (image.mode not in NUMBERS) != colored:
            kind = "one number" if image.mode in NUMBERS else "a colour"
            raise ValueError(
                f"it has {kind} per pixel, unlike the masks before it; write all alike"
            )
        if image.mode == "P" and palettes is not None:
            palettes.add(bytes(image.getpalette() or ()))
        if not colored:
            factor = stretch(image)  # known until the pixels are read
            return np.asarray(image).astype(np.int64) // factor
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.int64), 2, 0)
        return (red << 16) + (green << 8) + blue

    return _open(mask, values)


def _open(mask: Path, use: Callable[[Any], Any]) -> Any:
    try:
        with open_image(mask.read_bytes()) as image:
            return use(image)
    except (
        OSError,
        ValueError,
        SyntaxError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ) as e:
        raise UsageError(f"The mask {mask} cannot be used: {str(e)[:300]}.") from e


def _check_size(values: Values, mask: Path, image: Path) -> None:
    width, height = upright_size(image)
    if values.shape != (height, width):
        raise UsageError(
            f"{mask} has {values.shape[1]}x{values.shape[0]} pixels (width x height), but its image {image} has "
            f"{width}x{height}; they must be of one size."
        )
