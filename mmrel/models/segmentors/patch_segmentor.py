"""From the logits of patches to a label per pixel of the photo, in little memory.

920 classes on a photo of 1000 x 1000 pixels are 3.7 GB of logits in float32. Here they are enlarged and compared band
by band, so that a band is all that is held.
"""

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from mmrel.registry import MODELS

BAND = 2**26
"""Logits that are enlarged at a time: 256 MB in float32."""


@MODELS.register_module()
class PatchSegmentor(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` whose logits are enlarged once, bilinearly, to the size of the photo.

    Where the photo's long side exceeds ``max_side``, the best class is found at that long side and the labels are
    enlarged, taking the nearest, as ImageNet-S is evaluated. A patch that lies partly beyond the image, since a side
    is no multiple of the patch, counts with the part that lies in it. The samples get ``pred_sem_seg`` but no
    ``seg_logits``, so that test-time augmentation, which averages those, is not possible.

    Args:
        patch_size: side of the backbone's patches in pixels.
        max_side: in pixels.
        **kwargs: arguments of mmseg's ``EncoderDecoder``, with a ``mmrel.PatchHead``.
    """

    def __init__(self, patch_size: int = 16, max_side: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.max_side = max_side

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Set ``pred_sem_seg`` of each sample.

        Args:
            seg_logits: ``(B, classes, h, w)`` over whole patches.
            data_samples: with ``ori_shape`` and ``img_shape``; ``None``: labels at the size of the logits.

        Raises:
            ValueError: an image was flipped, or its size does not belong to the logits.
        """
        samples = data_samples or [SegDataSample() for _ in seg_logits]
        for logits, sample in zip(seg_logits, samples, strict=True):
            labels = self._labels(logits, sample.metainfo)
            sample.set_data({"pred_sem_seg": PixelData(data=labels[None])})
        return samples

    def _labels(self, logits: Tensor, meta: dict[str, Any]) -> Tensor:
        if meta.get("flip"):
            raise ValueError(
                "A flipped image was given to PatchSegmentor, which has no test-time augmentation; test without --tta."
            )
        height, width = meta.get("ori_shape", logits.shape[1:])[:2]
        shrink = min(1.0, self.max_side / max(height, width))
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        labels = labels_at(logits, size, self._filled(logits, meta))
        if size == (height, width):
            return labels
        enlarged = F.interpolate(labels[None, None].float(), size=(height, width), mode="nearest")
        return enlarged[0, 0].long()

    def _filled(self, logits: Tensor, meta: dict[str, Any]) -> tuple[float, float]:
        """Share of the patches' height and width that the image fills."""
        if "img_shape" not in meta:
            return 1.0, 1.0
        grid = [side // self.decode_head.upsample for side in logits.shape[1:]]
        sides = meta["img_shape"][:2]
        if grid != [ceil(side / self.patch_size) for side in sides]:
            raise ValueError(
                f"Logits of {grid[0]} x {grid[1]} patches came from an image of {sides[0]} x {sides[1]} pixels, which "
                f"patches of {self.patch_size} do not give. Set model.patch_size to the backbone's."
            )
        height, width = (
            side / (count * self.patch_size) for side, count in zip(sides, grid, strict=True)
        )
        return height, width


def labels_at(logits: Tensor, size: tuple[int, int], filled: tuple[float, float]) -> Tensor:
    """The best class of each pixel after bilinear enlargement.

    With ``filled=(1, 1)`` this is ``interpolate(logits, size, mode='bilinear', align_corners=False).argmax``.

    Args:
        logits: ``(classes, h, w)``.
        size: height and width that come out.
        filled: share of the height and width of ``logits``, from the upper left, that is enlarged.

    Returns:
        Long ``(height, width)``.
    """
    cols = _centers(size[1], filled[1], logits)
    bands = [
        F.grid_sample(
            logits[None].float(), _lattice(rows, cols), padding_mode="border", align_corners=False
        )[0].argmax(dim=0)
        for rows in _bands(_centers(size[0], filled[0], logits), len(logits) * size[1])
    ]
    return torch.cat(bands)


def _centers(count: int, filled: float, like: Tensor) -> Tensor:
    """Where the centres of ``count`` pixels lie, on a scale of -1 to 1 for the whole side."""
    steps = torch.arange(count, device=like.device, dtype=torch.float32)
    return (2 * steps + 1) * (filled / count) - 1


def _bands(rows: Tensor, row_size: int) -> Iterator[Tensor]:
    yield from rows.split(max(1, BAND // row_size))


def _lattice(rows: Tensor, cols: Tensor) -> Tensor:
    y, x = torch.meshgrid(rows, cols, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]
