"""Positions of patches: embeddings on another grid, and how the patches of one grid lie to each other.

Of embeddings three rules exist in the literature. ``'size'`` maps pixel centres by the ratio of the grids, as
mmpretrain and most later code do. ``'antialias'`` does the same with antialiasing, as DINOv2 with register tokens does
(arXiv 2309.16588). ``'dino'`` reproduces DINO (arXiv 2104.14294), iBOT, SERE and
SelfPatch: the *scale factors* ``(target + 0.1) / source`` are used for the coordinates too, so that
sample i of 6 lies at ``(i + 0.5) * 14 / 6.1 - 0.5`` instead of ``(i + 0.5) * 14 / 6 - 0.5``. All
are bicubic with half-pixel centres; ``'size'`` and ``'dino'`` have a = -0.75, antialiasing in torch has a = -0.5.

The relations between patches are those of RelViT (Camporese et al., BMVC 2022, arXiv 2206.00481) and its
public code. Different from the code: distances are exact (it computes them by matrix products, which leaves
up to 1e-3 on the diagonal).
"""

from math import isqrt, pi, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

METHODS = ("size", "dino", "antialias")
DINO_OFFSET = 0.1
NUM_RELATIONS = 9
COLLINEAR_OFFSET = 1e-4
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
        method: ``'size'``, ``'dino'`` or ``'antialias'``, see the module's text.

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
    resample = _bicubic
    if torch.are_deterministic_algorithms_enabled():
        resample = _bicubic_products
    resized = resample(compute, source_grid, target_grid, method).to(position.dtype)
    return torch.cat([extra, resized.flatten(2).transpose(1, 2)], dim=1)


def fit_position_embedding(
    position: Tensor,
    target_grid: Grid,
    num_extra_tokens: int,
    method: str = "size",
    source_grid: Grid | None = None,
) -> Tensor:
    """Make a checkpoint's position embedding fit a model with another grid or class token.

    Where the grid of the checkpoint is not known, it is the target grid if the length says so,
    otherwise a square. A class slot that the model does not have is dropped; one that the
    checkpoint does not have becomes zero.

    Args:
        position: ``(1, L, C)`` with L = N or N + 1.
        target_grid: (rows, cols) of the model.
        num_extra_tokens: 1 if the model has a class token, else 0.
        method: one of :data:`METHODS`.
        source_grid: (rows, cols) of the checkpoint, if they are known.

    Returns:
        ``(1, num_extra_tokens + rows * cols, C)``.

    Raises:
        ValueError: the length belongs to no grid: not to ``source_grid`` or, without it, neither to
            the target's nor to a square, with or without a class slot.
    """
    if source_grid is None:
        grid, found = infer_grid(position.shape[1], target_grid, num_extra_tokens)
    else:
        grid, found = source_grid, _class_slots(position.shape[1], source_grid)
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


def patch_relations(side: int) -> Tensor:
    """Where patch i lies as seen from patch j: ``3 * (1 + sign(row_i - row_j)) + 1 + sign(col_i - col_j)``.

    The classes 0 to 8 are left-up, up, right-up, left, same, right, left-down, down, right-down. So R + R^T = 8.

    Args:
        side: patches per row and column, at least 2.

    Returns:
        long ``(N, N)``, N = side * side, patches row-major; i is the row.

    Raises:
        ValueError: the side is below 2.
    """
    rows, cols = _places(side)
    return 3 * (1 + _differences(rows).sign()) + 1 + _differences(cols).sign()


