"""Which patch of one picture is which patch of another, and how often that is right.

After iBOT (arXiv 2111.07832): in two views of one image the true place of each patch is known from the recorded crops.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]
CROP_AREA = (0.4, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Matches:
    """Pairs of patches.

    Attributes:
        first: long ``(n,)``, positions in the first picture, row-major.
        second: long ``(n,)``, in the second.
        similarity: ``(n,)``, cosine similarity of their tokens.
    """

    first: Tensor
    second: Tensor
    similarity: Tensor

    def __len__(self) -> int:
        return len(self.first)

    def take(self, indices: Tensor) -> "Matches":
        """Some of the pairs, in the order of the indices."""
        return Matches(self.first[indices], self.second[indices], self.similarity[indices])


def cosine_similarities(first: Tensor, second: Tensor) -> Tensor:
    """``(N, M)`` similarities of all tokens ``(N, C)`` to all tokens ``(M, C)``, in float32 or better.

    Raises:
        ValueError: other shapes.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"tokens have shapes {tuple(first.shape)} and {tuple(second.shape)}; wanted (N, C) and (M, C)"
        )
    dtype = torch.promote_types(first.dtype, torch.float32)
    return F.normalize(first.to(dtype), dim=1) @ F.normalize(second.to(dtype), dim=1).mT


def nearest_patches(first: Tensor, second: Tensor) -> Matches:
    """For each of the tokens ``(N, C)`` the most similar one of ``(M, C)``."""
    similarity, indices = cosine_similarities(first, second).max(dim=1)
    return Matches(torch.arange(len(first), device=indices.device), indices, similarity)


def mutual_nearest(first: Tensor, second: Tensor) -> Matches:
    """Pairs of which each is the other's most similar token, the most similar pair first.

    Args:
        first: ``(N, C)``.
        second: ``(M, C)``.
    """
    similarities = cosine_similarities(first, second)
    values, there = similarities.max(dim=1)
    back = similarities.argmax(dim=0)
    own = torch.arange(len(first), device=there.device)
    mutual = Matches(own, there, values).take((back[there] == own).nonzero().squeeze(1))
    return mutual.take(mutual.similarity.argsort(descending=True, stable=True))


def most_salient(
    matches: Matches, first_saliency: Tensor, second_saliency: Tensor, count: int
) -> Matches:
    """The pairs whose patches matter most in their pictures, the most salient first.

    Args:
        matches: pairs.
        first_saliency: ``(N,)``, for instance the class token's mean attention; its scale does not matter.
        second_saliency: ``(M,)``.
        count: how many pairs to keep.
    """
    first, second = (saliency / saliency.sum() for saliency in (first_saliency, second_saliency))
    # The product: both patches must matter.
    order = (first[matches.first] * second[matches.second]).argsort(descending=True, stable=True)
    return matches.take(order[:count])


def patch_centers(box: Tensor, grid: Grid) -> Tensor:
    """Where the patches of a view lie in its image.

    Args:
        box: ``(5,)``: ``(x, y, w, h, flip)`` in pixels.
        grid: ``(rows, cols)``.

    Returns:
        float64 ``(rows * cols, 2)``: ``(x, y)`` of their centres in pixels of the image.
    """
    x, y, width, height, flip = box.double()
    across = (torch.arange(grid[1], dtype=torch.float64) + 0.5) / grid[1]
    down = (torch.arange(grid[0], dtype=torch.float64) + 0.5) / grid[0]
    # Boxes are recorded before the flip.
    across = 1 - across if flip > 0.5 else across
    rows, cols = torch.meshgrid(y + height * down, x + width * across, indexing="ij")
    return torch.stack([cols, rows], dim=-1).flatten(0, 1)


