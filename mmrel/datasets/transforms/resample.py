"""Pillow's resize of 8-bit colours, bit for bit, in some 60 % of its time.

Pillow resamples in two passes, one along each axis. A pass replaces every value by a weighted sum of its neighbours
with weights of 22 fractional bits, rounds half up and clips to a byte. The sums are whole numbers below 2**31, which
float32 cannot hold; but a weight is ``high * 2**11 + low``, and the sums of both parts are below 2**24, where float32
is exact. So a pass is two weighted sums of rows, for which torch's ``embedding_bag`` uses the widest registers of the
processor, then one addition and rounding by OpenCV.

Which axis comes first differs between versions of Pillow. :func:`pass_order` finds it out by comparing with the
installed one; if none of the known orders gives the same pixels, Pillow itself resizes.
"""

import logging
from collections.abc import Callable
from functools import cache, cached_property, lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import NDArray
from PIL import Image, __version__
from torch import Tensor

from mmrel.datasets.transforms.pixel_values import ByteImage

Box = tuple[int, int, int, int]
Cutter = Callable[[Box, int], ByteImage]
"""From a box ``(x, y, w, h)`` of an image and a side in pixels to the resized crop, uint8 ``(side, side, C)``."""

Order = Callable[[int, int, int], bool]
"""Whether a crop of that width and height is resized to that side vertically first."""

INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
SUPPORT = {"bicubic": 2.0, "bilinear": 1.0}
PRECISION_BITS, LOW_BITS = 22, 11
LOW_UNIT = 2.0**-LOW_BITS
MAX_TAPS = 64
"""Low parts are at most 2**10; the sum of so many of them, each times a byte, stays below 2**24."""

MAX_PIXELS = 1_500_000
"""The tables in float32 of larger crops leave the processor's caches, and Pillow is faster."""

CACHED_TAPS = 512
"""As many as images of 500 x 375 need; 10 MB, of images of a megapixel 30 MB, in every worker."""

PROBES = (
    *((31, 20), (20, 31), (20, 24), (20, 25), (13, 17), (13, 16)),
    *((16, 30), (30, 16), (60, 104), (60, 105), (1, 40), (40, 1)),
)
"""Widths and heights of crops resized to 16 pixels, on both sides of where Pillow 13 changes the order."""


class Taps(NamedTuple):
    """Which rows of a table make which row of the result, as ``embedding_bag`` wants it.

    Attributes:
        rows: int32 ``(2 K,)``: rows of the table, for the high parts of the weights and again for the low ones.
        starts: int32 ``(2 size,)``: where the rows of each result begin.
        weights: float32 ``(2 K,)``: whole high parts; low parts as multiples of ``2**-11``.
        widest: the largest number of rows that make one.
    """

    rows: Tensor
    starts: Tensor
    weights: Tensor
    widest: int


def exact_cutter(image: ByteImage, interpolation: str) -> Cutter:
    """What cuts and resizes parts of an image as ``image.crop(box).resize(size, interpolation)`` does in Pillow.

    Args:
        image: uint8 ``(H, W, C)``.
        interpolation: ``'bicubic'`` or ``'bilinear'``.
    """
    order = pass_order(interpolation)
    if order is None:
        return partial(pillow_cut, image, interpolation=interpolation)
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        return partial(_cut_alone, image, interpolation=interpolation, order=order)
    return Resampler(image, interpolation, order).cut


def _cut_alone(
    image: ByteImage, box: Box, size: int, interpolation: str, order: Order
) -> ByteImage:
    """A crop of a large image, without turning all of the image for it."""
    x, y, w, h = box
    if w * h > MAX_PIXELS:
        return pillow_cut(image, box, size, interpolation)
    crop = image[y : y + h, x : x + w]
    return Resampler(crop, interpolation, order).cut((0, 0, w, h), size)


def pillow_cut(image: ByteImage, box: Box, size: int, interpolation: str) -> ByteImage:
    """The crop as Pillow itself makes it."""
    x, y, w, h = box
    # Pillow would copy an array with gaps between its rows byte by byte, and its own crop would refuse large boxes by
    # a limit that is global to the process.
    crop = np.ascontiguousarray(image[y : y + h, x : x + w])
    if crop.shape[2] == 3:
        return np.asarray(Image.fromarray(crop).resize((size, size), INTERPOLATIONS[interpolation]))
    # By itself, each of several channels that Pillow would take for colours and their transparency.
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(crop, -1, 0)]
    resized = [plane.resize((size, size), INTERPOLATIONS[interpolation]) for plane in planes]
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