def patch_distances(side: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Euclidean distance of the patches on the grid, from -1 (the same) to 1 (opposite corners).

    Args:
        side: patches per row and column, at least 2.
        dtype: of the result, a float type.

    Returns:
        ``(N, N)``, symmetric.

    Raises:
        ValueError: the side is below 2.
    """
    rows, cols = (_differences(place).double() for place in _places(side))
    return (2 * torch.hypot(rows, cols) / ((side - 1) * sqrt(2)) - 1).to(dtype)


def patch_angles(side: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Angle between the patches as seen from a point outside the grid, from -1 (none) to 1 (the largest).

    Patch i is the vector ``v_i = (col + side / 2, row + side / 2)``; the angle is
    ``arccos(<v_i, v_j> / (|v_i| |v_j| + 1e-4)) / pi``, 0 on the diagonal, divided by its maximum. (It is not the
    bearing from i to j; the 1e-4 gives patches on one ray a small angle, which float32 rounds in the third digit.
    All of this is the public code's.)

    Args:
        side: patches per row and column, at least 2.
        dtype: of the result, a float type.

    Returns:
        ``(N, N)``, symmetric.

    Raises:
        ValueError: the side is below 2.
    """
    rows, cols = _places(side)
    vectors = torch.stack([cols, rows], dim=1).float() + side / 2
    norms = vectors.norm(dim=1)
    cosines = vectors @ vectors.T / (norms[:, None] * norms + COLLINEAR_OFFSET)
    angles = (cosines.arccos() / pi).fill_diagonal_(0)
    return (2 * angles / angles.max() - 1).to(dtype)


def restore_order(patches: Tensor, order: Tensor) -> Tensor:
    """Undo a permutation of patches.

    Args:
        patches: ``(n, N, C)``; slot i of image b holds patch ``order[b, i]`` of the grid.
        order: long ``(n, N)``, permutations of 0 to N - 1.

    Returns:
        ``(n, N, C)``, row-major on the grid.
    """
    return patches.gather(1, order.argsort(dim=1)[..., None].expand_as(patches))


def check_grid_side(side: int) -> None:
    """Raise ``ValueError`` unless the side is a number of patches that has relations, 2 or more."""
    if side < 2:
        raise ValueError(
            f"the grid has {side} patch(es) per side, but relations between patches need at least 2; use "
            "smaller patches or larger images"
        )


def _places(side: int) -> tuple[Tensor, Tensor]:
    """Row and column of each patch, long ``(N,)``."""
    check_grid_side(side)
    index = torch.arange(side * side)
    return index.div(side, rounding_mode="floor"), index % side


def _differences(values: Tensor) -> Tensor:
    """``(N, N)``: values[i] - values[j]."""
    return values[:, None] - values


def _class_slots(length: int, grid: Grid) -> int:
    found = length - grid[0] * grid[1]
    if found not in (0, 1):
        raise ValueError(
            f"A position embedding with {length} entries does not belong to a grid of {grid[0]} x "
            f"{grid[1]} patches, with or without a class token. Correct the checkpoint's img_size "
            "and patch_size."
        )
    return found


def _bicubic(maps: Tensor, source: Grid, target: Grid, method: str) -> Tensor:
    if method != "dino":
        smooth = method == "antialias"
        return F.interpolate(
            maps, size=target, mode="bicubic", align_corners=False, antialias=smooth
        )
    # With a scale factor torch samples at multiples of 1 / factor, not of given / wanted. The 0.1,
    # which DINO's code adds against floor() losing a row, so moves every sample a little; released
    # features depend on it.
    factors = [(wanted + DINO_OFFSET) / given for wanted, given in zip(target, source, strict=True)]
    return F.interpolate(maps, scale_factor=factors, mode="bicubic", align_corners=False)


def _bicubic_products(maps: Tensor, source: Grid, target: Grid, method: str) -> Tensor:
    """:func:`_bicubic` as a product with a fixed matrix per axis.

    torch's bicubic has no deterministic gradient on a GPU. In float64, which TensorFloat32 leaves alone.
    """
    row_weights, column_weights = (
        _axis_weights(given, wanted, method, maps.device)
        for given, wanted in zip(source, target, strict=True)
    )
    return (row_weights @ maps.double() @ column_weights.T).to(maps.dtype)


def _axis_weights(given: int, wanted: int, method: str, device: torch.device) -> Tensor:
    """``(wanted, given)`` in float64: what each sample of an axis takes from each value."""
    impulses = torch.eye(given, dtype=torch.float64, device=device).view(1, given, given, 1)
    return _bicubic(impulses, (given, 1), (wanted, 1), method)[0, :, :, 0].T


def _check(position: Tensor, source: Grid, target: Grid, extra: int, method: str) -> None:
    if method not in METHODS:
        raise ValueError(
            f"Unknown position interpolation {method!r}; allowed: {', '.join(METHODS)}. Use "
            "'dino' for the features of DINO, iBOT, SERE and SelfPatch, 'antialias' for DINOv2 with register "
            "tokens, 'size' for everything else."
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
