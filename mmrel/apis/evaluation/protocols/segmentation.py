"""Segmentation from frozen patch tokens as protocols: by nearest neighbours, and by a linear layer."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome, Shot
from mmrel.apis.evaluation.protocols.strips import draw_strips, photo
from mmrel.models.backbones import ViT

if TYPE_CHECKING:
    from mmrel.evaluation.iou import Segmentation
    from mmrel.evaluation.masks import LabelledImages

SHOWN = 4
NAME = "Predictions"
PER_CLASS = "Intersection over union by class"


def run_patch_knn(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """Mean IoU and pixel accuracy in per cent, without training."""
    from mmrel.evaluation.patch_knn import patch_knn_segmentation

    assert backbone is not None, "patch tokens are those of a network"
    train, val = _labelled(data, settings)
    found = patch_knn_segmentation(
        backbone,
        train,
        val,
        k=settings["k"],
        size=settings["size"],
        max_patches=settings["max_patches"],
        keep=range(min(SHOWN, len(val))),
        progress=desk.advance,
    )
    return _outcome(found, train, val, desk)


def run_linear(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """The same by batch norm and a linear layer, at the best learning rate."""
    from mmrel.evaluation.linear_segmentation import linear_segmentation

    assert backbone is not None, "patch tokens are those of a network"
    train, val = _labelled(data, settings)
    found = linear_segmentation(
        backbone,
        train,
        val,
        size=settings["size"],
        keep=range(min(SHOWN, len(val))),
        progress=desk.advance,
    )
    rates: dict[str, float | None] = {f"{k:g}": v for k, v in found.miou_of_rates.items()}
    return _outcome(found, train, val, desk, {"Mean IoU by learning rate": rates})


def _labelled(
    data: EvaluationData, settings: Mapping[str, Any]
) -> tuple["LabelledImages", "LabelledImages"]:
    """Training and validation images, whose classes are those found in training."""
    from mmrel.evaluation.masks import LabelledImages

    root = data.path("segmentation")
    train = LabelledImages.from_ade(root, "training")
    val = LabelledImages.from_ade(root, "validation", train.classes)
    limits = settings["max_train"], settings["max_val"]
    pair = [s if n is None else s.subset(n) for s, n in zip((train, val), limits, strict=True)]
    return pair[0], pair[1]


def _outcome(
    found: "Segmentation",
    train: "LabelledImages",
    val: "LabelledImages",
    desk: Desk,
    tables: Mapping[str, dict[str, float | None]] | None = None,
) -> Outcome:
    per_class = {name: None if math.isnan(iou) else iou for name, iou in found.iou.items()}
    counts = {
        "training images": len(train),
        "validation images": len(val),
        "classes": len(val.classes),
    }
    return Outcome(
        {"miou": found.miou, "pixel_accuracy": found.pixel_accuracy},
        counts,
        _pictures(found, val, desk),
        {PER_CLASS: per_class, **(tables or {})},
    )


def _pictures(found: "Segmentation", val: "LabelledImages", desk: Desk) -> tuple[Shot, ...]:
    """Images and annotation once for all networks, and what this one predicts."""
    from mmrel.visualization.predictions import paint_labels
    from mmrel.visualization.segmentations import voc_palette

    shown = sorted(found.predictions)
    images, labels = zip(*(val.read(index) for index in shown), strict=True)
    colors = val.palette or voc_palette(len(val.classes))
    truth = [paint_labels(one, colors) for one in labels]
    predicted = [paint_labels(found.predictions[index], colors) for index in shown]
    first, own = desk.shot(NAME, common="photographs and annotation"), desk.shot(NAME)
    draw_strips([list(map(photo, images)), list(map(photo, truth))], first[0])
    draw_strips([list(map(photo, predicted))], own[0])
    return first[1], own[1]
