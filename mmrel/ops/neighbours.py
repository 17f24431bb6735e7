"""The patches around a patch, and which of them are most like it (SelfPatch, arXiv 2206.07990, section 3.1).

A patch's candidates are the 8 patches within one row and one column of it. As in the official code the grid has no
border: beyond its last row comes its first. What differs from that code, with equal numbers: similarities come from
rolled maps instead of 8 gathered copies of the map, and since the similarity of two patches is the same from both
sides, four rolls serve all eight candidates.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrel.ops.precision import upcast, without_autocast

NUM_NEIGHBOURS = 8
BORDERS = ("wrap", "clip")
FEWEST_INSIDE = {"wrap": NUM_NEIGHBOURS, "clip": 3}
"""Candidates of a patch in a corner, by border."""


def neighbour_indices(rows: int, cols: int) -> Tensor:
    """The 8 patches around each patch of a grid without border.

    Args:
        rows: at least 3.
        cols: at least 3.

    Returns:
        long ``(rows * cols, 8)``, row-major indices in ascending order.

    Raises:
        ValueError: a side below 3, where several of the 8 would be the same patch.
    """
    return _unordered_indices(rows, cols, torch.device("cpu")).sort(dim=1).values


@torch.no_grad()
def select_neighbours(
    tokens: Tensor, grid: tuple[int, int], k: int, border: str = "wrap"
) -> Tensor:
    """The k neighbours of each patch with the highest cosine similarity to it.

    Args:
        tokens: ``(B, N, C)``, row-major. They are compared as they are; no gradient reaches them.
        grid: ``(rows, cols)`` with rows * cols = N, both at least 3.
        k: neighbours to select; at most 8, and at most 3 with ``border='clip'``.
        border: ``'wrap'``: beyond the last row and column come the first (the official code); ``'clip'``: a patch at
            the border has fewer candidates.

    Returns:
        long ``(B, N, k)``, row-major indices of patches, most similar first.

    Raises:
        ValueError: another number of tokens than the grid has, a side below 3, k out of range or an unknown border.
    """
    check_neighbours(k, border)
    rows, cols = grid
    if tokens.dim() != 3 or tokens.shape[1] != rows * cols:
        raise ValueError(
            f"tokens have shape {tuple(tokens.shape)}; a grid of {rows}x{cols} needs (B, {rows * cols}, C), the "
            "patch tokens alone without class token"
        )
    indices, order = _unordered_indices(rows, cols, tokens.device).sort(dim=1)
    similarities = _similarities(tokens, grid)
    if border == "clip":
        similarities.masked_fill_(~_inside(rows, cols, tokens.device), -torch.inf)
    # In ascending order of the candidates, so that topk treats ties as in the direct form.
    similarities = similarities.gather(2, order.expand(len(tokens), -1, -1))
    slots = similarities.topk(k, dim=2).indices
    return indices.expand(len(tokens), -1, -1).gather(2, slots)


def check_neighbours(k: int, border: str) -> None:
    """Raise ``ValueError`` unless every patch has k candidates."""
    if border not in BORDERS:
        raise ValueError(f"border is {border!r}; choose 'wrap' (the published form) or 'clip'")
    most = FEWEST_INSIDE[border]
    if not 1 <= k <= most:
        where = "a patch" if border == "wrap" else "with border='clip' a patch in a corner"
        raise ValueError(
            f"k is {k}, but {where} has {most} neighbours; choose k from 1 to {most} (4 is usual)"
        )


def _similarities(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cosine similarities ``(B, N, 8)`` of each patch with its candidates, in the order of :func:`_offsets`."""
    with without_autocast(tokens):
        # sim(p, p + o) for four offsets o; the other four are -o, and sim(p, p - o) = sim(p - o, p)
        # is what was computed at p - o, so a roll of the result, not of the tokens. `reversed`
        # pairs each o of the second half with its -o.
        unit = F.normalize(upcast(tokens), dim=-1).unflatten(1, grid)
        first = []
        for row, col in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
            first.append((unit * unit.roll((-row, -col), dims=(1, 2))).sum(dim=-1))
        second = []
        for row, col, similarity in zip((0, 1, 1, 1), (1, -1, 0, 1), reversed(first), strict=True):
            second.append(similarity.roll((-row, -col), dims=(1, 2)))
        return torch.stack([*first, *second], dim=-1).flatten(1, 2)


def _unordered_indices(rows: int, cols: int, device: torch.device) -> Tensor:
    """Row-major indices ``(rows * cols, 8)`` of the candidates, in the order of :func:`_offsets`."""
    if rows < 3 or cols < 3:
        raise ValueError(
            f"the grid of patches is {rows}x{cols}; the 8 neighbours of a patch are different patches only from 3x3 "
            "on; use larger crops or smaller patches"
        )
    row, col = _candidates(rows, cols, device)
    return row % rows * cols + col % cols


def _inside(rows: int, cols: int, device: torch.device) -> Tensor:
    """bool ``(rows * cols, 8)``: whether the candidate lies on the grid without wrapping around."""
    row, col = _candidates(rows, cols, device)
    return (row >= 0) & (row < rows) & (col >= 0) & (col < cols)


def _candidates(rows: int, cols: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column ``(rows * cols, 8)`` of each patch's candidates, possibly beyond the grid."""
    patches = torch.arange(rows * cols, device=device)[:, None]
    row, col = _offsets(device)
    return patches // cols + row, patches % cols + col


def _offsets(device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column offsets ``(8,)``: upper row, middle row, lower row; each from left to right."""
    # By arithmetic on the device: a constant from the host would have to be copied, and waited for.
    place = torch.arange(NUM_NEIGHBOURS, device=device)
    place = place + (place >= NUM_NEIGHBOURS // 2)
    return place // 3 - 1, place % 3 - 1
