"""From the loader's uint8 crops to a :class:`ViewBatch` on the device."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, stack_batch
from torch import Tensor

from mmrel.models.data_preprocessors.augment import flip, normalize, to_unit_range
from mmrel.models.data_preprocessors.colorize import Colorizer
from mmrel.registry import MODELS
from mmrel.structures import Geometry, ViewBatch
from mmrel.utils.normalization import IMAGENET, Normalization
from mmrel.utils.transfer import send_together

FLIP = 4
RGB = 3


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Flips, colours and normalises crops on the device; plain images are only normalised.

    A training batch is what ``default_collate`` makes of ``mmrel.PackViews``' samples; the result
    is ``{'inputs': ViewBatch}``, view-major, float32. Everything that decides *what* is done (flips
    and colour parameters, masks) is read on the host and sent to the device in one piece, so that
    nobody waits for it.

    An evaluation batch is what mmpretrain's ``PackInputs`` gives; the result is ``{'inputs':
    float32 (B, C, H, W), 'data_samples': ...}``.

    Args:
        mean: of each channel of the images, on the 0-255 scale: R, G and B or, for images of C channels, C values.
            What colours of three channels alone have (saturation, hue, grey) is then left out, see
            :class:`.color_plan.ColorPlan`.
        std: the same.
        to_rgb: the evaluation images are BGR (mmcv's ``LoadImageFromFile`` by default); crops and
            ``mmrel.DecodeImage`` are always RGB.
        blur_kernel: size of the blur kernel in pixels, odd; 13 covers three standard deviations of
            sigma 2.
        non_blocking: do not wait for transfers; effective with ``pin_memory=True`` in the loader.
        color_kernels: how colours are worked on, see :class:`.colorize.Colorizer`.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET.mean,
        std: Sequence[float] = IMAGENET.std,
        to_rgb: bool = False,
        blur_kernel: int = 13,
        non_blocking: bool = True,
        color_kernels: str = "auto",
    ) -> None:
        super().__init__(non_blocking)
        if not 0 < len(mean) == len(std) or min(std) <= 0:
            raise ValueError(
                f"mean is {tuple(mean)} and std is {tuple(std)}; give one value for each channel (R, G, B "
                "on the 0-255 scale), std above 0"
            )
        if to_rgb and len(mean) != RGB:
            raise ValueError(
                f"to_rgb=True turns BGR images round, but mean has {len(mean)} value(s); leave to_rgb out"
            )
        if blur_kernel < 1 or blur_kernel % 2 == 0:
            raise ValueError(
                f"blur_kernel is {blur_kernel}; give an odd number of pixels, 1 or more"
            )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1) / 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1) / 255, persistent=False)
        self.to_rgb = to_rgb
        self.colorize = Colorizer(blur_kernel, color_kernels)

    @property
    def normalization(self) -> Normalization:
        """Mean and deviation, on the 0-255 scale."""
        mean, std = ((255 * part.double()).flatten().tolist() for part in (self.mean, self.std))
        return Normalization(tuple(mean), tuple(std))

    @torch.no_grad()
    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch (see the class); the batch itself says what it is, not ``training``."""
        # The preprocessor runs inside the optimizer wrapper's autocast; colours and normalisation
        # must not be rounded to half precision.
        with torch.autocast(self.device.type, enabled=False):
            if "geometry" in data:
                return {"inputs": self._views(data)}
            return self._images(data)

    def _views(self, data: dict[str, Any]) -> ViewBatch:
        crops, boxes = data["inputs"], data["geometry"]
        num_global = _count_global(data)
        host = {"boxes": boxes, "rows": _rows(boxes, data.get("color"))} | _mask_tensors(data)
        sent = dict(zip(host, send_together(list(host.values()), self.device), strict=True))
        middle = num_global * len(boxes)
        global_crops, local_crops = (
            self._augment(crops[views], host["rows"][images], sent["rows"][images])
            for views, images in (
                (slice(num_global), slice(middle)),
                (slice(num_global, None), slice(middle, None)),
            )
        )
        assert global_crops is not None
        return ViewBatch(
            global_crops=global_crops,
            local_crops=local_crops,
            geometry=Geometry(sent["boxes"], num_global),
            num_global=num_global,
            num_local=len(crops) - num_global,
            sample_indices=tuple(data["sample_index"].tolist()) if "sample_index" in data else (),
            masks=sent.get("masks"),
            mask_indices=sent.get("mask_indices"),
            mask_weights=sent.get("mask_weights"),
        )

    def _augment(self, crops: list[Tensor], host_rows: Tensor, rows: Tensor) -> Tensor | None:
        """k crops ``(B, C, h, w)`` and their rows (see :func:`_rows`) to ``(k*B, C, h, w)`` or ``None``."""
        if not crops:
            return None
        images, table = self._stacked(crops), host_rows[:, :-1]
        self._check_channels(images)
        if table.shape[1] and self.colorize.fuses(images):
            return self.colorize.fused(images, table, rows, (self.mean, self.std))
        images = to_unit_range(flip(images, rows[:, -1] > 0))
        if table.shape[1]:
            images = self.colorize.stepwise(images, table)
        return normalize(images, self.mean, self.std)

    def _check_channels(self, images: Tensor) -> None:
        if images.shape[1] != len(self.mean):
            raise ValueError(
                f"the images have {images.shape[1]} channel(s), but {type(self).__name__} has {len(self.mean)} "
                f"value(s) of mean and std; set model.data_preprocessor.mean and std to {images.shape[1]} values each"
            )

    def _stacked(self, crops: list[Tensor]) -> Tensor:
        """All crops in one tensor on the device."""
        if self.device.type != "cuda":
            return torch.cat([self.cast_data(crop) for crop in crops])
        # Each copy lands in its place. Concatenating on the device would read and write all of it once more.
        batch = len(crops[0])
        stacked = crops[0].new_empty(len(crops) * batch, *crops[0].shape[1:], device=self.device)
        for place, crop in zip(stacked.split(batch), crops, strict=True):
            place.copy_(crop, non_blocking=self._non_blocking)
        return stacked

    def _images(self, data: dict[str, Any]) -> dict[str, Any]:
        inputs = self.cast_data(data["inputs"])
        if not isinstance(inputs, Tensor):
            inputs = stack_batch(list(inputs))
        self._check_channels(inputs)
        if self.to_rgb:
            inputs = inputs.flip(1)
        images = inputs.to(torch.float32) / 255
        return {
            "inputs": normalize(images, self.mean, self.std),
            "data_samples": self.cast_data(data.get("data_samples")),
        }


