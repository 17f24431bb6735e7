"""Features of labelled images, class token and mean patch in one pass, that several protocols share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome
from mmrel.apis.evaluation.protocols import FEATURES, PIXELS
from mmrel.apis.evaluation.subjects import THUMBNAIL_SIDE
from mmrel.apis.features import evaluation_transforms
from mmrel.datasets.class_names import share_classes
from mmrel.datasets.transforms.load import share_depth
from mmrel.evaluation.images import normalised
from mmrel.evaluation.knn import extract_features
from mmrel.evaluation.loading import build_loader, evaluation_mode
from mmrel.evaluation.probes import ProbeResult
from mmrel.models.backbones import ViT

BATCH = 64
LARGEST = 224
"""Pixels: larger pretraining sizes, such as DINOv2's 518, are evaluated at this one."""

Labelled = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Split:
    """Training and validation features and labels, on the device that computes.

    Attributes:
        train: ``(N, C)`` and ``(N,)``.
        val: ``(M, C)`` and ``(M,)``.
    """

    train: Labelled
    val: Labelled


def input_size(backbone: ViT, wanted: int | None) -> int:
    """Side of the images: the wanted one, or that of the pretraining, 224 at most, in whole patches."""
    patch: int = backbone.patch_size
    side = wanted or min(LARGEST, *backbone.img_size)
    return max(1, side // patch) * patch


def labelled_features(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> dict[str, Split]:
    """Features by name: ``'cls'``, where there is a class token, and ``'avg'``; or ``'pixels'`` of thumbnails.

    Computed once for all protocols with the same number of images and the same size.
    """
    key = ("labelled features", *(settings[n] for n in ("max_train", "max_val", "image_size")))
    found: dict[str, Split] = desk.recall(key, lambda: _extract(backbone, data, settings, desk))
    return found


def describe_counts(features: Mapping[str, Split]) -> dict[str, int]:
    """How many images of how many classes."""
    split = next(iter(features.values()))
    return {
        "training images": len(split.train[1]),
        "validation images": len(split.val[1]),
        "classes": len(split.train[1].unique()),
    }


def probed(
    backbone: ViT | None,
    data: EvaluationData,
    settings: Mapping[str, Any],
    desk: Desk,
    fit: Callable[[Split, int, int], ProbeResult],
    setting: str,
) -> Outcome:
    """Top-1 accuracy in per cent of a classifier on each feature, ``top1_<feature>``, and at all of its settings.

    Args:
        backbone: the network, or ``None`` for thumbnails.
        data: with a part for classification.
        settings: of the protocol.
        desk: of the stage.
        fit: trains the classifier; is called with the features, their number in turn and how many there are.
        setting: what the classifiers differ by, for the heading of their table.
    """
    features = labelled_features(backbone, data, settings, desk)
    figures: dict[str, float | None] = {}
    tables: dict[str, dict[str, float | None]] = {}
    for number, (name, split) in enumerate(features.items()):
        result = fit(split, number, len(features))
        figures[f"top1_{name}"] = result.best
        tables[f"Accuracy by {setting}, {FEATURES[name]}"] = {
            f"{value:g}": accuracy for value, accuracy in result.accuracy.items()
        }
    return Outcome(figures, describe_counts(features), tables=tables)


def _extract(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> dict[str, Split]:
    root = data.path("classification")
    steps = _thumbnail_steps() if backbone is None else _steps(backbone, settings["image_size"])
    loaders = [
        build_loader(_loader(str(root / split), steps, desk.workers), settings[f"max_{split}"])
        for split in ("train", "val")
    ]
    share_classes(loaders[0].dataset, loaders[1].dataset, "training images", "validation images")
    share_depth(loaders[0].dataset, loaders[1].dataset)
    if backbone is None:
        return {PIXELS: _centred(*(_pixels(loader, desk) for loader in loaders))}
    total = sum(len(loader.dataset) for loader in loaders)  # type: ignore[arg-type, misc]
    reader = _Reader(backbone, desk, total)
    with evaluation_mode(backbone):
        parts = [extract_features(reader.extract, reader.prepare, loader) for loader in loaders]
    return reader.split(*parts)


class _Reader:
    """Class token and mean patch of a batch, side by side, with the progress."""

    def __init__(self, backbone: ViT, desk: Desk, total: int) -> None:
        self.backbone = backbone
        self.desk = desk
        self.total = total
        self.done = 0

    def prepare(self, batch: Any, training: bool) -> dict[str, Any]:
        return {**batch, "inputs": normalised(batch["inputs"], self.backbone)}

    def extract(self, images: Tensor) -> Tensor:
        tokens = self.backbone(images.to(self.backbone.pos_embed.dtype))
        self.done += len(images)
        self.desk.advance(self.done, self.total)
        kinds = ["avg"] if tokens.cls is None else ["cls", "avg"]
        return torch.cat([tokens.feature(kind).float() for kind in kinds], dim=1)

    def split(self, train: Labelled, val: Labelled) -> dict[str, Split]:
        names = ["avg"] if self.backbone.cls_token is None else ["cls", "avg"]
        columns = zip(train[0].chunk(len(names), 1), val[0].chunk(len(names), 1), strict=True)
        # Cloned outside of the inference mode, so that a classifier can be trained on them.
        pairs = [(a.clone(), b.clone()) for a, b in columns]
        return {
            name: Split((a, train[1].clone()), (b, val[1].clone()))
            for name, (a, b) in zip(names, pairs, strict=True)
        }


def _loader(folder: str, steps: list[dict[str, Any]], workers: int) -> dict[str, Any]:
    decode = dict(type="mmrel.DecodeImage")
    dataset = dict(
        type="mmrel.ImageFolder", data_root=folder, with_label=True, pipeline=[decode, *steps]
    )
    return dict(batch_size=BATCH, num_workers=workers, dataset=dataset)


def _steps(backbone: ViT, wanted: int | None) -> list[dict[str, Any]]:
    size = input_size(backbone, wanted)
    return evaluation_transforms(round(size * 256 / 224), size)


def _thumbnail_steps() -> list[dict[str, Any]]:
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    shrink = dict(type="mmpretrain.Resize", scale=side, backend="pillow", interpolation="box")
    return [shrink, dict(type="mmpretrain.PackInputs")]


def _pixels(loader: DataLoader, desk: Desk) -> Labelled:
    def prepare(batch: Any, training: bool) -> dict[str, Any]:
        return {**batch, "inputs": torch.stack(batch["inputs"]).to(desk.device)}

    features, labels = extract_features(
        lambda images: images.flatten(1).float() / 255, prepare, loader
    )
    return features.clone(), labels.clone()


def _centred(train: Labelled, val: Labelled) -> Split:
    """Without the mean of the training pixels: all are positive, so that all cosines would else be near 1."""
    mean = train[0].mean(dim=0)
    return Split((train[0] - mean, train[1]), (val[0] - mean, val[1]))
