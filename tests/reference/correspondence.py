"""Matches between two views and their accuracy, one patch at a time."""

import math

Box = tuple[float, float, float, float, float]
Grid = tuple[int, int]


def cosine(a: list[float], b: list[float]) -> float:
    """Inner product by lengths."""
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def most_similar(token: list[float], others: list[list[float]]) -> int:
    """Position of the other token with the largest cosine similarity."""
    return max(range(len(others)), key=lambda index: cosine(token, others[index]))


def mutual_pairs(first: list[list[float]], second: list[list[float]]) -> set[tuple[int, int]]:
    """Pairs of which each is the other's most similar token."""
    pairs = set()
    for index, token in enumerate(first):
        there = most_similar(token, second)
        if most_similar(second[there], first) == index:
            pairs.add((index, there))
    return pairs


def image_place(row: float, col: float, box: Box, grid: Grid) -> tuple[float, float]:
    """Where a place of a view, in patches, lies in the image, in pixels."""
    x, y, width, height, flip = box
    across = col / grid[1]
    return x + width * (1 - across if flip else across), y + height * row / grid[0]


def cell_at(place: tuple[float, float], box: Box, grid: Grid) -> tuple[int, int] | None:
    """Row and column of the patch of a view that shows a place of the image; ``None``: none does."""
    x, y, width, height, flip = box
    across, down = (place[0] - x) / width, (place[1] - y) / height
    across = 1 - across if flip else across
    if not (0 <= across < 1 and 0 <= down < 1):
        return None
    return int(down * grid[0]), int(across * grid[1])


def accuracy(
    first: list[list[float]],
    second: list[list[float]],
    boxes: tuple[Box, Box],
    grids: tuple[Grid, Grid],
    radius: int,
) -> tuple[float, int]:
    """Per cent of shared patches that are found, and their number."""
    right = shared = 0
    for index, token in enumerate(first):
        row, col = divmod(index, grids[0][1])
        place = image_place(row + 0.5, col + 0.5, boxes[0], grids[0])
        wanted = cell_at(place, boxes[1], grids[1])
        if wanted is None:
            continue
        shared += 1
        found = divmod(most_similar(token, second), grids[1][1])
        right += max(abs(found[0] - wanted[0]), abs(found[1] - wanted[1])) <= radius
    return 100 * right / shared, shared
