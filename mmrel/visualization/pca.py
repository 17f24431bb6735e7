"""Principal components of patch tokens as colours: what a backbone takes for the same thing, over several photographs.

After DINOv2 (arXiv 2304.07193): one analysis of the patches of all photographs; its first component tells
foreground from background; a second analysis, of the foreground alone, gives the colours of its parts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.images import OneImage, read_image
from mmrel.models.backbones import ViT
from mmrel.visualization.panels import Panel, Pixels, Row, draw_rows, muted
from mmrel.visualization.photos import SIZE, Grid, photo_tokens, sides

Floats = NDArray[np.floating]
FOREGROUNDS = ("otsu", "sign")
COLORS = 3
RANGE = (0.01, 0.99)
"""Quantiles of a component that the darkest and the brightest of its colour stand for."""


@dataclass(frozen=True)
class PatchColors:
    """Colours of the patches of P photographs.

    Attributes:
        colors: float32 ``(rows, cols, 3)`` in [0, 1] of each: the first three components as red, green and blue.
        foreground: bool ``(rows, cols)`` of each.
        foreground_colors: as ``colors``, of the second analysis; without meaning in the background.
        explained: shares of the variance that the three components of all patches explain.
    """

    colors: tuple[Floats, ...]
    foreground: tuple[NDArray[np.bool_], ...]
    foreground_colors: tuple[Floats, ...]
    explained: tuple[float, ...]


def principal_axes(tokens: Tensor, count: int = COLORS) -> tuple[Tensor, Tensor]:
    """Principal components by the covariance matrix, in float64.

    Args:
        tokens: ``(N, C)``.
        count: how many, at most C.

    Returns:
        Axes ``(count, C)`` of length 1, the largest variance first; each with its largest entry positive, so that the
        same tokens give the same signs. And the shares ``(count,)`` of the variance that they explain.

    Raises:
        ValueError: another shape, or more axes than channels.
    """
    if tokens.ndim != 2 or not len(tokens) or not 0 < count <= tokens.shape[1]:
        raise ValueError(
            f"tokens have shape {tuple(tokens.shape)} and {count} components are asked for; wanted (N, C) with N > 0 "
            "and at most C components"
        )
    centered = tokens.double() - tokens.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centered.mT @ centered / len(tokens))
    axes, values = vectors.mT.flip(0)[:count], values.flip(0).clamp(min=0)
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    shares = values[:count] / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return axes * largest.sign(), shares


def otsu_threshold(values: Tensor) -> float:
    """The threshold that parts values into two groups of the largest variance between them (Otsu, 1979).

    Exact, over all places between two different values; of values that are all the same, that value.

    Args:
        values: ``(N,)``, N > 0.
    """
    ordered = values.double().sort().values
    count = torch.arange(1, len(ordered), dtype=torch.float64)
    low_sum = ordered.cumsum(0)[:-1]
    high_count, high_sum = len(ordered) - count, ordered.sum() - low_sum
    between = count * high_count * (low_sum / count - high_sum / high_count) ** 2
    between[ordered[1:] == ordered[:-1]] = -1
    if not len(between) or between.max() < 0:
        return float(ordered[0])
    split = int(between.argmax())
    return float((ordered[split] + ordered[split + 1]) / 2)


def patch_colors(
    backbone: ViT,
    images: Sequence[OneImage],
    foreground: str = "otsu",
    block: int = -1,
    size: int | None = SIZE,
) -> PatchColors:
    """Colours of all patches of some photographs: similar colours mean similar tokens, also between photographs.

    Args:
        backbone: as ``get_backbone`` gives it; it is left as it was.
        images: files, Pillow images or uint8 arrays ``(H, W, 3)``, of any sizes.
        foreground: how the first component parts the patches: ``'otsu'``: by Otsu's threshold; ``'sign'``: above its
            mean. The foreground is the side to which fewer of the photographs' border patches belong.
        block: whose tokens, after the final norm; negative ones count from the end.
        size: short side in pixels; ``None``: the photographs' own.

    Raises:
        ValueError: no images, an unknown rule or block, or a photograph smaller than a patch.
        UnreadableImageError: a file that holds no image.
    """
    if foreground not in FOREGROUNDS:
        raise ValueError(f"foreground is {foreground!r}; choose from {', '.join(FOREGROUNDS)}")
    if not images:
        raise ValueError("images is empty; give at least one photograph")
    found = [photo_tokens(backbone, image, size, block) for image in images]
    grids = [photo.grid for photo in found]
    return color_tokens([photo.tokens for photo in found], grids, foreground)


def color_tokens(
    tokens: Sequence[Tensor], grids: Sequence[Grid], foreground: str = "otsu"
) -> PatchColors:
    """The same from patch tokens ``(N, C)`` of each photograph and their grids ``(rows, cols)``."""
    together = torch.cat(list(tokens)).double()
    axes, shares = principal_axes(together)
    scores = (together - together.mean(dim=0)) @ axes.mT
    inside = _foreground(scores[:, 0], torch.cat([_border(grid) for grid in grids]), foreground)
    second = together[inside] if inside.any() else together
    parts = (together - second.mean(dim=0)) @ principal_axes(second)[0].mT
    reference = parts[inside] if inside.any() else parts
    return PatchColors(
        _split(_as_colors(scores, scores), grids),
        _split(inside, grids),
        _split(_as_colors(parts, reference), grids),
        tuple(shares.tolist()),
    )


def draw_pca(
    images: Sequence[OneImage], found: Mapping[str, PatchColors], path: Path, theme: str = "light"
) -> None:
    """Write the figure: the photographs in lines, and below each one its colours, all patches and foreground alone.

    Args:
        images: the photographs.
        found: by the title of the weights, of :func:`patch_colors`.
        path: file to write, PNG, PDF or SVG by its ending.
        theme: ``'light'`` or ``'dark'``.
    """
    kinds = [[_panel(image) for image in map(read_image, images)]]
    titles = ["photograph"]
    for name, colors in found.items():
        plain, masked = map(_bytes, colors.colors), _on_page(colors, theme)
        for pixels in (plain, masked):
            pairs = zip(pixels, kinds[0], strict=True)
            kinds.append([replace(photo, pixels=part) for part, photo in pairs])
        titles += [
            f"{name}: components, {100 * sum(colors.explained):.0f} % of variance",
            f"{name}: foreground",
        ]
    rows = _beside(kinds, titles) if len(images) == 1 else _below(kinds, titles)
    draw_rows(rows, path, theme, max_height=2.2)


def _panel(picture: Pixels) -> Panel:
    return Panel(picture, sides(picture))


def _beside(kinds: Sequence[Sequence[Panel]], titles: Sequence[str]) -> list[Row]:
    """One row for one photograph."""
    panels = (replace(panel, title=title) for [panel], title in zip(kinds, titles, strict=True))
    return [Row(tuple(panels))]


def _below(kinds: Sequence[Sequence[Panel]], titles: Sequence[str]) -> list[Row]:
    """A column per photograph, in as many bands as are needed."""
    bands = _lines([panel.stretch for panel in kinds[0]])
    return [
        Row(tuple(panels[i] for i in band), title if panels is not kinds[0] else "")
        for band in bands
        for panels, title in zip(kinds, titles, strict=True)
    ]


def _border(grid: Grid) -> Tensor:
    """bool ``(N,)``, true for the outermost patches."""
    border = torch.ones(grid, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border.flatten()


def _foreground(scores: Tensor, border: Tensor, rule: str) -> Tensor:
    """bool ``(N,)`` of the first component's scores, which have the mean 0."""
    high = scores > (otsu_threshold(scores) if rule == "otsu" else 0.0)
    return ~high if high[border].double().mean() > 0.5 else high


