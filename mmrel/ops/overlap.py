"""Where two views show the same piece of an image, and tokens sampled there.

SERE, "Exploring Feature Self-relation for Self-supervised Transformer" (TPAMI 2023, arXiv 2206.05184),
section 3.2. What differs from the paper's text: the lattice includes the end points of the overlap, as in the
published experiments, instead of lying at cell centres. What differs from the usual implementation: all lattices
of a batch are made at once on the boxes' device, and *tokens* are sampled, never an N x N relation map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrel.ops.precision import upcast, without_autocast

OUTSIDE = -2.0
"""Coordinate of every lattice point where two boxes do not overlap; tokens sampled there are 0."""


def overlap_lattice(query_boxes: Tensor, key_boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """A lattice over the overlap of two boxes, in the coordinates of each of the two views.

    Point ``[row, col]`` is the same image location in both lattices. The first and the last point of each
    axis lie on the border of the overlap. Boxes that only touch do not overlap.

    Args:
        query_boxes: ``(B, 5)``: ``(x, y, w, h, flip)`` in pixels of the image, flip 0 or 1.
        key_boxes: ``(B, 5)``, the boxes of the other view.
        side: S, points per axis, at least 2.

    Returns:
        The lattices ``(B, S, S, 2)`` of the query view and of the key view: ``(x, y)`` in [-1, 1], x mirrored
        where the view is flipped; all -2 where the boxes do not overlap. Float64 for float64 boxes,
        otherwise float32.

    Raises:
        ValueError: shapes that are not ``(B, 5)`` and equal, or a side below 2.
    """
    _check_boxes(query_boxes, key_boxes, side)
    # Both views at once: what a device spends on such small tensors is the launches.
    boxes = upcast(torch.stack([query_boxes, key_boxes]))
    low = boxes[..., :2].amax(dim=0)
    high = (boxes[..., :2] + boxes[..., 2:4]).amin(dim=0)
    query, key = _view_lattices(boxes, low, high, side).unbind()
    return query, key


def _view_lattices(boxes: Tensor, low: Tensor, high: Tensor, side: int) -> Tensor:
    """Lattices ``(V, B, S, S, 2)`` in V views with boxes ``(V, B, 5)``, from ``low`` to ``high`` ``(B, 2)``."""
    steps = torch.linspace(0, 1, side, device=boxes.device, dtype=boxes.dtype)[:, None]
    relative = (low - boxes[..., :2])[:, :, None] + (high - low)[:, None] * steps
    x, y = (relative / boxes[..., None, 2:4]).unbind(-1)
    # Boxes are recorded before the flip, so a place at the left of the box is at the right of a
    # flipped view.
    x = torch.where(boxes[..., 4:] > 0.5, 1 - x, x)
    cols, rows = x[..., None, :], y[..., :, None]
    lattice = 2 * torch.stack(torch.broadcast_tensors(cols, rows), dim=-1) - 1
    # Strictly: boxes that share a border have no area in common, and their lattice would be a line.
    # Computed for all pairs and selected here: which pairs overlap is known on the device only.
    apart = ~(low < high).all(dim=-1)
    return lattice.masked_fill(apart[:, None, None, None], OUTSIDE)


def sample_tokens(tokens: Tensor, lattice: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bilinear samples of a token map at the points of a lattice.

    Equal to ``torch.nn.functional.grid_sample`` with zero padding and ``align_corners=False`` on the tokens
    reshaped to a map, computed in float32 or better.

    Args:
        tokens: ``(B, N, C)``, row-major over the grid.
        lattice: ``(B, S, S, 2)``, ``(x, y)`` in [-1, 1].
        grid: ``(rows, cols)`` of the tokens, rows * cols = N.

    Returns:
        ``(B, S*S, C)`` in the dtype of ``tokens``.

    Raises:
        ValueError: shapes that do not fit together.
    """
    _check_samples(tokens, lattice, grid)
    if len(lattice) != len(tokens):
        raise ValueError(
            f"tokens have shape {tuple(tokens.shape)} and the lattice {tuple(lattice.shape)}; "
            "both need the same batch size, one lattice per token map"
        )
    maps = torch.arange(len(tokens), device=tokens.device)
    return sample_selected_tokens(tokens, maps, lattice, grid).to(tokens.dtype)


