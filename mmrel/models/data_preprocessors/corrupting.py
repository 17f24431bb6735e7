"""SiT's corruption of the student's crops, in batch and on the device (arXiv 2104.03602).

The loader has drawn which pixels go and what takes their place (``mmrel.DrawCorruption``). Here the pixels are
written, after normalisation, so that zeros are the mean colour. Unlike the official code, which replaces in the
loader's collate function, this never waits for the device and every draw is a function of the sample's key.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.models.data_preprocessors.view_preprocessor import ViewPreprocessor, view_major
from mmrel.ops.corruption import Material, blank, overwrite, rearrange, unpack_mask
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


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
        crops = views.global_crops
        masks = unpack_mask(self.cast_data(view_major(data["corruption"])), crops.shape[-1])
        corrupted = blank(crops, masks)
        origins = data.get("corruption_origin")
        tensors = (crops, masks, corrupted)
        per_view = zip(*(t.chunk(views.num_global) for t in tensors), strict=True)
        for view, (clean, mask, written) in enumerate(per_view):
            sources = data["corruption_source"][:, view].numpy()
            self._fill(clean, mask, written, sources, None if origins is None else origins[:, view])
        return replace(views, corrupted_crops=corrupted, corruption=masks)

    def _fill(
        self,
        crops: Tensor,
        masks: Tensor,
        corrupted: Tensor,
        sources: NDArray[np.int64],
        origins: Tensor | None,
    ) -> None:
        """Write into the blanked crops ``(B, 3, H, W)`` of one view whatever is not zeros."""
        material, number = sources.T
        if (rows := np.flatnonzero(material == Material.OTHER)).size:
            donors = self._send(number[rows] % len(crops))
            overwrite(corrupted, masks, self._send(rows), crops.index_select(0, donors))
        if (rows := np.flatnonzero(material == Material.NOISE)).size:
            overwrite(corrupted, masks, self._send(rows), _noise(crops, number[rows]))
        if (rows := np.flatnonzero(material == Material.SELF)).size:
            assert origins is not None, "the transform draws them if 'self' is among the materials"
            positions, origins = self._send(rows), self.cast_data(origins[rows])
            moved = rearrange(crops.index_select(0, positions), origins)
            overwrite(corrupted, masks, positions, moved)

    def _send(self, indices: NDArray[np.int64]) -> Tensor:
        return self.cast_data(torch.from_numpy(indices))


def _noise(crops: Tensor, numbers: NDArray[np.int64]) -> Tensor:
    """Standard normal ``(len(numbers), 3, H, W)``, a function of the numbers and the kind of device."""
    generator = torch.Generator(crops.device).manual_seed(int(np.bitwise_xor.reduce(numbers)))
    return torch.randn(
        (len(numbers), *crops.shape[1:]),
        generator=generator,
        dtype=crops.dtype,
        device=crops.device,
    )
