"""From the table of colour parameters to work on the device, without asking the device."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.models.data_preprocessors import augment
from mmrel.ops.color_table import JITTER_ORDERS, ColorColumn
from mmrel.utils.transfer import send_together

JITTER_STEPS = 4


class Selection(NamedTuple):
    """Some images of a batch and one parameter for each: long ``(m,)`` and float ``(m,)``."""

    positions: Tensor
    values: Tensor

    @classmethod
    def where(cls, chosen: NDArray[np.bool_], values: NDArray[np.float32]) -> "Selection | None":
        """The chosen images with their values, or ``None`` if there are none."""
        if not chosen.any():
            return None
        index = np.flatnonzero(chosen)
        return cls(torch.from_numpy(index), torch.from_numpy(values[index]))


@dataclass(frozen=True)
class JitterStep:
    """One of the four steps of the colour jitter.

    Attributes:
        coefficients: ``(3, n)`` scale, mean weight and grey weight, or ``None`` if all are neutral.
        blended: bool ``(n, 1, 1, 1)``, the images whose coefficients are not neutral, or ``None`` likewise.
        hue: the images whose hue turns in this step.
    """

    coefficients: Tensor | None
    blended: Tensor | None
    hue: Selection | None

    def apply(self, images: Tensor, bounded: bool) -> Tensor:
        """Carry the step out; see :meth:`ColorPlan.apply`."""
        if self.coefficients is not None and self.blended is not None:
            changed = augment.blend(images, *self.coefficients)
            images = changed if bounded else torch.where(self.blended, changed, images)
        if self.hue is not None:
            part = images[self.hue.positions]
            part = augment.adjust_hue(part, self.hue.values, bounded)
            images = images.index_copy_(0, self.hue.positions, part)
        return images


@dataclass(frozen=True)
class ColorPlan:
    """What is done to the n images of one batch; ``None`` where no image is concerned.

    Brightness, contrast (about the mean of all channels, where they are not R, G and B), blur and solarisation are for
    any channels; saturation, hue and grey are for R, G and B alone.
    """

    jitter: tuple[JitterStep, ...]
    gray: Selection | None
    blur: Selection | None
    solarize: Selection | None

    @classmethod
    def from_table(cls, table: Tensor, device: torch.device) -> "ColorPlan":
        """Work out the plan on the host and send it to the device.

        Args:
            table: float32 ``(n, columns)`` on the host, see
                :class:`mmrel.ops.color_table.ColorColumn`.
            device: where the images are.
        """
        rows = np.ascontiguousarray(table.numpy())
        order = JITTER_ORDERS[rows[:, ColorColumn.ORDER].astype(int)]
        sigma = rows[:, ColorColumn.BLUR_SIGMA]
        threshold = rows[:, ColorColumn.SOLARIZE]
        gray = rows[:, ColorColumn.GRAYSCALE]
        plan = cls(
            jitter=tuple(_jitter_step(rows, order[:, i]) for i in range(JITTER_STEPS)),
            gray=Selection.where(gray > 0, gray),
            blur=Selection.where(sigma > 0, sigma),
            solarize=Selection.where(threshold < 256, (threshold / 255).astype(np.float32)),
        )
        return _rebuilt(plan, iter(send_together(list(_tensors(plan)), device)))

    def apply(self, images: Tensor, blur_kernel: int, bounded: bool = True) -> Tensor:
        """Carry the plan out.

        Args:
            images: float ``(n, 3, h, w)``, in [0, 1]; it may be overwritten.
            blur_kernel: size of the blur kernel in pixels, odd.
            bounded: that the values are in [0, 1]. If false they may be any, such as normalised ones: each
                operation of the jitter limits the images that it concerns to [0, 1], as torchvision's
                do, and leaves the others alone.

        Returns:
            Images like the input.
        """
        for step in self.jitter:
            images = step.apply(images, bounded)
        if self.gray is not None:
            part = augment.to_grayscale(images[self.gray.positions])
            images = images.index_copy_(0, self.gray.positions, part)
        if self.blur is not None:
            part = augment.gaussian_blur(images[self.blur.positions], self.blur.values, blur_kernel)
            images = images.index_copy_(0, self.blur.positions, part)
        if self.solarize is not None:
            part = augment.solarize(images[self.solarize.positions], self.solarize.values)
            images = images.index_copy_(0, self.solarize.positions, part)
        return images


def _jitter_step(rows: NDArray[np.float32], operation: NDArray[np.int64]) -> JitterStep:
    """The step in which image i undergoes ``operation[i]``."""
    factor = rows[np.arange(len(rows)), operation]
    blended = operation != ColorColumn.HUE
    rest = 1 - factor
    coefficients = np.stack(
        [
            np.where(blended, factor, 1),
            np.where(operation == ColorColumn.CONTRAST, rest, 0),
            np.where(operation == ColorColumn.SATURATION, rest, 0),
        ]
    ).astype(np.float32)
    changed = coefficients[0] != 1
    hue = Selection.where(~blended & (factor != 0), factor)
    if not changed.any():
        return JitterStep(None, None, hue)
    touched = torch.from_numpy(changed).view(-1, 1, 1, 1)
    return JitterStep(torch.from_numpy(coefficients), touched, hue)


def _tensors(plan: Any) -> Iterator[Tensor]:
    """All tensors of a plan or a part of it, in order."""
    if isinstance(plan, Tensor):
        yield plan
    elif plan is not None:
        for part in _parts(plan):
            yield from _tensors(part)


def _rebuilt(plan: Any, tensors: Iterator[Tensor]) -> Any:
    """The same plan with these tensors, in the order of :func:`_tensors`."""
    if plan is None:
        return None
    if isinstance(plan, Tensor):
        return next(tensors)
    parts = [_rebuilt(part, tensors) for part in _parts(plan)]
    return tuple(parts) if type(plan) is tuple else type(plan)(*parts)


def _parts(plan: Any) -> list[Any]:
    return [getattr(plan, f.name) for f in fields(plan)] if is_dataclass(plan) else list(plan)
