"""How similar one patch of an image is to all others: what any backbone knows of the relations inside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.visualization.panels import Panel, Row, draw_rows
from mmrel.visualization.photos import patch_center, sides

ByteImage = NDArray[np.uint8]
Floats = NDArray[np.floating]


@torch.no_grad()
def patch_similarity(model: Any, images: Tensor, places: Sequence[tuple[float, float]]) -> Floats:
    """Cosine similarity of one patch token to all patch tokens of its image.

    Args:
        model: a backbone, as ``get_backbone`` gives it; or a self-supervised model, whose network to evaluate is asked.
            Either is left as it was.
        images: ``(B, 3, H, W)``, normalised.
        places: B places ``(x, y)`` in [0, 1), as shares of the image's sides; the patch there is compared.

    Returns:
        float32 ``(B, rows, cols)``, values in [-1, 1].

    Raises:
        ValueError: another number of places than images.
    """
    if len(places) != len(images):
        raise ValueError(
            f"there are {len(places)} places for {len(images)} images; give one (x, y) per image"
        )
    with evaluation_mode(model):
        tokens = model(images) if isinstance(model, ViT) else model.extract_tokens(images)
    rows, cols = tokens.grid
    unit = F.normalize(tokens.patches.float(), dim=-1)
    chosen = [int(y * rows) * cols + int(x * cols) for x, y in places]
    own = unit[torch.arange(len(unit)), torch.tensor(chosen)]
    similarity = (unit @ own[:, :, None]).squeeze(-1)
    return similarity.unflatten(1, (rows, cols)).cpu().numpy()


def draw_patch_similarity(
    images: Sequence[ByteImage],
    places: Sequence[tuple[float, float]],
    maps: dict[str, Floats],
    path: Path,
    theme: str = "light",
) -> None:
    """Write the figure: a column per image; below it, one map per set of weights, in the image's aspect ratio.

    Args:
        images: B uint8 RGB ``(H, W, 3)``.
        places: as for :func:`patch_similarity`; the centre of the patch there is marked.
        maps: ``(B, rows, cols)`` of each set of weights, by its title.
        path: file to write, PNG, PDF or SVG by its ending.
        theme: ``'light'`` or ``'dark'``.
    """
    grid = sides(next(iter(maps.values()))[0])
    photos = [
        Panel(image, sides(image), marks=((patch_center(place, grid, grid), 0),))
        for image, place in zip(images, places, strict=True)
    ]
    rows = [Row(tuple(photos))]
    for name, values in maps.items():
        pairs = zip(photos, values, strict=True)
        rows.append(Row(tuple(_map(photo, one) for photo, one in pairs), name))
    draw_rows(rows, path, theme)


def _map(photo: Panel, values: Floats) -> Panel:
    scale = float(values.min()), float(values.max())
    return replace(photo, pixels=values, scale=scale, note=f"{scale[0]:.2f} to {scale[1]:.2f}")