def view_major(tensor: Tensor) -> Tensor:
    """``(B, views, ...)`` to ``(views * B, ...)``."""
    return tensor.transpose(0, 1).flatten(0, 1)


def _rows(boxes: Tensor, colors: Tensor | None) -> Tensor:
    """``(B, k, 5)`` boxes and ``(B, k, P)`` colours to ``(k*B, P + 1)``, view-major: colours, if any, and the flip."""
    flips = boxes[..., FLIP:].to(torch.float32)
    return view_major(flips if colors is None else torch.cat([colors, flips], dim=-1))


def _mask_tensors(data: dict[str, Any]) -> dict[str, Tensor]:
    """Masks ``(B, V, N)``, view-major, with positions and weights of hidden patches; empty without masks."""
    if "masks" not in data:
        return {}
    flat = view_major(data["masks"])
    hidden = flat.sum(dim=1, keepdim=True).clamp(min=1)
    return {
        "masks": flat,
        # On the host, where the masks come from: nonzero() on a device makes the host wait for the count.
        "mask_indices": flat.flatten().nonzero().squeeze(1),
        "mask_weights": (1.0 / hidden.float()).expand(flat.shape)[flat],
    }


def _count_global(data: dict[str, Any]) -> int:
    """V as packed, or else the number of leading crops of the first one's size."""
    if "num_global" in data:
        return int(data["num_global"][0])
    crops = data["inputs"]
    return next((i for i, c in enumerate(crops) if c.shape != crops[0].shape), len(crops))