def sample_selected_tokens(
    tokens: Tensor, maps: Tensor, lattice: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Bilinear samples of token maps that several lattices share.

    Args:
        tokens: ``(R, N, C)``, row-major over the grid.
        maps: long ``(n,)``: lattice i samples token map ``maps[i]``.
        lattice: ``(n, S, S, 2)``, ``(x, y)`` in [-1, 1].
        grid: ``(rows, cols)`` of the tokens, rows * cols = N.

    Returns:
        ``(n, S*S, C)`` in float32, or float64 for float64 tokens.

    Raises:
        ValueError: shapes that do not fit together.
    """
    _check_samples(tokens, lattice, grid)
    if len(maps) != len(lattice):
        raise ValueError(
            f"there are {len(maps)} map indices for a lattice of shape {tuple(lattice.shape)}; "
            "give one index per lattice"
        )
    count, channels = tokens.shape[1:]
    with without_autocast(tokens):
        table = upcast(tokens).reshape(-1, channels)
        corners, weights = _bilinear(lattice.flatten(1, 2).to(table.dtype), grid)
        corners = corners + (maps * count)[:, None, None]
        # grid_sample needs maps with channels first, and one copy of a map per lattice. Tokens are
        # rows already: a sample is the weighted sum of four rows of one table that all lattices
        # share.
        samples = F.embedding_bag(
            corners.flatten(0, 1), table, per_sample_weights=weights.flatten(0, 1), mode="sum"
        )
    return samples.unflatten(0, corners.shape[:2])


def _bilinear(points: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Flat indices and weights ``(n, P, 4)`` of the four tokens around each point ``(n, P, 2)``."""
    rows, cols = grid
    # align_corners=False: -1 and 1 are the outer borders of the first and the last token, whose
    # centres lie half a token inside. Points on the border of a view so get weights that sum to
    # less than 1, as with grid_sample.
    x = ((points[..., 0] + 1) * cols - 1) / 2
    y = ((points[..., 1] + 1) * rows - 1) / 2
    columns, column_weights = _axis(x, cols)
    lines, line_weights = _axis(y, rows)
    corners = lines[..., :, None] * cols + columns[..., None, :]
    weights = line_weights[..., :, None] * column_weights[..., None, :]
    return corners.flatten(-2), weights.flatten(-2)


def _axis(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The two neighbours of a position on an axis and their weights, 0 for a neighbour outside."""
    below = position.floor()
    fraction = position - below
    index = torch.stack([below, below + 1], dim=-1).long()
    weight = torch.stack([1 - fraction, fraction], dim=-1)
    inside = (index >= 0) & (index < size)
    # OUTSIDE lies beyond every grid, hence all four weights are 0; the clamp keeps the indices
    # legal.
    return index.clamp(0, size - 1), torch.where(inside, weight, 0.0)


def _check_boxes(query_boxes: Tensor, key_boxes: Tensor, side: int) -> None:
    shapes = tuple(query_boxes.shape), tuple(key_boxes.shape)
    if shapes[0] != shapes[1] or query_boxes.dim() != 2 or shapes[0][1] != 5:
        raise ValueError(
            f"query_boxes have shape {shapes[0]} and key_boxes {shapes[1]}; both must be (B, 5) "
            "with (x, y, w, h, flip) per row and the same B"
        )
    check_side(side)


def check_side(side: int, name: str = "side") -> None:
    """Raise ``ValueError`` unless a lattice can have this many points per axis."""
    if side < 2:
        raise ValueError(
            f"{name} is {side}; a lattice that includes both ends of the overlap needs at least 2 "
            "points per axis (13 between global views and 6 for local ones are usual)"
        )


def _check_samples(tokens: Tensor, lattice: Tensor, grid: tuple[int, int]) -> None:
    if tokens.dim() != 3:
        raise ValueError(f"tokens have shape {tuple(tokens.shape)}; they must be (B, N, C)")
    if lattice.dim() != 4 or lattice.shape[1] != lattice.shape[2] or lattice.shape[3] != 2:
        raise ValueError(
            f"the lattice has shape {tuple(lattice.shape)}; it must be (B, S, S, 2), as overlap_lattice gives it"
        )
    if grid[0] * grid[1] != tokens.shape[1]:
        raise ValueError(
            f"grid {tuple(grid)} has {grid[0] * grid[1]} tokens, but tokens have shape {tuple(tokens.shape)}; "
            f"give the (rows, cols) whose product is {tokens.shape[1]}, without class token"
        )
