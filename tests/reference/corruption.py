"""SiT's corruption one image, one rectangle and one pixel at a time, from the same random numbers as the fast one."""

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

Grid = list[list[bool]]
Rectangle = tuple[int, int, int, int]


def half_even(value: Fraction) -> int:
    """The nearest integer; of two equally near ones the even one."""
    floor = math.floor(value)
    rest = value - floor
    if rest == Fraction(1, 2):
        return floor if floor % 2 == 0 else floor + 1
    return floor if rest < Fraction(1, 2) else floor + 1


def span(u_start: float, u_side: float, length: int, align: int, block: float) -> tuple[int, int]:
    """First and one past the last row (or column) of a rectangle."""
    start = align * (math.floor(u_start * (length - align)) // align)
    longest = math.floor(block * length)
    side = min(align + math.floor(u_side * (longest - align)), length - start)
    return start, start + align * half_even(Fraction(side, align))


def group_mask(
    height: int,
    width: int,
    area: float,
    align: int,
    rng: np.random.Generator,
    block: float = 0.3,
) -> tuple[Grid, list[Rectangle]]:
    """The mask, and the rectangles ``(top, bottom, left, right)``."""
    low = min(0.5, area)
    target = (low + (area - low) * rng.random()) * height * width
    mask = [[False] * width for _ in range(height)]
    rectangles = []
    while sum(sum(row) for row in mask) < target:
        u_top, u_left, u_height, u_width = rng.random(4).tolist()
        top, bottom = span(u_top, u_height, height, align, block)
        left, right = span(u_left, u_width, width, align, block)
        for row in range(top, min(bottom, height)):
            for col in range(left, min(right, width)):
                mask[row][col] = True
        rectangles.append((top, bottom, left, right))
    return mask, rectangles


def copy_blocks(
    image: Tensor, rectangles: list[Rectangle], places: list[tuple[int, int]]
) -> Tensor:
    """Material ``self``: rectangles of ``(3, H, W)`` copied, one after another, from places of the image itself."""
    image = image.clone()
    for (top, bottom, left, right), (row, col) in zip(rectangles, places, strict=True):
        target = image[:, top:bottom, left:right]
        rows, cols = target.shape[1:]
        target.copy_(image[:, row : row + rows, col : col + cols].clone())
    return image


def corrupt(crops: Tensor, masks: Tensor, fills: list[Tensor | None]) -> Tensor:
    """``(n, 3, H, W)`` overwritten where ``masks (n, H, W)``, with 0 or with ``fills[i] (3, H, W)``."""
    result = crops.clone()
    for image, mask, fill in zip(result, masks, fills, strict=True):
        for row, col in mask.nonzero().tolist():
            image[:, row, col] = 0 if fill is None else fill[:, row, col]
    return result


def masked_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean over every masked scalar, listed one by one."""
    values = [
        (prediction[i, c, row, col] - target[i, c, row, col]).abs()
        for i, row, col in mask.nonzero().tolist()
        for c in range(prediction.shape[1])
    ]
    return torch.stack(values).mean()
