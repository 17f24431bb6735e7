"""The colour augmentation of a batch on a GPU, in at most four kernels (:mod:`mmrel.ops.color_kernels`).

The steps are torch operators of their own, ``torch.ops.mmrel.*``. What they compute is written out, one torch operation
after the other, in :mod:`mmrel.models.data_preprocessors.augment`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmrel.ops.color_table import ColorColumn
from mmrel.ops.kernels import current_device, define_operator

TABLE_WIDTHS = (len(ColorColumn), len(ColorColumn) + 1)
PIXELS_PER_PROGRAM = 1024
PLANE_PIXELS_PER_PROGRAM = 512
CHANNELS = 3


class Tile(NamedTuple):
    """What one program works on: so many images (or planes) times so many pixels, both powers of two."""

    group: int
    span: int

    @classmethod
    def of(cls, pixels: int, total: int) -> "Tile":
        """A tile of about ``total`` pixels for images of ``pixels`` each."""
        span = min(_power_of_two(pixels), total)
        return cls(total // span, span)

    def grid(self, count: int, pixels: int) -> tuple[int, int]:
        """Programs that cover ``count`` images: the images on the first axis, which may be long."""
        return -(-count // self.group), -(-pixels // self.span)


def augment_colors(
    images: Tensor,
    table: Tensor,
    blur_kernel: int,
    later: tuple[bool, bool] = (True, True),
    normalization: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Flip, jitter, grey, blur, solarise and normalise: every image by its row of the table.

    An operation that does not concern an image leaves its values exactly as they are. Those that an operation of
    the jitter concerns are limited to [0, 1] by it, as torchvision's do.

    Args:
        images: ``(n, 3, h, w)``: uint8, taken to [0, 1] first, or float32 of any values.
        table: float32 ``(n, 8)`` on the images' device, see :class:`mmrel.ops.color_table.ColorColumn`; a ninth
            column above 0 mirrors the image left-right.
        blur_kernel: size of the blur kernel in pixels, odd, at most ``2 * min(h, w) - 1``.
        later: whether any image is blurred, and whether any is solarised. It is for the caller to know, who has
            the table on the host too.
        normalization: mean and standard deviation, three values each in the images' units; or ``None``.

    Returns:
        A new float32 ``(n, 3, h, w)``.

    Raises:
        ValueError: shapes or types are others.
    """
    _check(images, table)
    blurs, solarizes = later
    operators: Any = torch.ops.mmrel
    images, table = images.contiguous(), table.contiguous()
    center, scale = (None, None) if normalization is None else normalization
    sums = operators.sum_gray(images, table)
    if not (blurs or solarizes):
        return operators.jitter_colors(images, table, sums, center, scale)
    values = operators.jitter_colors(images, table, sums, None, None)
    rows = operators.blur_rows(values, table, blur_kernel) if blurs else None
    operators.finish_colors(values, rows, table, center, scale, blur_kernel)
    return values


def _check(images: Tensor, table: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != CHANNELS:
        raise ValueError(f"images must be (n, 3, h, w), but their shape is {tuple(images.shape)}")
    if images.dtype not in (torch.uint8, torch.float32):
        raise ValueError(f"images must be uint8 or float32, but are {images.dtype}")
    if table.ndim != 2 or len(table) != len(images) or table.shape[1] not in TABLE_WIDTHS:
        raise ValueError(
            f"the table must be ({len(images)}, {' or '.join(map(str, TABLE_WIDTHS))}), one row per image, but its "
            f"shape is {tuple(table.shape)}"
        )
    if table.dtype != torch.float32:
        raise ValueError(f"the table must be float32, but is {table.dtype}")


def _sum_gray(images: Tensor, table: Tensor) -> Tensor:
    sums = _new_sums(images, table)
    tile, sizes = _tile(images, PIXELS_PER_PROGRAM), images.shape[-2:]
    with current_device(images):
        _kernels().sum_gray[tile.grid(len(images), sizes.numel())](
            *(images, table, sums, len(images), *sizes),
            columns=table.shape[1],
            in_bytes=images.dtype == torch.uint8,
            **tile._asdict(),
        )
    return sums


def _jitter_colors(
    images: Tensor, table: Tensor, sums: Tensor, center: Tensor | None, scale: Tensor | None
) -> Tensor:
    target = _new_values(images, table, sums, center, scale)
    tile, sizes = _tile(images, PIXELS_PER_PROGRAM), images.shape[-2:]
    with current_device(images):
        _kernels().jitter[tile.grid(len(images), sizes.numel())](
            *(images, table, sums, center, scale, target, len(images), *sizes, sums.shape[1]),
            columns=table.shape[1],
            flips=table.shape[1] > len(ColorColumn),
            in_bytes=images.dtype == torch.uint8,
            normalizes=center is not None,
            padded_spans=_power_of_two(sums.shape[1]),
            **tile._asdict(),
        )
    return target


def _blur_rows(images: Tensor, table: Tensor, taps: int) -> Tensor:
    target = _new_rows(images, table, taps)
    tile, sizes = _tile(images, PLANE_PIXELS_PER_PROGRAM), images.shape[-2:]
    planes = len(images) * CHANNELS
    with current_device(images):
        _kernels().blur_rows[tile.grid(planes, sizes.numel())](
            *(images, table, target, planes, *sizes),
            columns=table.shape[1],
            taps=taps,
            **tile._asdict(),
        )
    return target


def _finish_colors(
    images: Tensor,
    rows: Tensor | None,
    table: Tensor,
    center: Tensor | None,
    scale: Tensor | None,
    taps: int,
) -> None:
    tile, sizes = _tile(images, PLANE_PIXELS_PER_PROGRAM), images.shape[-2:]
    planes = len(images) * CHANNELS
    with current_device(images):
        _kernels().finish[tile.grid(planes, sizes.numel())](
            *(images, rows, table, center, scale, planes, *sizes),
            columns=table.shape[1],
            blurs=rows is not None,
            normalizes=center is not None,
            taps=taps,
            **tile._asdict(),
        )


def _new_sums(images: Tensor, table: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    spans = _tile(images, PIXELS_PER_PROGRAM).grid(1, height * width)[1]
    return table.new_empty(len(images), spans)


def _new_values(images: Tensor, *_: Tensor | None) -> Tensor:
    return torch.empty_like(images, dtype=torch.float32)


def _new_rows(images: Tensor, *_: Tensor | int) -> Tensor:
    return torch.empty_like(images)


def _tile(images: Tensor, total: int) -> Tile:
    height, width = images.shape[-2:]
    return Tile.of(height * width, total)


def _power_of_two(number: int) -> int:
    """The smallest power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def _kernels() -> Any:
    """The kernels. Triton is imported with the first batch on a GPU: importing it takes half a second."""
    from mmrel.ops import color_kernels

    return color_kernels


define_operator("sum_gray(Tensor images, Tensor table) -> Tensor", _sum_gray, _new_sums)
define_operator(
    "jitter_colors(Tensor images, Tensor table, Tensor sums, Tensor? center, Tensor? scale) -> Tensor",
    _jitter_colors,
    _new_values,
)
define_operator("blur_rows(Tensor images, Tensor table, int taps) -> Tensor", _blur_rows, _new_rows)
define_operator(
    "finish_colors(Tensor(a!) images, Tensor? rows, Tensor table, Tensor? center, Tensor? scale, int taps) -> ()",
    _finish_colors,
)
