"""From the loader's uint8 crops to a :class:`ViewBatch` on the device."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, stack_batch
from torch import Tensor

from mmrel.models.data_preprocessors.augment import flip, normalize, to_unit_range
from mmrel.models.data_preprocessors.color_plan import ColorPlan
from mmrel.registry import MODELS
from mmrel.structures import Geometry, ViewBatch
from mmrel.utils.normalization import IMAGENET

FLIP = 4


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Flips, colours and normalises crops on the device; plain images are only normalised.

    A training batch is what ``default_collate`` makes of ``mmrel.PackViews``' samples; the result
    is ``{'inputs': ViewBatch}``, view-major, float32. Everything that decides *what* is done (flips
    and colour parameters, masks) is read on the host, so that nobody waits for the device.

    An evaluation batch is what mmpretrain's ``PackInputs`` gives; the result is ``{'inputs':
    float32 (B, 3, H, W), 'data_samples': ...}``.

    Args:
        mean: of R, G and B, on the 0-255 scale.
        std: the same.
        to_rgb: the evaluation images are BGR (mmcv's ``LoadImageFromFile`` by default); crops and
            ``mmrel.DecodeImage`` are always RGB.
        blur_kernel: size of the blur kernel in pixels, odd; 13 covers three standard deviations of
            sigma 2.
        non_blocking: do not wait for transfers; effective with ``pin_memory=True`` in the loader.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET.mean,
        std: Sequence[float] = IMAGENET.std,
        to_rgb: bool = False,
        blur_kernel: int = 13,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                f"mean is {tuple(mean)} and std is {tuple(std)}; give three values each (R, G, B "
                "on the 0-255 scale), std above 0"
            )
        if blur_kernel < 1 or blur_kernel % 2 == 0:
            raise ValueError(
                f"blur_kernel is {blur_kernel}; give an odd number of pixels, 1 or more"
            )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) / 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) / 255, persistent=False)
        self.to_rgb = to_rgb
        self.blur_kernel = blur_kernel

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
        table = data.get("color")
        split = [slice(0, num_global), slice(num_global, len(crops))]
        global_crops, local_crops = (
            self._augment(crops[part], boxes[:, part], None if table is None else table[:, part])
            for part in split
        )
        assert global_crops is not None
        return ViewBatch(
            global_crops=global_crops,
            local_crops=local_crops,
            geometry=Geometry(self.cast_data(boxes), num_global),
            num_global=num_global,
            num_local=len(crops) - num_global,
            sample_indices=tuple(data["sample_index"].tolist()) if "sample_index" in data else (),
            **self._masks(data.get("masks")),
        )

    def _augment(self, crops: list[Tensor], boxes: Tensor, table: Tensor | None) -> Tensor | None:
        """Crops, ``(B, k, 5)`` boxes, ``(B, k, P)`` table to ``(k*B, 3, h, w)`` or ``None``."""
        if not crops:
            return None
        images = torch.cat([self.cast_data(crop) for crop in crops])
        flags = view_major(boxes)[:, FLIP] > 0
        images = to_unit_range(flip(images, self.cast_data(flags)))
        if table is not None:
            plan = ColorPlan.from_table(view_major(table), images.device)
            images = plan.apply(images, self.blur_kernel)
        return normalize(images, self.mean, self.std)

    def _masks(self, masks: Tensor | None) -> dict[str, Tensor | None]:
        """Masks ``(B, V, N)``, view-major, with positions and weights of hidden patches."""
        if masks is None:
            return {"masks": None, "mask_indices": None, "mask_weights": None}
        flat = view_major(masks)
        hidden = flat.sum(dim=1, keepdim=True).clamp(min=1)
        weights = (1.0 / hidden.float()).expand(flat.shape)[flat]
        return {
            "masks": self.cast_data(flat),
            # On the host, where the masks come from: nonzero() on a device makes the host wait for
            # the count.
            "mask_indices": self.cast_data(flat.flatten().nonzero().squeeze(1)),
            "mask_weights": self.cast_data(weights),
        }

    def _images(self, data: dict[str, Any]) -> dict[str, Any]:
        inputs = self.cast_data(data["inputs"])
        if not isinstance(inputs, Tensor):
            inputs = stack_batch(list(inputs))
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


def _count_global(data: dict[str, Any]) -> int:
    """V as packed, or else the number of leading crops of the first one's size."""
    if "num_global" in data:
        return int(data["num_global"][0])
    crops = data["inputs"]
    return next((i for i, c in enumerate(crops) if c.shape != crops[0].shape), len(crops))
