"""Many crops of one decoded image: DINO's multi-crop (arXiv 2104.14294; SwAV, arXiv 2006.09882).

The boxes are drawn as torchvision's ``RandomResizedCrop`` draws them; only the source of randomness
differs: it is keyed by the sample. Flips are drawn here, because they belong to the geometry, and
carried out on the device together with the colours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.transforms.load import check_mode
from mmrel.datasets.transforms.pixel_values import ByteImage
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.datasets.transforms.resample import (
    INTERPOLATIONS,
    Box,
    Cutter,
    exact_cutter,
    pass_order,
)
from mmrel.registry import TRANSFORMS
from mmrel.structures import SampleKey

ATTEMPTS = 10
DRAWS_PER_VIEW = 2 * ATTEMPTS + 3
Range = tuple[float, float]


@dataclass(frozen=True)
class CropKind:
    """One kind of crop.

    Attributes:
        count: how many.
        size: output side in pixels.
        scale: range of the area, as a share of the image.
    """

    count: int
    size: int
    scale: Range

    def __post_init__(self) -> None:
        low, high = self.scale
        if self.count < 0 or self.size < 1 or not 0 < low <= high <= 1:
            raise ValueError(
                f"a crop kind has number {self.count}, size {self.size} and scale "
                f"{tuple(self.scale)}; the number must be 0 or more, the size 1 or more, the scale "
                "(low, high) with 0 < low <= high <= 1"
            )


@TRANSFORMS.register_module()
class MultiCrop(BaseTransform):
    """Cut global and local crops out of ``results['img']`` and record where they were.

    Adds ``views``: V + L uint8 arrays ``(C, size, size)``, the global ones first, not flipped;
    ``geometry``: float32 ``(V+L, 5)``, ``(x, y, w, h, flip)`` in pixels of the decoded image;
    ``num_global``: V.

    Modes:
        ``'exact'``: bit-equal to Pillow's ``image.crop(box).resize(size, interpolation)``, see
        :mod:`mmrel.datasets.transforms.resample`.
        ``'fast'``: the same boxes; OpenCV's bilinear interpolation for crops that are reduced by
        less than a factor of 2, which touches every pixel without antialiasing, and torch's
        antialiased kernel for the others. On photographs the mean difference from
        ``'exact'`` is less than one grey level: 43 dB PSNR in the former, 73 dB in the latter.

    Args:
        global_size: side of global crops in pixels.
        global_scale: range of their area, as a share of the image.
        num_global: V, at least 1 (``global_crops_number`` in iBOT's code).
        local_size: side of local crops in pixels.
        local_scale: range of their area.
        num_local: L (``local_crops_number``).
        ratio: range of width / height, drawn log-uniformly.
        flip_prob: chance of a left-right flip, drawn per crop.
        mode: ``'exact'`` or ``'fast'``.
        interpolation: ``'bicubic'``, or ``'bilinear'`` as RelViT has it.
    """

    def __init__(
        self,
        global_size: int = 224,
        global_scale: Range = (0.4, 1.0),
        num_global: int = 2,
        local_size: int = 96,
        local_scale: Range = (0.05, 0.4),
        num_local: int = 10,
        ratio: Range = (3 / 4, 4 / 3),
        flip_prob: float = 0.5,
        mode: str = "exact",
        interpolation: str = "bicubic",
    ) -> None:
        check_mode(mode)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation is {interpolation!r}; choose one of {sorted(INTERPOLATIONS)}"
            )
        if num_global < 1 or not 0 < ratio[0] <= ratio[1] or not 0 <= flip_prob <= 1:
            raise ValueError(
                f"num_global is {num_global}, ratio is {tuple(ratio)} and flip_prob is "
                f"{flip_prob}; give at least 1 global crop, a ratio (low, high) with 0 < low <= "
                "high, and a chance in [0, 1]"
            )
        if mode == "exact":
            pass_order(interpolation)  # now rather than in every worker
        self.kinds = (
            CropKind(num_global, global_size, global_scale),
            CropKind(num_local, local_size, local_scale),
        )
        self.view_kinds = [kind for kind in self.kinds for _ in range(kind.count)]
        self.ratio = ratio
        self.flip_prob = flip_prob
        self.mode = mode
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``views``, ``geometry`` and ``num_global``."""
        image = results["img"]
        geometry = self.draw(results["key"], image.shape[0], image.shape[1])
        cutter = _exact_cutter if self.mode == "exact" else _fast_cutter
        cut = cutter(image, self.interpolation)
        boxes = geometry[:, :4].astype(int).tolist()
        with torch.inference_mode():
            results["views"] = [
                cut(box, kind.size) for box, kind in zip(boxes, self.view_kinds, strict=True)
            ]
        results["geometry"] = geometry
        results["num_global"] = self.kinds[0].count
        return results

    def draw(self, key: SampleKey, height: int, width: int) -> NDArray[np.float32]:
        """The geometry ``(V+L, 5)`` that this key gives in an image of that size.

        Each view takes the same number of random numbers, so that a view's box does not depend on
        how many views follow it.
        """
        # All numbers at once, used or not: a box that fits at the first attempt must not shift the
        # numbers of the next view.
        uniform = sample_generator(key, Purpose.CROPS).random(
            (len(self.view_kinds), DRAWS_PER_VIEW)
        )
        rows = [
            (*random_box(row, height, width, kind.scale, self.ratio), row[-1] < self.flip_prob)
            for row, kind in zip(uniform.tolist(), self.view_kinds, strict=True)
        ]
        return np.array(rows, dtype=np.float32)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kinds={self.kinds}, mode={self.mode!r})"


