"""SiT's corruption of the student's crops, in batch and on the device (arXiv 2104.03602).

The loader has drawn which pixels go and what takes their place (``mmrel.DrawCorruption``). Here the pixels are
written, after normalisation, so that zeros are the mean colour. Unlike the official code, which replaces in the
loader's collate function, this never waits for the device and every draw is a function of the sample's key.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.models.data_preprocessors.view_preprocessor import ViewPreprocessor, view_major
from mmrel.ops.corruption import Material, blank, overwrite, rearrange, unpack_mask
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch
from mmrel.utils.transfer import send_together


@MODELS.register_module()
class CorruptingViewPreprocessor(ViewPreprocessor):
    """:class:`ViewPreprocessor` that also fills ``corrupted_crops`` and ``corruption`` of the batch.

    A crop gets pixels of the clean crop of the same view of an image of this process's batch, possibly of the
    image itself; then nothing changes, but the pixels count as corrupted, as in the official code. The arguments are
    :class:`ViewPreprocessor`'s; what is corrupted, and how, are ``mmrel.DrawCorruption``'s.
    """

    def _views(self, data: dict[str, Any]) -> ViewBatch:
        return self.corrupt(super()._views(data), data)

    def corrupt(self, views: ViewBatch, data: dict[str, Any]) -> ViewBatch:
        """Fill in ``corrupted_crops`` and ``corruption``.

        Args:
            views: of the batch, clean and normalised.
            data: what the loader drew: ``corruption``, ``corruption_source`` and perhaps ``corruption_origin``.

        Raises:
            ValueError: the loader drew nothing.
        """
        if "corruption" not in data:
            raise ValueError(
                "the batch says nothing of corruption; add mmrel.DrawCorruption before mmrel.PackViews to the "
                "pipeline, or use mmrel.ViewPreprocessor"
            )
        fills = [Fill.of(data, view) for view in range(views.num_global)]
        host = [view_major(data["corruption"]), *(tensor for fill in fills for tensor in fill)]
        packed, *sent = send_together(host, self.device)
        masks = unpack_mask(packed, views.global_crops.shape[-1])
        corrupted = blank(views.global_crops, masks)
        tensors = (views.global_crops, masks, corrupted)
        per_view = zip(*(t.chunk(views.num_global) for t in tensors), strict=True)
        width = len(Fill._fields)
        for view, (clean, mask, written) in enumerate(per_view):
            fill = Fill(*sent[view * width : (view + 1) * width])
            _write(clean, mask, written, fill, _noise_seed(data, view))
        return replace(views, corrupted_crops=corrupted, corruption=masks)


class Fill(NamedTuple):
    """Which of the B images of one view get what, if not zeros; any of these may be empty.

    Attributes:
        replaced: long ``(2, r)``: images that get pixels of another one, and that other one.
        noisy: long ``(s,)``: images that get noise.
        rearranged: long ``(t,)``: images that get pixels of their own.
        origins: int32 ``(t, H, W)``: where those come from.
    """

    replaced: Tensor
    noisy: Tensor
    rearranged: Tensor
    origins: Tensor

    @classmethod
    def of(cls, data: dict[str, Any], view: int) -> "Fill":
        """What the loader drew for one view, on the host."""
        material, number = data["corruption_source"][:, view].numpy().T
        replaced, noisy, rearranged = (
            np.flatnonzero(material == kind)
            for kind in (Material.OTHER, Material.NOISE, Material.SELF)
        )
        donors = number[replaced] % len(material)
        origins = torch.empty(0, dtype=torch.int32)
        if rearranged.size:
            assert "corruption_origin" in data, "the transform draws it if 'self' is a material"
            origins = data["corruption_origin"][rearranged, view]
        return cls(
            torch.from_numpy(np.stack([replaced, donors])),
            torch.from_numpy(noisy),
            torch.from_numpy(rearranged),
            origins,
        )


def _write(crops: Tensor, masks: Tensor, corrupted: Tensor, fill: Fill, seed: int) -> None:
    """Write into the blanked crops ``(B, 3, H, W)`` of one view whatever is not zeros."""
    rows, donors = fill.replaced
    if len(rows):
        overwrite(corrupted, masks, rows, crops.index_select(0, donors))
    if len(fill.noisy):
        overwrite(corrupted, masks, fill.noisy, _noise(crops, len(fill.noisy), seed))
    if len(fill.rearranged):
        moved = rearrange(crops.index_select(0, fill.rearranged), fill.origins)
        overwrite(corrupted, masks, fill.rearranged, moved)


def _noise_seed(data: dict[str, Any], view: int) -> int:
    """A function of the numbers that were drawn for the images of one view that get noise."""
    sources: NDArray[np.int64] = data["corruption_source"][:, view].numpy()
    return int(np.bitwise_xor.reduce(sources[sources[:, 0] == Material.NOISE, 1]))


def _noise(crops: Tensor, count: int, seed: int) -> Tensor:
    """Standard normal ``(count, 3, H, W)``, a function of the seed and the kind of device."""
    generator = torch.Generator(crops.device).manual_seed(seed)
    return torch.randn(
        (count, *crops.shape[1:]), generator=generator, dtype=crops.dtype, device=crops.device
    )
