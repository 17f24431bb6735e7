"""How similar one patch of an image is to all others: what any backbone knows of the relations inside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.loading import evaluation_mode
from mmrel.visualization.style import ACCENT, NEUTRAL, SEQUENTIAL, figure, hide_axes

ByteImage = NDArray[np.uint8]
Floats = NDArray[np.floating]
PANEL = 2.1
"""Side of one picture in inches."""


@torch.no_grad()
def patch_similarity(model: Any, images: Tensor, places: Sequence[tuple[float, float]]) -> Floats:
    """Cosine similarity of one patch token to all patch tokens of its image.

    Args:
        model: a self-supervised model; its network to evaluate is asked, in evaluation mode.
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
        tokens = model.extract_tokens(images)
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
) -> None:
    """Write the figure: a column per image; below it, one map per set of weights.

    Args:
        images: B uint8 RGB ``(H, W, 3)``.
        places: as for :func:`patch_similarity`; the centre of the patch there is marked.
        maps: ``(B, rows, cols)`` of each set of weights, by its title.
        path: PNG file to write.
    """
    rows, cols = next(iter(maps.values())).shape[1:]
    places = [((int(x * cols) + 0.5) / cols, (int(y * rows) + 0.5) / rows) for x, y in places]
    with figure(path, PANEL * len(images) + 0.4, PANEL * (1 + len(maps)) + 0.3) as canvas:
        axes = canvas.subplots(1 + len(maps), len(images), squeeze=False)
        for column, (image, place) in enumerate(zip(images, places, strict=True)):
            axes[0, column].imshow(image)
            _mark(axes[0, column], place, image.shape[:2])
            for row, values in enumerate(maps.values(), start=1):
                _draw_map(axes[row, column], values[column], place)
        for axis, title in zip(axes[:, 0], ("image", *maps), strict=True):
            axis.set_ylabel(title)


def _draw_map(axis: Axes, values: Floats, place: tuple[float, float]) -> None:
    axis.imshow(values, cmap=SEQUENTIAL)
    _mark(axis, place, values.shape)
    axis.set_xlabel(f"{values.min():.2f} to {values.max():.2f}", color=NEUTRAL, fontsize=8)


def _mark(axis: Axes, place: tuple[float, float], shape: tuple[int, ...]) -> None:
    hide_axes(axis)
    x, y = place[0] * shape[1] - 0.5, place[1] * shape[0] - 0.5
    axis.scatter(x, y, s=46, color=ACCENT, edgecolors="white", linewidths=1.2, zorder=3)
