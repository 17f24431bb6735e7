"""Weighted k-NN of any backbone on folders of images: with a split, or without by leaving one out.

The protocol of DINO and iBOT (arXiv 2104.14294, 2111.07832), see :mod:`mmrel.evaluation.knn`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mmrel.apis.class_folders import Reading, labelled_loaders, shared_list, split_folders
from mmrel.apis.features import CROP, Side, choose_readout, embed, evaluation_transforms
from mmrel.datasets.bad_samples import read_bad_samples
from mmrel.evaluation.images import normalised
from mmrel.evaluation.knn import extract_features, knn_accuracy, leave_one_out_accuracy
from mmrel.evaluation.labelled_features import Progress
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT

K = (10, 20, 100, 200)
"""The papers' numbers of neighbours."""

THUMBNAIL_SIZE = 16
Labelled = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class KNNResult:
    """Accuracies in per cent, and of what.

    Attributes:
        top1: by number of neighbours.
        top5: likewise; the right class is among the first min(5, k).
        train: the folder whose images vote.
        val: the folder whose images are classified; ``None``: those of ``train``, leaving one out.
        num_train: images that vote.
        num_val: images that are classified.
        num_classes: classes of which there are images that vote.
        unreadable: files that were left out.
        feature: what stands for an image.
        width: of the feature.
    """

    top1: dict[int, float]
    top5: dict[int, float]
    train: str
    val: str | None
    num_train: int
    num_val: int
    num_classes: int
    unreadable: tuple[str, ...]
    feature: str
    width: int

    @property
    def best(self) -> int:
        """The number of neighbours with the highest top-1 accuracy: a choice on the images that are classified."""
        return max(self.top1, key=lambda k: self.top1[k])

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class _Method:
    """From images to features.

    Attributes:
        name: of the feature.
        transforms: config of what follows the decoding.
        prepare: from a loader's batch to ``inputs`` for ``extract``, as a data preprocessor.
        extract: features ``(n, C)``.
        centred: whether the mean of the training features is subtracted.
    """

    name: str
    transforms: list[dict[str, Any]]
    prepare: Callable[[Any, bool], dict[str, Any]]
    extract: Callable[[Tensor], Tensor]
    centred: bool = False


def evaluate_knn(
    backbone: ViT,
    train: str | Path,
    val: str | Path | None = None,
    k: Sequence[int] | None = None,
    feature: str | None = None,
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
    temperature: float = 0.07,
    resize: int | None = None,
    crop: Side = CROP,
    **reading: Any,
) -> KNNResult:
    """Classify images by their nearest neighbours in a frozen backbone's features.

    In a distributed run the processes share the images, and each returns the same result.

    Args:
        backbone: as ``get_backbone`` gives it, on the device that shall compute.
        train: folder with one folder of images per class: they vote. Or one that holds ``train`` and ``val`` with such
            folders.
        val: folder of the images to classify, whose classes are found in ``train`` by name. ``None``, where there is no
            split: each image of ``train`` is classified by its nearest others.
        k: numbers of neighbours, at most as many as can vote. ``None``: those of the papers, 10, 20, 100 and 200, that
            are not too large.
        feature: as for ``extract_features``, also ``out_indices``, ``out_norm``, ``resize`` and ``crop``.
        out_indices: numbers of the blocks whose features are joined.
        out_norm: whether they pass the final norm.
        temperature: of the votes.
        resize: pixels of the short side before cropping.
        crop: pixels of the central square, or (height, width).
        **reading: attributes of :class:`mmrel.apis.class_folders.Reading`: ``batch_size``, ``workers``, ``progress``...

    Raises:
        FileNotFoundError: a folder, one of two splits or every image is missing.
        UsageError: ``val`` has images of a class that ``train`` has none of.
        ValueError: one class only, k larger than the number of images that can vote, or options that do not fit.
        TooManyBadSamplesError: more unreadable files than tolerated.
    """
    readout = choose_readout(backbone, feature, out_indices, out_norm)

    def prepare(batch: Any, training: bool) -> dict[str, Any]:
        return {**batch, "inputs": normalised(batch["inputs"], backbone)}

    method = _Method(
        str(readout),
        evaluation_transforms(resize, crop, backbone.patch_size),
        prepare,
        partial(embed, backbone, readout=readout),
    )
    with evaluation_mode(backbone):
        return _evaluate(method, split_folders(train, val), k, temperature, Reading(**reading))