class Resampler:
    """Cuts crops out of one image.

    Args:
        image: uint8 ``(H, W, C)``.
        interpolation: ``'bicubic'`` or ``'bilinear'``.
        vertical_first: the installed Pillow's order.
    """

    def __init__(self, image: ByteImage, interpolation: str, vertical_first: Order) -> None:
        # torch shares memory only with writable arrays.
        self.image = np.require(image, requirements=["C", "W"])
        self.interpolation = interpolation
        self.vertical_first = vertical_first

    @cached_property
    def columns(self) -> Tensor:
        """The image by columns, uint8 ``(W, C, H)``."""
        height, width, channels = self.image.shape
        lines = self.image.reshape(height, width * channels)
        return torch.from_numpy(_turned(lines)).view(width, channels, height)

    def cut(self, box: Box, size: int) -> ByteImage:
        """The crop of a box ``(x, y, w, h)``, resized to uint8 ``(size, size, C)``."""
        x, y, w, h = box
        channels = self.image.shape[2]
        across, down = (taps(length, size, self.interpolation) for length in (w, h))
        if max(across.widest, down.widest) > MAX_TAPS:
            return pillow_cut(self.image, box, size, self.interpolation)
        if self.vertical_first(w, h, size):
            crop = torch.from_numpy(self.image)[y : y + h, x : x + w]
            lines = _weighted_sums(crop, down)  # (size, w * C)
            columns = torch.from_numpy(_turned(lines)).view(w, channels, size)
            resized = _turned(_weighted_sums(columns, across).reshape(size * channels, size))
        else:
            columns = self.columns[x : x + w, :, y : y + h]
            lines = _turned(_weighted_sums(columns, across).reshape(size * channels, h))
            resized = _weighted_sums(torch.from_numpy(lines), down)
        return resized.reshape(size, size, channels)


def _turned(matrix: ByteImage) -> ByteImage:
    return np.asarray(cv2.transpose(matrix), dtype=np.uint8)


def _weighted_sums(values: Tensor, sums: Taps) -> ByteImage:
    """One pass: sums of the rows of uint8 ``(n, ...)`` as bytes ``(size, values)``."""
    table = values.new_empty(values.shape, dtype=torch.float32).copy_(values).flatten(1)
    both = torch.embedding_bag(table, sums.rows, sums.starts, False, 0, False, sums.weights)[0]
    high, low = both.chunk(2)
    # In units of 2**-11 the sum is now whole, so that half a unit turns OpenCV's rounding to even into rounding up.
    args = high.numpy(), LOW_UNIT, low.floor_().numpy(), LOW_UNIT, LOW_UNIT / 2
    return np.asarray(cv2.addWeighted(*args, dtype=cv2.CV_8U), dtype=np.uint8)


@lru_cache(maxsize=CACHED_TAPS)
def taps(length: int, size: int, interpolation: str) -> Taps:
    """The weights by which Pillow resamples ``length`` values to ``size``."""
    stretch = max(length / size, 1.0)
    support = SUPPORT[interpolation] * stretch
    centers = (np.arange(size) + 0.5) * (length / size)
    first = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    count = np.minimum((centers + support + 0.5).astype(np.int64), length) - first
    rows = first[:, np.newaxis] + np.arange(count.max())
    used = rows < (first + count)[:, np.newaxis]
    weights = _kernel((rows - centers[:, np.newaxis] + 0.5) * (1.0 / stretch), interpolation) * used
    # One after the other, as Pillow adds them: the last bits of NumPy's sum are others.
    weights /= np.add.accumulate(weights, axis=1)[:, -1:]
    whole = np.trunc(weights * (1 << PRECISION_BITS) + np.copysign(0.5, weights))[used]
    high = np.floor(whole * LOW_UNIT + 0.5)
    low = whole * LOW_UNIT - high
    starts = np.concatenate([[0], np.tile(count, 2).cumsum()[:-1]])
    return Taps(
        torch.from_numpy(np.tile(rows[used], 2).astype(np.int32)),
        torch.from_numpy(starts.astype(np.int32)),
        torch.from_numpy(np.concatenate([high, low]).astype(np.float32)),
        int(count.max()),
    )


def _kernel(x: NDArray[np.float64], interpolation: str) -> NDArray[np.float64]:
    """The interpolation's kernel (cubic: Keys 1981 with a = -0.5), evaluated term by term as Pillow does."""
    x = np.abs(x)
    if interpolation == "bilinear":
        return np.maximum(1 - x, 0.0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def horizontal_first(width: int, height: int, size: int) -> bool:
    """The order of Pillow up to version 12."""
    return False


def tall_first(width: int, height: int, size: int) -> bool:
    """The order of Pillow 13, where crops that lose many more rows than columns lose the rows first."""
    return height - size > 2 * max(width - size, 0)


ORDERS: tuple[Order, ...] = (tall_first, horizontal_first)


@cache
def pass_order(interpolation: str) -> Order | None:
    """The order in which the installed Pillow resizes, or ``None`` (logged) if no known one gives its pixels."""
    for order in ORDERS:
        if all(_agrees(shape, interpolation, order) for shape in PROBES):
            return order
    print_log(
        f"Pillow {__version__} resizes in a way that mmrel does not know; mode='exact' of mmrel.MultiCrop calls it for "
        "every crop, which takes 1.7 times as long. Pillow 10 to 13 are known",
        "current",
        logging.WARNING,
    )
    return None


def _agrees(shape: tuple[int, int], interpolation: str, order: Order) -> bool:
    width, height = shape
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box = 0, 0, width, height
    ours = Resampler(image, interpolation, order).cut(box, 16)
    return np.array_equal(ours, pillow_cut(image, box, 16, interpolation))
