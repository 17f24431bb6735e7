"""Block masks with plain loops over cells, from the same random numbers as the fast one."""

import math

import numpy as np


def block_mask(rows: int, cols: int, ratio: float, rng: np.random.Generator) -> list[list[bool]]:
    """IBOT's procedure, word by word (Appendix of arXiv 2111.07832 and its released recipe)."""
    mask = [[False] * cols for _ in range(rows)]
    target = ratio * rows * cols
    count = 0
    while count < target:
        accepted = False
        for _attempt in range(10):
            room = target - count
            lowest = (min(rows, cols) // 3) ** 2
            numbers = rng.random(4)
            area = lowest + (room - lowest) * numbers[0]
            aspect = math.exp(math.log(0.3) + (math.log(1 / 0.3) - math.log(0.3)) * numbers[1])
            h = round(math.sqrt(area * aspect))
            w = round(math.sqrt(area / aspect))
            if not (h < rows and w < cols):
                continue
            top = math.floor(numbers[2] * (rows - h + 1))
            left = math.floor(numbers[3] * (cols - w + 1))
            cells = [(r, c) for r in range(top, top + h) for c in range(left, left + w)]
            new = [(r, c) for r, c in cells if not mask[r][c]]
            if not 0 < len(new) <= room:
                continue
            for r, c in new:
                mask[r][c] = True
            count += len(new)
            accepted = True
            break
        if not accepted:
            return mask
    return mask