def _as_colors(scores: Tensor, reference: Tensor) -> Tensor:
    """Scores ``(N, 3)`` in [0, 1], by the range of others; a component without range is 0.5."""
    low, high = torch.from_numpy(np.quantile(reference.numpy(), RANGE, axis=0)).unbind()
    width = high - low
    unit = (scores - low) / torch.where(width > 0, width, 1)
    return torch.where(width > 0, unit.clamp(0, 1), 0.5).float()


def _split(values: Tensor, grids: Sequence[Grid]) -> tuple[NDArray[Any], ...]:
    """Values ``(N, ...)`` of all photographs as one map each."""
    parts = values.split([rows * cols for rows, cols in grids])
    return tuple(part.unflatten(0, grid).numpy() for part, grid in zip(parts, grids, strict=True))


def _lines(stretches: Sequence[float], room: float = 6.5) -> list[list[int]]:
    """Positions of the photographs in lines of about as many each, which hold ``room`` widths of a square."""
    count = max(1, round(sum(stretches) / room))
    return [part.tolist() for part in np.array_split(np.arange(len(stretches)), count)]


def _bytes(colors: Floats) -> Pixels:
    return (255 * colors).round().astype(np.uint8)


def _on_page(colors: PatchColors, theme: str) -> Iterator[Pixels]:
    """The foreground's colours; the background is the page's, a little off, so that its extent shows."""
    page = (0.93 * muted(theme) + 0.07 * 128).round().astype(np.uint8)
    for inside, parts in zip(colors.foreground, colors.foreground_colors, strict=True):
        yield np.where(inside[..., None], _bytes(parts), page)
