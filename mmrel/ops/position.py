"""Position embeddings on another grid of patches.

Two rules exist in the literature. ``'size'`` maps pixel centres by the ratio of the grids, as
mmpretrain and most later code do. ``'dino'`` reproduces DINO (arXiv 2104.14294), iBOT, SERE and
SelfPatch: the *scale factors* ``(target + 0.1) / source`` are used for the coordinates too, so that
sample i of 6 lies at ``(i + 0.5) * 14 / 6.1 - 0.5`` instead of ``(i + 0.5) * 14 / 6 - 0.5``. Both
are bicubic (a = -0.75), with half-pixel centres and no antialiasing.
"""

from math import isqrt

import torch
from torch import Tensor
from torch.nn import functional as F

METHODS = ("size", "dino")
DINO_OFFSET = 0.1
Grid = tuple[int, int]


def resize_position_embedding(
    position: Tensor,
    source_grid: Grid,
    target_grid: Grid,
    num_extra_tokens: int = 1,
    method: str = "size",
) -> Tensor:
    """Resample a position embedding from one grid of patches to another.

    Args:
        position: ``(1, E + N, C)``: E extra tokens (class token), then N = rows * cols patches,
            row-major.
        source_grid: (rows, cols) of ``position``.
        target_grid: (rows, cols) wanted. If it equals ``source_grid`` the input itself is returned.
        num_extra_tokens: E; these tokens are kept as they are.
        method: ``'size'`` or ``'dino'``, see the module's text.

    Returns:
        ``(1, E + rows * cols, C)`` in the dtype of ``position``; half precisions are resampled in
        float32.

    Raises:
        ValueError: an unknown method, an empty grid, or a length that does not belong to
            ``source_grid``.
    """
    _check(position, source_grid, target_grid, num_extra_tokens, method)
    if tuple(source_grid) == tuple(target_grid):
        return position
    extra, patches = position[:, :num_extra_tokens], position[:, num_extra_tokens:]
    maps = patches.unflatten(1, source_grid).permute(0, 3, 1, 2)
    compute = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    resized = _bicubic(compute, source_grid, target_grid, method).to(position.dtype)
    return torch.cat([extra, resized.flatten(2).transpose(1, 2)], dim=1)


def fit_position_embedding(
    position: Tensor, target_grid: Grid, num_extra_tokens: int, method: str = "size"
) -> Tensor:
    """Make a checkpoint's position embedding fit a model with another grid or class token.

    The grid of the checkpoint is the target grid if the length says so, otherwise a square. A class
    slot that the model does not have is dropped; one that the checkpoint does not have becomes
    zero.

    Args:
        position: ``(1, L, C)`` with L = N or N + 1.
        target_grid: (rows, cols) of the model.
        num_extra_tokens: 1 if the model has a class token, else 0.
        method: ``'size'`` or ``'dino'``.

    Returns:
        ``(1, num_extra_tokens + rows * cols, C)``.

    Raises:
        ValueError: the length is neither the target's nor a square number, with or without a class
            slot.
    """
    grid, found = infer_grid(position.shape[1], target_grid, num_extra_tokens)
    if found > num_extra_tokens:
        position = position[:, found:]
    elif found < num_extra_tokens:
        position = torch.cat([torch.zeros_like(position[:, :1]), position], dim=1)
    return resize_position_embedding(position, grid, target_grid, num_extra_tokens, method)


def infer_grid(length: int, target_grid: Grid, num_extra_tokens: int) -> tuple[Grid, int]:
    """Grid and number of class slots (0 or 1) of a position embedding with ``length`` entries."""
    rows, cols = target_grid
    for extra in (num_extra_tokens, 1 - num_extra_tokens):
        if length == rows * cols + extra:
            return (rows, cols), extra
    for extra in (0, 1):
        side = isqrt(max(length - extra, 0))
        if side > 0 and side * side == length - extra:
            return (side, side), extra
    raise ValueError(
        f"A position embedding with {length} entries cannot be resized: wanted {rows} x {cols} "
        f"patches (+ {num_extra_tokens} class token) or any square number of patches with or "
        "without a class token. Set img_size and patch_size to those of the checkpoint."
    )


def _bicubic(maps: Tensor, source: Grid, target: Grid, method: str) -> Tensor:
    if method == "size":
        return F.interpolate(maps, size=target, mode="bicubic", align_corners=False)
    factors = [(wanted + DINO_OFFSET) / given for wanted, given in zip(target, source, strict=True)]
    return F.interpolate(maps, scale_factor=factors, mode="bicubic", align_corners=False)


def _check(position: Tensor, source: Grid, target: Grid, extra: int, method: str) -> None:
    if method not in METHODS:
        raise ValueError(
            f"Unknown position interpolation {method!r}; allowed: {', '.join(METHODS)}. Use "
            "'dino' for the features of DINO, iBOT, SERE and SelfPatch, 'size' for everything "
            "else."
        )
    if min(*source, *target) < 1 or extra < 0:
        raise ValueError(
            "Grids need at least one row and one column and extra tokens cannot be negative; got "
            f"source grid {tuple(source)}, target grid {tuple(target)}, extra tokens {extra}. "
            "Check the image and patch sizes."
        )
    wanted = source[0] * source[1] + extra
    if position.ndim != 3 or position.shape[1] != wanted:
        raise ValueError(
            f"Position embedding has shape {tuple(position.shape)}; wanted (1, {wanted}, C) for a "
            f"source grid of {source[0]} x {source[1]} patches and {extra} extra token(s). Check "
            "img_size, patch_size and with_cls_token against the checkpoint."
        )
