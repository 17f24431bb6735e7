"""Features of a whole folder of images, and the file that keeps them."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from mmrel.apis.features import (
    CROP,
    Readout,
    Side,
    choose_readout,
    embed,
    evaluation_transforms,
)
from mmrel.datasets.bad_samples import connect_bad_sample_log, read_bad_samples
from mmrel.datasets.loader_watch import watched_batches
from mmrel.datasets.sources import Classes
from mmrel.evaluation.images import normalised
from mmrel.evaluation.loading import build_loader, evaluation_mode, usual_workers
from mmrel.models.backbones import ViT
from mmrel.utils.files import write_atomically
from mmrel.utils.text import listed

NO_LABEL = -1
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FolderFeatures:
    """Features of the N readable images of a folder, in the order of their paths.

    Attributes:
        features: float32 ``(N, C)``.
        labels: int64 ``(N,)``: position in ``classes`` of the first folder level; -1 for images that lie directly in
            the folder.
        classes: names of the folders on the first level, sorted; also those without images, so that several folders
            with the same classes count alike.
        paths: relative to the folder, with slashes.
        unreadable: path and reason of each file that was left out.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]

    def save(self, path: Path) -> None:
        """Write ``features``, ``labels``, ``classes`` and ``paths`` as ``.npz``; whole or not at all.

        The file holds plain arrays: ``numpy.load`` reads it as it is, without unpickling.
        """
        arrays: dict[str, Any] = {
            "features": self.features,
            "labels": self.labels,
            "classes": np.array(self.classes, dtype=np.str_),
            "paths": np.array(self.paths, dtype=np.str_),
        }
        write_atomically(path, lambda file: np.savez(file, **arrays))


def extract_folder(
    backbone: ViT,
    folder: Path | str,
    unreadable_list: Path,
    feature: str | None = None,
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    resize: int | None = None,
    crop: Side = CROP,
    max_bad_fraction: float = 0.001,
    progress: Progress | None = None,
    classes: Sequence[str] | None = None,
    bit_depth: int | str = "auto",
) -> FolderFeatures:
    """Compute the features of all images in a folder and its subfolders.

    An unreadable file is listed and left out. More than ``max(1, ceil(max_bad_fraction * files))`` of them stop the
    extraction, as they stop a training.

    Args:
        backbone: as ``get_backbone`` gives it.
        folder: of images, or whatever else ``mmrel.ImageFolder`` takes as ``data_root``.
        unreadable_list: file for the unreadable files, a JSON line each; written only if there are any.
        feature: as for ``extract_features``, also the next three, ``resize`` and ``crop``.
        out_indices: numbers of the blocks whose features are joined.
        out_norm: whether they pass the final norm.
        batch_size: images that are computed at once.
        workers: processes that read images; 0: this one; ``None``: one per core, at most 4.
        resize: pixels of the short side.
        crop: pixels of the central square, or (height, width).
        max_bad_fraction: share of unreadable files that is tolerated.
        progress: is called with the number of images done and of all, at the start and after each batch.
        classes: what labels are positions in, where they shall compare with another folder's: that one's ``classes``.
            ``None``: the folders on the first level.
        bit_depth: significant bits of 16-bit values, as for ``mmrel.DecodeImage``.

    Raises:
        FileNotFoundError: the folder is missing or holds no image.
        UsageError: a list, archive or table cannot be read.
        ValueError: there are images of a class that ``classes`` does not have, or options that do not fit.
        TooManyBadSamplesError: more unreadable files than tolerated.
    """
    readout = choose_readout(backbone, feature, out_indices, out_norm)
    dataset = dict(
        type="mmrel.ImageFolder",
        data_root=str(folder),
        max_bad_fraction=max_bad_fraction,
        pipeline=[
            dict(type="mmrel.DecodeImage", bit_depth=bit_depth),
            *evaluation_transforms(resize, crop, backbone.patch_size),
        ],
    )
    workers = usual_workers() if workers is None else workers
    loader = build_loader(dict(batch_size=batch_size, num_workers=workers, dataset=dataset))
    all_names = _relative_paths(loader.dataset)
    found = loader.dataset.source.classes()  # type: ignore[attr-defined]
    listed = _listed_classes(folder, found, classes)
    run = uuid.uuid4().hex
    connect_bad_sample_log(loader.dataset, unreadable_list, run)
    features, kept = _extract(backbone, loader, readout, progress or (lambda done, count: None))
    names = [all_names[index] for index in kept]
    bad = tuple((e["path"], e["reason"]) for e in read_bad_samples(unreadable_list, run))
    return FolderFeatures(features, _labels(found, kept, listed), listed, tuple(names), bad)


def _extract(
    backbone: ViT, loader: DataLoader, readout: Readout, progress: Progress
) -> tuple[NDArray[np.float32], list[int]]:
    """Features of the readable images, and their positions in the data set."""
    rows: list[Tensor] = []
    kept: list[int] = []
    done, count = 0, len(loader.dataset)  # type: ignore[arg-type]
    progress(done, count)
    with evaluation_mode(backbone), torch.inference_mode(), watched_batches(loader) as batches:
        for batch in batches:
            found = _own(batch["data_samples"], done)
            images = normalised(batch["inputs"], backbone)
            rows.append(embed(backbone, images, readout).cpu()[found])
            kept.extend(done + row for row in found)
            done += len(batch["inputs"])
            progress(done, count)
    return torch.cat(rows).numpy(), kept


def _own(samples: list[Any], first: int) -> list[int]:
    """Rows of a batch whose image is the one asked for: an unreadable file was replaced by another one."""
    return [row for row, sample in enumerate(samples) if sample.sample_idx == first + row]


def _relative_paths(dataset: Any) -> list[str]:
    return [dataset.source.name(index) for index in range(len(dataset))]


def _listed_classes(
    folder: Path | str, found: Classes, given: Sequence[str] | None
) -> tuple[str, ...]:
    """The given classes or, without, those that the source has."""
    if given is None:
        return found.names
    used = {found.names[number] for number in np.unique(found.ids[found.ids >= 0])}
    if unknown := sorted(used - set(given)):
        raise ValueError(
            f"{folder} has images of {len(unknown)} class(es) that are not among the {len(given)} given ones: "
            f"{listed(unknown)}. Give a list that has them all, or remove these folders"
        )
    return tuple(given)


def _labels(found: Classes, kept: list[int], classes: tuple[str, ...]) -> NDArray[np.int64]:
    numbers = {name: i for i, name in enumerate(classes)}
    moved = np.array([*(numbers.get(name, NO_LABEL) for name in found.names), NO_LABEL], np.int64)
    return moved[found.ids[kept]]