def random_box(
    uniform: Sequence[float], height: int, width: int, scale: Range, ratio: Range
) -> Box:
    """A box by the rule of torchvision's ``RandomResizedCrop.get_params``.

    Ten attempts each draw area and log-uniform aspect ratio; the first whose rounded sides fit
    counts; if none fits, the largest central box of an allowed ratio is taken.

    Args:
        uniform: 22 or more numbers in [0, 1): top, left, then area and ratio of each attempt.
        height: of the image, in pixels.
        width: of the image, in pixels.
        scale: range of the area as a share of the image.
        ratio: range of width / height.

    Returns:
        x, y, w, h in pixels.
    """
    log_low, log_high = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(ATTEMPTS):
        u_area, u_aspect = uniform[2 * attempt + 2], uniform[2 * attempt + 3]
        area = height * width * (scale[0] + (scale[1] - scale[0]) * u_area)
        aspect = math.exp(log_low + (log_high - log_low) * u_aspect)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(uniform[1] * (width - w + 1)), int(uniform[0] * (height - h + 1)), w, h
    return central_box(height, width, ratio)


def central_box(height: int, width: int, ratio: Range) -> Box:
    """The largest central box x, y, w, h of an allowed width / height."""
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return (width - w) // 2, (height - h) // 2, w, h


def _exact_cutter(image: ByteImage, interpolation: str) -> Cutter:
    cut = exact_cutter(image, interpolation)
    return lambda box, size: _planes(cut(box, size))


def _fast_cutter(image: ByteImage, interpolation: str) -> Cutter:
    def cut(box: Box, size: int) -> ByteImage:
        x, y, w, h = box
        crop = image[y : y + h, x : x + w]
        # A bilinear kernel spans two pixels; from a reduction by 2 on, pixels would fall between
        # the samples and alias.
        if max(w, h) < 2 * size:
            resized = cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
            return _planes(np.asarray(resized, dtype=np.uint8).reshape(size, size, -1))
        # A copy without gaps and colours last in both tensors: torch's kernel takes and gives them as they are.
        pixels = torch.from_numpy(np.array(crop, order="C").reshape(1, *crop.shape))
        reduced = F.interpolate(
            pixels.permute(0, 3, 1, 2), (size, size), mode=interpolation, antialias=True
        )
        return _planes(reduced.permute(0, 2, 3, 1).numpy()[0])

    return cut


def _planes(image: ByteImage) -> ByteImage:
    """``(h, w, C)`` to contiguous ``(C, h, w)``, several times as fast as a transposed copy."""
    planes = np.empty((image.shape[2], *image.shape[:2]), dtype=np.uint8)
    cv2.split(image, list(planes))
    return planes
