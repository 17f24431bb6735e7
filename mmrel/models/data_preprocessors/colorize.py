"""Carrying out a table of colours: in fused kernels on a GPU, or one operation after the other."""

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmrel.models.data_preprocessors.augment import fit_kernel_size
from mmrel.models.data_preprocessors.color_plan import ColorPlan
from mmrel.ops.color_table import NEUTRAL_ROW, ColorColumn
from mmrel.ops.colors import CHANNELS, augment_colors
from mmrel.ops.kernels import missing_for_kernels

KERNELS = ("auto", "triton", "torch")
RGB_ONLY = (ColorColumn.SATURATION, ColorColumn.HUE, ColorColumn.GRAYSCALE)


class Colorizer:
    """Works on the colours of a batch by the table that the loader drew.

    Args:
        blur_kernel: size of the blur kernel in pixels, odd.
        kernels: ``'triton'``: in at most four kernels, each of which reads and writes the batch once
            (:mod:`mmrel.ops.colors`); ``'torch'``: one torch operation after the other, on the images that it concerns
            (:mod:`.augment`), with the same results to 1e-5; ``'auto'``: the first where the device has it. The
            first is for three channels only.

    Raises:
        ValueError: another kind of kernels.
    """

    def __init__(self, blur_kernel: int, kernels: str = "auto") -> None:
        if kernels not in KERNELS:
            raise ValueError(
                f"color_kernels is {kernels!r}; choose one of {KERNELS}, or leave it out for 'auto'"
            )
        self.blur_kernel = blur_kernel
        self.kernels = kernels
        self._said = False

    def fuses(self, images: Tensor) -> bool:
        """Whether :meth:`fused` is how these images are worked on.

        Raises:
            RuntimeError: ``kernels`` asks for Triton, and the device cannot have it.
        """
        if self.kernels == "torch" or images.shape[1] != CHANNELS:
            return False
        missing = missing_for_kernels(images.device)
        if images.dtype not in (torch.uint8, torch.float32):
            missing = missing or f"the images are {images.dtype}, not uint8 or float32"
        if missing and self.kernels == "triton":
            raise RuntimeError(
                f"color_kernels='triton' cannot be had: {missing}. Set "
                "model.data_preprocessor.color_kernels='auto' to work without these kernels where they are missing"
            )
        return not missing

    def fused(
        self,
        images: Tensor,
        host_table: Tensor,
        table: Tensor,
        normalization: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """All operations in fused kernels.

        Args:
            images: ``(n, 3, h, w)``, uint8 or float32.
            host_table: float32 ``(n, 8)`` on the host, see :class:`mmrel.ops.color_table.ColorColumn`.
            table: the same on the device, perhaps with a ninth column that says what is mirrored.
            normalization: mean and standard deviation that come last, or ``None``.

        Returns:
            A new float32 tensor.
        """
        taps = fit_kernel_size(self.blur_kernel, *images.shape[-2:])
        blurs = bool((host_table[:, ColorColumn.BLUR_SIGMA] > 0).any())
        solarizes = bool((host_table[:, ColorColumn.SOLARIZE] < 256).any())
        return augment_colors(images, table, taps, (blurs, solarizes), normalization)

    def stepwise(self, images: Tensor, host_table: Tensor, bounded: bool = True) -> Tensor:
        """All operations one after the other, see :meth:`.color_plan.ColorPlan.apply`; images may be overwritten.

        Of images ``(n, C, h, w)`` that are not R, G and B, saturation, hue and grey are left out, which is logged once.
        """
        if images.shape[1] != CHANNELS:
            host_table = self._without_rgb_colors(host_table, images.shape[1])
        plan = ColorPlan.from_table(host_table, images.device)
        return plan.apply(images, self.blur_kernel, bounded)

    def _without_rgb_colors(self, table: Tensor, channels: int) -> Tensor:
        """The table with saturation, hue and grey neutral, which other channels than R, G and B do not have."""
        if not self._said:
            self._said = True
            print_log(
                f"The images have {channels} channel(s), not R, G and B: of the colour augmentation, brightness, "
                "contrast, blur and solarisation are done; saturation, hue and grey are left out",
                "current",
            )
        table = table.clone()
        for column in RGB_ONLY:
            table[:, column] = NEUTRAL_ROW[column]
        return table
