"""Masks over the patch grid, as iBOT draws them (arXiv 2111.07832 and its released recipe).

Blocks follow BEiT (arXiv 2106.08254, algorithm 1) with iBOT's differences: the smallest block
depends on the grid, a block may touch the border, the ratio is drawn per crop, and the procedure
gives up instead of looping until an exact count is reached, so that the count is at most ``ratio *
rows * cols`` and usually a little below it. Only the source of randomness differs here: a NumPy
generator that the caller keys.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

ATTEMPTS_PER_BLOCK = 10
DEFAULT_ASPECT = (0.3, 1 / 0.3)


def sample_ratio(
    ratios: Sequence[float], spreads: Sequence[float], rng: np.random.Generator
) -> float:
    """Draw the share of hidden patches of one crop.

    One of the pairs (r, v) is chosen with equal chances, then U(r - v, r + v) is drawn. iBOT draws
    from every pair first and chooses afterwards, which has the same distribution.

    Args:
        ratios: the centres r; iBOT's recipe is ``(0, 0.3)``.
        spreads: the half widths v, each at most its r and at most 1 - r; the recipe is ``(0,
            0.2)``.
        rng: source of randomness; two numbers are taken.

    Returns:
        The ratio, in [0, 1].
    """
    check_ratios(ratios, spreads)
    choice, position = rng.random(2).tolist()
    index = int(choice * len(ratios))
    return ratios[index] + spreads[index] * (2 * position - 1)


def check_ratios(ratios: Sequence[float], spreads: Sequence[float]) -> None:
    """Raise ``ValueError`` unless every r +- v lies in [0, 1], with one v per r."""
    if len(ratios) != len(spreads) or not ratios:
        raise ValueError(
            f"ratios {tuple(ratios)} and spreads {tuple(spreads)} must have the same length, at "
            "least 1; give one spread (0 for a fixed ratio) per ratio"
        )
    for ratio, spread in zip(ratios, spreads, strict=True):
        if not (0 <= spread <= ratio and ratio + spread <= 1):
            raise ValueError(
                f"mask ratio {ratio} with spread {spread} leaves [0, 1]; the spread must be "
                f"between 0 and {max(0.0, min(ratio, 1 - ratio))}: lower it"
            )


def random_mask(rows: int, cols: int, ratio: float, rng: np.random.Generator) -> BoolArray:
    """Hide exactly ``int(ratio * rows * cols)`` patches at random.

    Args:
        rows: patch rows.
        cols: patch columns.
        ratio: share of hidden patches, in [0, 1].
        rng: source of randomness.

    Returns:
        bool ``(rows, cols)``, true where hidden.
    """
    _check_grid(rows, cols, ratio)
    mask = np.zeros(rows * cols, dtype=bool)
    mask[rng.permutation(rows * cols)[: int(ratio * rows * cols)]] = True
    return mask.reshape(rows, cols)


def block_mask(
    rows: int,
    cols: int,
    ratio: float,
    rng: np.random.Generator,
    aspect: tuple[float, float] = DEFAULT_ASPECT,
) -> BoolArray:
    """Hide rectangular blocks of patches until about ``ratio`` of the grid is hidden.

    Args:
        rows: patch rows.
        cols: patch columns.
        ratio: wanted share of hidden patches, in [0, 1]; never exceeded.
        rng: source of randomness.
        aspect: smallest and largest height / width of a block, drawn log-uniformly.

    Returns:
        bool ``(rows, cols)``, true where hidden.

    Raises:
        ValueError: for an empty grid, or a ratio outside [0, 1].
    """
    _check_grid(rows, cols, ratio)
    mask = np.zeros((rows, cols), dtype=bool)
    target = ratio * rows * cols
    log_aspect = (math.log(aspect[0]), math.log(aspect[1]))
    count = 0
    while count < target:
        added = _add_block(mask, target - count, log_aspect, rng)
        if added == 0:
            break
        count += added
    return mask


def _add_block(
    mask: BoolArray, room: float, log_aspect: tuple[float, float], rng: np.random.Generator
) -> int:
    """Mark one block of at most ``room`` new patches; how many were new, 0 if none fits."""
    rows, cols = mask.shape
    smallest = (min(rows, cols) // 3) ** 2
    for _ in range(ATTEMPTS_PER_BLOCK):
        u_area, u_aspect, u_top, u_left = rng.random(4).tolist()
        area = smallest + (room - smallest) * u_area
        ratio = math.exp(log_aspect[0] + (log_aspect[1] - log_aspect[0]) * u_aspect)
        height = round(math.sqrt(area * ratio))
        width = round(math.sqrt(area / ratio))
        # Not >: a block as high as the grid is refused too, as in iBOT's code (loader.py).
        if height >= rows or width >= cols:
            continue
        top = int(u_top * (rows - height + 1))
        left = int(u_left * (cols - width + 1))
        window = mask[top : top + height, left : left + width]
        new = height * width - int(np.count_nonzero(window))
        if 0 < new <= room:
            window[:] = True
            return new
    return 0


def _check_grid(rows: int, cols: int, ratio: float) -> None:
    if rows < 1 or cols < 1:
        raise ValueError(
            f"the patch grid is {rows} x {cols}; both sides must be at least 1: check crop and "
            "patch size"
        )
    if not 0 <= ratio <= 1:
        raise ValueError(
            f"the mask ratio is {ratio}; it must lie in [0, 1]: give a share, not a count"
        )