def true_cells(first_box: Tensor, second_box: Tensor, grids: tuple[Grid, Grid]) -> Tensor:
    """The patch of the second view that holds the centre of each patch of the first one.

    Args:
        first_box: ``(5,)``, see :func:`patch_centers`.
        second_box: ``(5,)``.
        grids: of both views.

    Returns:
        long ``(N, 2)``: (row, col); -1 where the second view does not show the place.
    """
    (rows, cols), (x, y, width, height, flip) = grids[1], second_box.double()
    centers = patch_centers(first_box, grids[0])
    across, down = (centers[:, 0] - x) / width, (centers[:, 1] - y) / height
    across = 1 - across if flip > 0.5 else across
    inside = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
    cells = torch.stack([(down * rows).floor(), (across * cols).floor()], dim=1).long()
    return cells.masked_fill(~inside[:, None], -1)


def correct_matches(matches: Matches, cells: Tensor, second_grid: Grid, radius: int = 1) -> Tensor:
    """Which matches lie at most ``radius`` patches, in rows and in columns, from the true patch.

    Args:
        matches: of two views.
        cells: of :func:`true_cells`.
        second_grid: of the second view.
        radius: 0: the patch that holds the place, within half a patch; 1: also its 8 neighbours.

    Returns:
        bool ``(n,)``; false for patches that the second view does not show.
    """
    if radius < 0:
        raise ValueError(f"radius is {radius}; give 0 for the true patch alone, 1, 2, ...")
    wanted = cells[matches.first]
    row = matches.second.div(second_grid[1], rounding_mode="floor")
    found = torch.stack([row, matches.second % second_grid[1]], dim=1)
    return ((found - wanted).abs().amax(dim=1) <= radius) & (wanted[:, 0] >= 0)


def correspondence_accuracy(
    first: Tensor,
    second: Tensor,
    boxes: Tensor,
    grids: tuple[Grid, Grid],
    radius: int = 1,
) -> tuple[float, int]:
    """How often the most similar patch of the other view shows the same place.

    Args:
        first: tokens ``(N, C)`` of one view.
        second: tokens ``(M, C)`` of the other.
        boxes: ``(2, 5)``: ``(x, y, w, h, flip)`` of both, in pixels of the image.
        grids: ``(rows, cols)`` of both.
        radius: see :func:`correct_matches`.

    Returns:
        Per cent of the first view's patches that the other view shows too, and their number.

    Raises:
        ValueError: the views have nothing in common, or shapes do not fit.
    """
    for tokens, (rows, cols) in zip((first, second), grids, strict=True):
        if len(tokens) != rows * cols:
            raise ValueError(
                f"there are {len(tokens)} tokens for a grid of {rows} x {cols} patches"
            )
    cells = true_cells(boxes[0], boxes[1], grids)
    shared = int((cells[:, 0] >= 0).sum())
    if not shared:
        raise ValueError(
            f"the views {boxes.tolist()} share no patch; give crops (x, y, w, h, flip) that overlap"
        )
    nearest = nearest_patches(first.cpu(), second.cpu())
    correct = correct_matches(nearest, cells, grids[1], radius)
    return 100 * int(correct.sum()) / shared, shared


def draw_boxes(height: int, width: int, seed: int = 0) -> Tensor:
    """Two random crops of an image, as iBOT draws them: 40 to 100 % of its area, flipped or not.

    Their shape varies around the image's own, by 3:4 to 4:3, so that any two of them overlap.

    Args:
        height: of the image in pixels.
        width: likewise.
        seed: of the draw.

    Returns:
        float32 ``(2, 5)``: ``(x, y, w, h, flip)``, whole pixels.
    """
    rng, boxes = np.random.default_rng(seed), []
    for _ in range(2):
        area, ratio = rng.uniform(*CROP_AREA), np.exp(rng.uniform(*np.log(CROP_RATIO)))
        w = min(width, round(width * float(np.sqrt(area * ratio))))
        h = min(height, round(height * float(np.sqrt(area / ratio))))
        x, y = rng.integers(width - w + 1), rng.integers(height - h + 1)
        boxes.append((float(x), float(y), float(w), float(h), float(rng.integers(2))))
    return torch.tensor(boxes)
