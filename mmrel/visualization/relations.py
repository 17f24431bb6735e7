"""The self-relations of a photograph that SERE compares between views, for any backbone.

SERE, "Exploring Feature Self-relation for Self-supervised Transformer" (TPAMI 2023, arXiv 2206.05184), section 3. Here
they are those of the backbone's own tokens; :mod:`mmrel.visualization.relation_maps` has what SERE's heads see.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.images import OneImage, read_image
from mmrel.models.backbones import ViT
from mmrel.ops.distillation import check_temperature
from mmrel.ops.relation import channel_relation, spatial_relation
from mmrel.visualization.panels import Panel, Row, draw_rows, in_lines
from mmrel.visualization.photos import SIZE, Point, check_heads, flat_patches, photo_tokens, sides
from mmrel.visualization.similarity import COLUMNS, MIDDLE, map_panels, marked
from mmrel.visualization.style import DIVERGING

Floats = NDArray[np.floating]
CHANNELS_SHOWN = 0.995
"""Quantile of a channel relation that its brightest colour stands for; the few largest values are on the diagonal."""


def spatial_relations(
    backbone: ViT,
    image: OneImage,
    points: Sequence[Point] = MIDDLE,
    heads: Sequence[int] | None = None,
    temperature: float = 1.0,
    block: int = -1,
    size: int | None = SIZE,
) -> NDArray[np.float32]:
    """Relation of the patches at some places to all patches: softmax of scaled inner products of tokens.

    The channels are split into as many groups as the backbone has attention heads; relations are means over groups.

    Args:
        backbone: as ``get_backbone`` gives it; it is left as it was.
        image: file, Pillow image or uint8 array ``(H, W, 3)``.
        points: P places ``(x, y)``: whole numbers are pixels of the image, floats in [0, 1] shares of its sides.
        heads: numbers of the groups that count; ``None``: all.
        temperature: the inner products are divided by it.
        block: whose tokens, after the final norm; negative ones count from the end.
        size: short side in pixels; ``None``: the photograph's own.

    Returns:
        ``(P, rows, cols)``, each map summing to 1.

    Raises:
        ValueError: a point outside of the image, unknown heads or block, a temperature that is not positive, or a
            photograph smaller than a patch.
        UnreadableImageError: a file that holds no image.
    """
    chosen_heads = check_heads(heads, backbone.num_heads)
    check_temperature(temperature, "temperature")
    found = photo_tokens(backbone, image, size, block)
    chosen = flat_patches(points, found.shape, found.grid)
    relation = spatial_relation(found.tokens[None], backbone.num_heads)[0, chosen_heads]
    rows = (relation[:, chosen] / temperature).softmax(dim=-1).mean(dim=0)
    return rows.unflatten(1, found.grid).numpy()


def channel_relations(
    backbone: ViT, image: OneImage, block: int = -1, size: int | None = SIZE
) -> NDArray[np.float32]:
    """Relation of all channels: inner products over the patches of a photograph, divided by their number.

    Returns:
        ``(C, C)``; arguments and errors as for :func:`spatial_relations`.
    """
    tokens = photo_tokens(backbone, image, size, block).tokens
    return channel_relation(tokens[None])[0].numpy()


def channel_order(relation: Floats) -> NDArray[np.int64]:
    """An order of channels that brings related ones together: by their loadings on the leading eigenvector."""
    _, vectors = torch.linalg.eigh(torch.from_numpy(relation).double())
    leading: Tensor = vectors[:, -1]
    # The sign of an eigenvector is arbitrary.
    leading = leading * leading[leading.abs().argmax()].sign()
    return leading.argsort(stable=True).numpy()


def draw_relations(
    image: OneImage,
    points: Sequence[Point],
    spatial: Mapping[str, Floats],
    channel: Mapping[str, Floats],
    path: Path,
    theme: str = "light",
) -> None:
    """Write the figure: the photograph, and for each set of weights its spatial and its channel relation.

    A spatial relation is drawn as share of its largest value to another patch; the patch itself may have more.

    Args:
        image: in which the places lie; they are marked.
        points: of :func:`spatial_relations`.
        spatial: by the title of the weights, of :func:`spatial_relations`.
        channel: by the same titles, of :func:`channel_relations`.
        path: file to write, PNG, PDF or SVG by its ending.
        theme: ``'light'`` or ``'dark'``.

    Raises:
        ValueError: a point outside of the image.
    """
    picture = read_image(image)
    shape, grid = sides(picture), sides(next(iter(spatial.values()))[0])
    marks, own = marked(points, shape, grid), flat_patches(points, shape, grid)
    lead = Panel(picture, shape, "photograph", marks=tuple(marks))
    rows: list[Row] = []
    for name, values in spatial.items():
        relative = np.stack([_relative(*pair) for pair in zip(values, own, strict=True)])
        panels = [lead, *map_panels(relative, shape, marks)]
        rows += in_lines(panels, COLUMNS, f"{name}: spatial relation", "relation / maximum")
    matrices = [_matrix(name, relation) for name, relation in channel.items()]
    bar = "mean product / maximum"
    draw_rows([*rows, *in_lines(matrices, COLUMNS, "channel relation", bar)], path, theme)


def _relative(values: Floats, own: int) -> Floats:
    """Shares of the largest value that the point does not have to itself, at most 1."""
    others = np.delete(values.ravel(), own)
    return np.minimum(values / (others.max() if others.size else values.max()), 1)


def _matrix(name: str, relation: Floats) -> Panel:
    """A channel relation with related channels side by side, as shares of nearly its largest value."""
    order = channel_order(relation)
    values = relation[np.ix_(order, order)] / np.quantile(np.abs(relation), CHANNELS_SHOWN)
    note = f"{len(relation)} channels, sorted"
    return Panel(values, (1, 1), name, note, scale=(-1.0, 1.0), colors=DIVERGING)
