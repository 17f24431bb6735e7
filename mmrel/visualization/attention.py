"""Where a backbone looks in a photograph: attention per head, and the patches that hold most of it.

As DINO shows it (arXiv 2104.14294), in the photograph's own aspect ratio.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmrel.evaluation.attention import keep_mass, query_attention
from mmrel.evaluation.images import OneImage, read_image
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.visualization.panels import Panel, Pixels, Row, draw_rows, faded
from mmrel.visualization.photos import SIZE, check_heads, photo_batch, sides

Floats = NDArray[np.floating]
MIN_COLUMNS, COLUMNS = 3, 6
"""Heads in a row."""


@torch.inference_mode()
def attention_maps(
    backbone: ViT,
    image: OneImage,
    block: int = -1,
    query: str = "cls",
    size: int | None = SIZE,
) -> NDArray[np.float32]:
    """Attention of the class token to all patches of a photograph.

    Args:
        backbone: as ``get_backbone`` gives it; it is left as it was.
        image: file, Pillow image or uint8 array ``(H, W, 3)``.
        block: its number; negative ones count from the end.
        query: ``'cls'``, or ``'mean'``: the mean of all patches' queries, for a backbone without class token.
        size: short side in pixels; ``None``: the photograph's own.

    Returns:
        ``(heads, rows, cols)``. With a class token the sum of a map is below 1 by what that token gets.

    Raises:
        ValueError: an unknown query or block, no class token, or a photograph smaller than a patch.
        UnreadableImageError: a file that holds no image.
    """
    batch, _ = photo_batch(backbone, image, size)
    with evaluation_mode(backbone):
        attention, grid = query_attention(backbone, batch, block, query)
    return attention[0].float().unflatten(1, grid).cpu().numpy()


def kept_masks(maps: Floats, mass: float) -> NDArray[np.bool_]:
    """The patches that hold this share of the attention of maps ``(heads, rows, cols)``."""
    flat = torch.from_numpy(np.ascontiguousarray(maps)).flatten(1)
    return keep_mass(flat, mass).unflatten(1, maps.shape[1:]).numpy()


def draw_attention(
    image: OneImage,
    maps: Mapping[str, Floats],
    path: Path,
    heads: Sequence[int] | None = None,
    threshold: float | None = 0.6,
    theme: str = "light",
) -> None:
    """Write the figure: for each set of weights the mean of the heads, each head, and the masks of each.

    Args:
        image: the photograph.
        maps: by the title of the weights, of :func:`attention_maps`.
        path: file to write, PNG, PDF or SVG by its ending.
        heads: numbers of the heads to draw; ``None``: all.
        threshold: share of the attention whose patches stay visible, see
            :func:`mmrel.evaluation.attention.keep_mass`; ``None``: no masks.
        theme: ``'light'`` or ``'dark'``.

    Raises:
        ValueError: there are no such heads, or a threshold outside of (0, 1].
    """
    picture = read_image(image)
    rows: list[Row] = []
    for name, values in maps.items():
        chosen = check_heads(heads, len(values))
        rows += _mean_row(picture, values[chosen], name, threshold, theme)
        rows += _head_rows(picture, values, chosen, threshold, theme)
    draw_rows(rows, path, theme)


def _mean_row(
    picture: Pixels, values: Floats, name: str, threshold: float | None, theme: str
) -> list[Row]:
    mean, shape = values.mean(axis=0), sides(picture)
    panels = [Panel(picture, shape, "photograph"), _map(mean, shape, "mean of the heads")]
    if threshold is not None:
        [mask] = kept_masks(mean[None], threshold)
        panels.append(_masked(picture, mask, theme, f"{100 * threshold:.3g} % of the attention"))
    return [Row(tuple(panels), name, "attention / maximum", columns=3)]


def _head_rows(
    picture: Pixels, values: Floats, chosen: list[int], threshold: float | None, theme: str
) -> list[Row]:
    shape, columns = sides(picture), max(MIN_COLUMNS, min(COLUMNS, len(chosen)))
    rows = []
    for line in (chosen[i : i + columns] for i in range(0, len(chosen), columns)):
        maps = tuple(_map(values[head], shape, f"head {head}") for head in line)
        rows.append(Row(maps, columns=columns))
        if threshold is not None:
            masks = kept_masks(values[line], threshold)
            kept = tuple(_masked(picture, mask, theme) for mask in masks)
            rows.append(Row(kept, columns=columns))
    return rows


def _map(values: Floats, shape: tuple[int, int], title: str) -> Panel:
    top = float(values.max())
    return Panel(values / top, shape, title, f"maximum {100 * top:.2g} %")


def _masked(picture: Pixels, mask: NDArray[np.bool_], theme: str, title: str = "") -> Panel:
    return Panel(faded(picture, mask, theme), sides(picture), title, outlined=mask)