def evaluate_thumbnails(
    train: str | Path,
    val: str | Path | None = None,
    k: Sequence[int] | None = None,
    size: int = THUMBNAIL_SIZE,
    temperature: float = 0.07,
    **reading: Any,
) -> KNNResult:
    """The same of the images' thumbnails: what a figure of :func:`evaluate_knn` is compared with.

    The features are those of :func:`mmrel.apis.baselines.thumbnail_features`, their mean over ``train`` subtracted:
    pixels are positive, so that all cosines would else be near 1.

    Args:
        train: as for :func:`evaluate_knn`, also ``val``, ``k``, ``temperature``, ``reading`` and the errors.
        val: the images to classify.
        k: numbers of neighbours.
        size: side of a thumbnail in pixels.
        temperature: of the votes.
        **reading: how the folders are read.
    """
    shrink = dict(type="mmpretrain.Resize", scale=(size, size), backend="pillow")
    method = _Method(
        f"{size}x{size} thumbnails",
        [{**shrink, "interpolation": "box"}, dict(type="mmpretrain.PackInputs")],
        lambda batch, training: {**batch, "inputs": torch.stack(batch["inputs"])},
        lambda pixels: pixels.flatten(1).float() / 255,
        centred=True,
    )
    return _evaluate(method, split_folders(train, val), k, temperature, Reading(**reading))


def _evaluate(
    method: _Method,
    folders: tuple[Path, Path | None],
    k: Sequence[int] | None,
    temperature: float,
    reading: Reading,
) -> KNNResult:
    train, val = folders
    loaders = labelled_loaders(train, val, method.transforms, reading)
    numbers = choose_numbers(k, _size(loaders[0]), leave_one_out=val is None)
    with shared_list(loaders) as listing:
        parts = _extract(method, loaders, reading.progress)
        if val is None:
            accuracy = leave_one_out_accuracy(parts[0], numbers, temperature)
        else:
            accuracy = knn_accuracy(parts[0], parts[1], numbers, temperature)
        unreadable = tuple(sorted(str(entry["path"]) for entry in read_bad_samples(listing)))
    top1, top5 = ({n: accuracy[f"top{top}_k{n}"] for n in numbers} for top in (1, 5))
    return KNNResult(
        top1,
        top5,
        str(train),
        None if val is None else str(val),
        num_train=len(parts[0][1]),
        num_val=len(parts[-1][1]),
        num_classes=len(parts[0][1].unique()),
        unreadable=unreadable,
        feature=method.name,
        width=parts[0][0].shape[1],
    )


def choose_numbers(k: Sequence[int] | None, count: int, leave_one_out: bool) -> tuple[int, ...]:
    """Numbers of neighbours that ``count`` training images allow; ``None`` chooses the papers'.

    Raises:
        ValueError: one is below 1 or larger than the number of images that can vote.
    """
    most = count - leave_one_out
    if k is None:
        return tuple(number for number in K if number <= most) or (most,)
    if not k or min(k) < 1 or max(k) > most:
        others = f"{most} others of each image" if leave_one_out else f"{most} training images"
        raise ValueError(f"k is {list(k)}; give numbers from 1 to {most}, the {others}")
    return tuple(k)


def _extract(
    method: _Method, loaders: list[DataLoader], progress: Progress | None
) -> list[Labelled]:
    """Features and labels of each folder; one progress over all."""
    total, before = sum(_size(loader) for loader in loaders), 0
    parts: list[Labelled] = []
    for loader in loaders:
        report = partial(_report, progress, before, total)
        features, labels = extract_features(method.extract, method.prepare, loader, report)
        parts.append((features, labels))
        before += _size(loader)
    mean = parts[0][0].mean(dim=0) if method.centred else 0.0
    return [(features - mean, labels) for features, labels in parts]


def _report(progress: Progress | None, before: int, total: int, done: int, size: int) -> None:
    if progress is not None:
        progress(before + done, total)


def _size(loader: DataLoader) -> int:
    return len(loader.dataset)  # type: ignore[arg-type]
