"""The quickstart's numbers, all read from what its runs wrote."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mmrel.apis.baselines import thumbnail_features
from mmrel.datasets.scenes import CLASSES
from mmrel.evaluation.knn import knn_accuracy
from mmrel.quickstart.plan import Plan
from mmrel.visualization.records import Records, last_value, read_records, series

NEIGHBOURS = 20
KNN = f"knn/top1_k{NEIGHBOURS}"
PATCH_KNN = "knn/patch_miou"
THUMBNAIL_SIZE = 16
MEASURES = {
    "mask-rcnn": {"box AP": ("coco/bbox_mAP", 100.0), "mask AP": ("coco/segm_mAP", 100.0)},
    "linear": {"linear mIoU": ("mIoU", 1.0)},
}
"""Scalars of the tasks, and the factor that makes per cent of them."""


@dataclass(frozen=True)
class Result:
    """One line of the table, in per cent.

    Attributes:
        name: of the measure.
        pretrained: with the method's backbone.
        random: with random weights.
        thumbnail: of the images' thumbnails, where that makes sense.
    """

    name: str
    pretrained: float
    random: float
    thumbnail: float | None = None

    @property
    def gain(self) -> float:
        """In points, of the numbers as they are shown."""
        return round(self.pretrained, 1) - round(self.random, 1)


def read_runs(plan: Plan) -> dict[str, Records]:
    """The scalars of the pretraining and of all tasks, by stage."""
    stages = [stage.name for stage in plan.stages() if stage.folder is not None]
    return {name: read_records(plan.folder(name)) for name in stages}


def read_results(plan: Plan, runs: dict[str, Records]) -> list[Result]:
    """The lines, all of frozen backbones: k-NN of images and of patches, Mask R-CNN's box and mask AP, linear mIoU.

    Raises:
        ValueError: the pretraining did not evaluate the untrained network.
    """
    points = series(runs["pretrain"], KNN, over="epoch")
    if not len(points) or points[0, 0] != 0:
        raise ValueError(
            f"The scalars in '{plan.folder('pretrain')}' hold no {KNN} for epoch 0, the random weights. Set "
            "at_start=True in the k-NN hook of the quickstart's config and run it again."
        )
    thumbnail = thumbnail_accuracy(plan.options.data_root / "classification")
    results = [Result("k-NN top-1", points[-1, 1], points[0, 1], thumbnail)]
    patches = series(runs["pretrain"], PATCH_KNN, over="epoch")
    if len(patches):  # there are masks
        results.append(Result("patch k-NN mIoU", patches[-1, 1], patches[0, 1]))
    for task, measures in MEASURES.items():
        pair = [runs[f"{task}-{initialisation}"] for initialisation in plan.initialisations]
        for name, (scalar, factor) in measures.items():
            values = [factor * last_value(records, scalar) for records in pair]
            results.append(Result(name, *values))
    return results


def thumbnail_accuracy(root: Path) -> float:
    """k-NN accuracy in per cent of thumbnails, their mean subtracted, as features.

    Args:
        root: folder with ``train/<class>`` and ``val/<class>``.
    """
    parts = []
    for split in ("train", "val"):
        files = [(file, k) for k, c in enumerate(CLASSES) for file in class_files(root, split, c)]
        features = thumbnail_features([file for file, _ in files], THUMBNAIL_SIZE)
        parts.append((features, torch.tensor([label for _, label in files])))
    mean = parts[0][0].mean(dim=0)
    bank, val = ((features - mean, labels) for features, labels in parts)
    return knn_accuracy(bank, val, (NEIGHBOURS,))[f"top1_k{NEIGHBOURS}"]


def class_files(root: Path, split: str, name: str) -> list[Path]:
    """Images of one class of the class folders, in order."""
    return sorted((root / split / name).glob("*.jpg"))


def verdict(results: list[Result], method: str) -> tuple[str, bool]:
    """What the numbers say in one sentence, and whether pretraining is ahead everywhere."""
    ahead = [f"{r.name} (+{r.gain:.1f})" for r in results if r.gain > 0]
    behind = [f"{r.name} ({r.gain:+.1f})" for r in results if r.gain <= 0]
    if not behind:
        return f"{method} is ahead of random weights on {_list(ahead)}, in points.", True
    text = f"{method} is not ahead of random weights on {_list(behind)}"
    return text + (
        f"; it is ahead on {_list(ahead)}, in points." if ahead else ", in points."
    ), False


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
