"""Attention, similarity and principal components of a few images, a strip of each per network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome, Shot
from mmrel.apis.evaluation.protocols.photos import photos
from mmrel.apis.evaluation.protocols.strips import draw_strips, photo, shape_of, shown_size
from mmrel.evaluation.images import ByteImage, read_image
from mmrel.models.backbones import ViT
from mmrel.visualization.attention import attention_maps
from mmrel.visualization.panels import Panel
from mmrel.visualization.pca import patch_colors
from mmrel.visualization.similarity import MIDDLE, similarity_maps

PHOTOS = "photographs"
BRIGHT = 0.98
"""Quantile of the attention that has the brightest colour: a few patches get most of it."""


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """The pictures, and no figure."""
    assert backbone is not None, "there is something to see of a network alone"
    pictures = [read_image(file) for file in photos(data, settings["max_images"])]
    size = shown_size(pictures)
    steps = (_attention, _similarity, _components)
    shots: list[Shot] = []
    for number, step in enumerate(steps):
        shots += step(backbone, pictures, size, desk)
        desk.advance(number + 1, len(steps))
    return Outcome(counts={"images": len(pictures)}, pictures=tuple(shots))


def _attention(
    backbone: ViT, pictures: Sequence[ByteImage], size: int | None, desk: Desk
) -> tuple[Shot, Shot]:
    """Mean of the heads; without class token, of the mean query."""
    query = "mean" if backbone.cls_token is None else "cls"
    maps = [attention_maps(backbone, one, query=query, size=size).mean(axis=0) for one in pictures]
    caption = (
        "How much the class token attends to each patch in the last block, mean of the heads; without a class token: "
        "the mean of all patches' queries. Each map has its own scale, up to the brightest 2 % of its patches."
    )
    panels = [
        Panel((one / np.quantile(one, BRIGHT)).clip(0, 1), shape_of(picture))
        for one, picture in zip(maps, pictures, strict=True)
    ]
    return _pair("Attention", caption, pictures, panels, desk)


def _similarity(
    backbone: ViT, pictures: Sequence[ByteImage], size: int | None, desk: Desk
) -> tuple[Shot, Shot]:
    """Cosine with the patch in the middle."""
    panels = []
    for picture in pictures:
        [values] = similarity_maps(backbone, picture, MIDDLE, size=size)
        scale = float(values.min()), 1.0
        panels.append(
            Panel(
                values,
                shape_of(picture),
                note=f"{scale[0]:.2f} to 1",
                scale=scale,
                marks=((MIDDLE[0], 0),),
            )
        )
    caption = "Cosine similarity of every patch to the one in the middle; each map has its own scale, below it."
    return _pair("Similarity", caption, pictures, panels, desk)


def _components(
    backbone: ViT, pictures: Sequence[ByteImage], size: int | None, desk: Desk
) -> tuple[Shot, Shot]:
    """The first three principal components of all images' patches together, as red, green and blue."""
    found = patch_colors(backbone, pictures, size=size)
    panels = [
        Panel((255 * colors).round().astype(np.uint8), shape_of(picture))
        for colors, picture in zip(found.colors, pictures, strict=True)
    ]
    caption = (
        "The first three principal components of the patch tokens of all these images together, as red, green and "
        "blue: equal colours mean equal tokens, also between images."
    )
    return _pair("Principal components", caption, pictures, panels, desk)


def _pair(
    name: str, caption: str, pictures: Sequence[ByteImage], panels: Sequence[Panel], desk: Desk
) -> tuple[Shot, Shot]:
    """The photographs, once for all networks, and what this one makes of them."""
    first, own = desk.shot(name, caption, common=PHOTOS), desk.shot(name, caption)
    draw_strips([list(map(photo, pictures))], first[0])
    draw_strips([panels], own[0])
    return first[1], own[1]
