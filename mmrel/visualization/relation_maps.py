"""What SERE compares: the self-relations of one image seen in two views.

SERE, "Exploring Feature Self-relation for Self-supervised Transformer" (TPAMI 2023, arXiv 2206.05184), section 3.
The tokens of each view are sampled on a lattice over the overlap of the two crops, as in training; the
difference is that nothing is hidden from the student here.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.selfsup.sere import CHANNEL, SPATIAL
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.ops.overlap import overlap_lattice, sample_tokens
from mmrel.ops.relation import channel_relation, spatial_relation
from mmrel.structures import TokenViews

ByteImage = NDArray[np.uint8]
VIEW_BOXES = ((0.02, 0.04, 0.72, 0.72, 0.0), (0.26, 0.22, 0.72, 0.72, 1.0))
"""Two crops ``(x, y, w, h, flip)`` as shares of the image's sides: half of each is shared, the second is flipped."""


@dataclass(frozen=True)
class ImageViews:
    """The same two crops of each of B images.

    Attributes:
        images: uint8 ``(H, W, 3)`` each.
        boxes: float32 ``(2, 5)``: the crops in pixels of the first image, which is the one that is drawn.
        crops: uint8 ``(2*B, 3, size, size)``, view-major, flipped where the view is.
        geometry: float32 ``(B, 2, 5)``.
    """

    images: list[ByteImage]
    boxes: Tensor
    crops: Tensor
    geometry: Tensor


@dataclass(frozen=True)
class RelationMaps:
    """Relations of the first image.

    Attributes:
        lattices: ``(2, S, S, 2)``: the shared lattice in view 1 and in view 2, (x, y) in [-1, 1].
        spatial: ``(2, S*S, S*S)``: teacher on view 1, student on view 2; each row a distribution, mean over heads.
        channel: ``(2, C, C)``: the same for channels.
    """

    lattices: NDArray[np.float32]
    spatial: NDArray[np.float32]
    channel: NDArray[np.float32]


def cut_views(images: Sequence[ByteImage], size: int) -> ImageViews:
    """Cut the two crops ``VIEW_BOXES`` out of every image.

    Args:
        images: uint8 RGB ``(H, W, 3)`` each.
        size: side of the crops in pixels.
    """
    geometry = torch.stack([_pixel_boxes(image.shape[1], image.shape[0]) for image in images])
    crops = [
        _crop(image, geometry[index, view], size)
        for view in range(len(VIEW_BOXES))
        for index, image in enumerate(images)
    ]
    return ImageViews(list(images), geometry[0], torch.stack(crops), geometry)


def _pixel_boxes(width: int, height: int) -> Tensor:
    scale = torch.tensor([width, height, width, height, 1.0])
    return (torch.tensor(VIEW_BOXES) * scale).round()


def _crop(image: ByteImage, box: Tensor, size: int) -> Tensor:
    x, y, w, h, flip = (int(value) for value in box)
    picture = Image.fromarray(image).crop((x, y, x + w, y + h))
    crop = np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
    return torch.from_numpy(crop[:, ::-1].copy() if flip else crop).permute(2, 0, 1)


@torch.no_grad()
def relation_maps(
    model: StudentTeacher, views: ImageViews, mean: Sequence[float], std: Sequence[float]
) -> RelationMaps:
    """Teacher's relations on view 1 and the student's on view 2, on their shared lattice.

    The necks normalise with the statistics of this batch, as in training, so untrained and trained networks
    can be compared; the backbones run in evaluation mode. The model is left as it was.

    Args:
        model: with SERE's two relation heads.
        views: the crops; 16 images or more give steady statistics.
        mean: of the normalisation, on the 0-255 scale.
        std: likewise.

    Raises:
        ValueError: a model without SERE's heads.
    """
    if missing := {SPATIAL, CHANNEL} - set(model.head):
        raise ValueError(
            f"The model has no head {sorted(missing)}; its heads are {sorted(model.head)}. Relation maps need "
            "mmrel.SERE with alpha > 0 and beta > 0."
        )
    crops, count = _normalise(views.crops, mean, std), len(views.images)
    backbones = model.get_submodule("teacher.backbone"), model.backbone
    with evaluation_mode(model):
        tokens = [backbone(crops, None) for backbone in backbones]
    head = _relation_head(model, SPATIAL)
    lattices = overlap_lattice(views.geometry[:, 0], views.geometry[:, 1], head.overlap_side)
    spatial, channel = [], []
    for index, (own, lattice) in enumerate(zip(tokens, lattices, strict=True)):
        first = slice(index * count, index * count + 1)
        projected = _project(model, SPATIAL, own, index)[first]
        relation = spatial_relation(sample_tokens(projected, lattice[:1], own.grid), head.num_heads)
        spatial.append((relation / _temperature(model, SPATIAL, index)).softmax(-1).mean(dim=1))
        relation = channel_relation(_project(model, CHANNEL, own, index)[first])
        channel.append((relation / _temperature(model, CHANNEL, index)).softmax(dim=-1))
    return RelationMaps(
        lattices=torch.stack([lattice[0] for lattice in lattices]).numpy(),
        spatial=torch.cat(spatial).numpy(),
        channel=torch.cat(channel).numpy(),
    )


def _normalise(crops: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    shape = (1, 3, 1, 1)
    return (crops.float() - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def _project(model: StudentTeacher, name: str, tokens: TokenViews, student: int) -> Tensor:
    """What a relation neck makes of global crops: ``(2*B, N, C)``; the student's passes its predictor too."""
    own = model.get_submodule(f"neck.{name}" if student else f"teacher.neck.{name}")
    neck: Any = copy.deepcopy(own).train()  # a copy, whose running statistics may move
    maps = tokens.prenorm_patches.transpose(1, 2).unflatten(2, tokens.grid)
    maps = neck.projection(maps)
    maps = neck.predictor(maps) if student else maps
    return maps.flatten(2).transpose(1, 2)


def _relation_head(model: StudentTeacher, name: str) -> Any:
    return model.head[name]


def _temperature(model: StudentTeacher, name: str, student: int) -> float:
    head = _relation_head(model, name)
    return head.student_temperature if student else head.teacher_temperature
