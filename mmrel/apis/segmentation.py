"""Frozen patch tokens judged by segmentation, several checkpoints side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmrel.apis.backbone import get_backbone
from mmrel.apis.baselines import random_like
from mmrel.evaluation.iou import Segmentation
from mmrel.evaluation.linear_segmentation import linear_segmentation
from mmrel.evaluation.mask_layouts import open_segmentation
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_knn import patch_knn_segmentation
from mmrel.evaluation.patch_tokens import Progress
from mmrel.models.backbones import ViT
from mmrel.visualization.segmentations import SegmentedImage, draw_segmentations

__all__ = [
    "SegmentationComparison",
    "compare_segmentation",
    "distinct_names",
    "named_backbones",
    "open_segmentation",
]

METHODS: dict[str, Callable[..., Segmentation]] = {
    "knn": patch_knn_segmentation,
    "linear": linear_segmentation,
}
TITLES = {"knn": "k-NN over patch tokens", "linear": "linear layer on patch tokens"}


@dataclass(frozen=True)
class SegmentationComparison:
    """What several backbones made of the same images.

    Attributes:
        method: ``"knn"`` or ``"linear"``.
        results: by name of the backbone.
        train: the labelled images.
        val: the images that were segmented.
        weights: where those of each backbone come from, as the log says.
    """

    method: str
    results: dict[str, Segmentation]
    train: LabelledImages
    val: LabelledImages
    weights: dict[str, str]

    def table(self) -> str:
        """One column per backbone: mean IoU, share of right pixels, and the IoU of each class, in per cent."""
        found = self.results.values()
        rows = [("mIoU", *(result.miou for result in found))]
        rows += [("pixels right", *(result.pixel_accuracy for result in found))]
        rows += [(name, *(result.iou[name] for result in found)) for name in self.val.classes]
        head = (
            f"{TITLES[self.method]}: {len(self.train)} training and {len(self.val)} validation images, "
            f"{len(self.val.classes)} classes; IoU in per cent"
        )
        return f"{head}\n\n{_aligned(('class', *self.results), rows)}"

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "method": self.method,
            "num_train": len(self.train),
            "num_val": len(self.val),
            "classes": list(self.val.classes),
            "results": {
                name: {"weights": self.weights[name], **result.as_dict()}
                for name, result in self.results.items()
            },
        }

    def draw(self, path: Path) -> None:
        """Write a figure of the images whose predictions were kept: image, annotation, and each prediction.

        Raises:
            ValueError: none were kept.
        """
        kept = sorted(next(iter(self.results.values())).predictions)
        rows = []
        for index in kept:
            image, truth = self.val.read(index)
            predictions = {
                f"{name}\nmIoU {result.miou:.1f}": result.predictions[index]
                for name, result in self.results.items()
            }
            rows.append(SegmentedImage(image, truth, predictions))
        draw_segmentations(rows, self.val.classes, path, self.val.palette)


def compare_segmentation(
    backbones: Mapping[str, ViT],
    train: LabelledImages,
    val: LabelledImages,
    method: str = "knn",
    pictures: int = 0,
    progress: Progress | None = None,
    **settings: Any,
) -> SegmentationComparison:
    """Segment the same images with the frozen patch tokens of several backbones.

    Args:
        backbones: by name, as ``get_backbone`` gives them, each on the device that shall compute.
        train: labelled images.
        val: images to segment, with the classes of ``train``.
        method: ``"knn"``, see :func:`mmrel.evaluation.patch_knn.patch_knn_segmentation`, or ``"linear"``, see
            :func:`mmrel.evaluation.linear_segmentation.linear_segmentation`.
        pictures: of how many images, spread evenly over ``val``, the predictions are kept.
        progress: is called with the number of images done and of all, for each backbone anew.
        **settings: other arguments of that function.

    Raises:
        ValueError: an unknown method, no backbone, or as that function.
        UnreadableImageError: a file cannot be read.
    """
    if method not in METHODS or not backbones:
        raise ValueError(
            f"method is {method!r} and there are {len(backbones)} backbones; choose from {', '.join(METHODS)}, and "
            "give one or more"
        )
    spread = np.linspace(0, len(val) - 1, min(pictures, len(val))).round().astype(int).tolist()
    segment = METHODS[method]
    results = {
        name: segment(backbone, train, val, keep=spread, progress=progress, **settings)
        for name, backbone in backbones.items()
    }
    weights = {name: own.provenance or "freshly drawn" for name, own in backbones.items()}
    return SegmentationComparison(method, results, train, val, weights)


def named_backbones(
    checkpoints: Sequence[str | Path],
    random: bool = False,
    seed: int = 0,
    device: str = "cpu",
    **weights: Any,
) -> dict[str, ViT]:
    """Backbones by names that tell their files apart.

    Args:
        checkpoints: what ``get_backbone`` takes.
        random: also random weights of each network that occurs, once per network; they come first.
        seed: of these.
        device: to compute on.
        **weights: arguments of ``get_backbone``.

    Raises:
        ValueError: a checkpoint is named twice, or as ``get_backbone``.
        FileNotFoundError: there is no such file.
    """
    names = distinct_names(checkpoints)
    trained = {
        name: get_backbone(checkpoint, **weights).to(device)
        for name, checkpoint in zip(names, checkpoints, strict=True)
    }
    if not random:
        return trained
    networks: dict[tuple[Any, ...], str] = {}
    for name, backbone in trained.items():
        networks.setdefault(_network(backbone), name)
    fresh = {name: random_like(trained[name], seed) for name in networks.values()}
    titles = ["random"] if len(fresh) == 1 else [f"random, as {name}" for name in fresh]
    return {**dict(zip(titles, fresh.values(), strict=True)), **trained}


def distinct_names(paths: Sequence[str | Path]) -> list[str]:
    """The file's name without its ending, preceded by as many folders as it takes to tell them all apart.

    Raises:
        ValueError: one is given twice.
    """
    parts = [Path(path).with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(
        f"of the checkpoints {', '.join(map(str, paths))} two have the same path but for their ending; give each once"
    )


def _network(backbone: ViT) -> tuple[Any, ...]:
    """What two backbones have in common if their random weights are one baseline."""
    shapes = tuple((name, tuple(value.shape)) for name, value in backbone.state_dict().items())
    rules = backbone.use_pos_embed, backbone.pos_interpolation, backbone.final_norm
    return shapes, backbone.num_heads, backbone.normalization, rules


def _aligned(heads: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    """A text table: names to the left, numbers with one decimal to the right; a dash where there is none."""
    cells = [
        [str(first), *("-" if value != value else f"{value:.1f}" for value in rest)]
        for first, *rest in rows
    ]
    columns = list(zip(heads, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in (list(heads), *cells):
        padded = [row[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(padded))
    return "\n".join(lines)
