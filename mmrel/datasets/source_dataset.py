"""A data set of mmpretrain whose images come from an image source: its index, labels, classes and subsets."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import CustomDataset
from numpy.typing import NDArray

from mmrel.datasets.class_numbers import number_classes
from mmrel.datasets.sources import ImageSource, open_sources
from mmrel.datasets.sources.annotation_file import AnnotatedSource, read_annotation_file
from mmrel.datasets.sources.fingerprint import image_hash
from mmrel.datasets.sources.joined import JoinedSource, Shares, Weights, weights_of
from mmrel.datasets.sources.look import check_folder, nothing_found
from mmrel.utils.errors import UsageError


class SourceDataset(CustomDataset):
    """What :class:`mmrel.ImageFolder` knows of its images; how a sample comes of them, it says itself.

    Args:
        data_root: one place or several; also the next ones see :class:`mmrel.ImageFolder`.
        with_label: whether images have classes.
        weights: how often an epoch shows the images of each place.
        backend_args: of MMEngine's file backend.
        **kwargs: as ``CustomDataset``.
    """

    _fully_initialized: bool
    ann_file: str

    def __init__(
        self,
        data_root: str | Sequence[str],
        with_label: bool,
        weights: Weights | None,
        backend_args: dict[str, Any] | None,
        **kwargs: Any,
    ) -> None:
        self.used_classes: frozenset[str] | None = None
        self.backend_args = backend_args
        given = [data_root] if isinstance(data_root, (str, Path)) else list(data_root)
        self.roots = [
            str(Path(r).expanduser()) if r and "://" not in str(r) else str(r) for r in given
        ]
        self._weights = None if weights is None else weights_of(weights, [str(r) for r in given])
        self._shares: Shares | None = None
        self.source: ImageSource
        self.positions: NDArray[np.int64]
        self.labels: NDArray[np.int32] | None = None
        super().__init__(data_root=" and ".join(self.roots), with_label=with_label, **kwargs)

    def full_init(self) -> None:
        """List the images; the pipeline may look at a sample of them (:class:`DecodeImage`)."""
        if self._fully_initialized:
            return
        self.source = self._open_source()
        self.check_pipeline()
        self.positions = self._label() if self.with_label else np.arange(len(self.source))
        if not self.with_label:
            self.source.announce()
        if not len(self.positions):
            raise FileNotFoundError(nothing_found(self.source, self.with_label, self.extensions))
        for transform in self.pipeline.transforms:
            if hasattr(transform, "resolve"):
                transform.resolve(self.source)
        self._fully_initialized = True
        if self._indices is not None:
            self.get_subset_(self._indices)
        if self._weights is not None:
            self._share(self._weights)

    def __len__(self) -> int:
        """Samples of an epoch: the images, unless roots have weights."""
        self.full_init()
        return len(self.positions) if self._shares is None else self._shares.total

    def allowed_unreadable(self, size: int) -> int:
        """How many of so many images may be missing or unreadable."""
        return 0

    def check_pipeline(self) -> None:
        """Refuse transforms that cannot read the source."""

    def fingerprint(self) -> str:
        """``<count>-<hash>`` of the sorted relative paths and of sizes; the same wherever the folder lies.

        See :func:`image_hash`. Weights count too.
        """
        self.full_init()
        settings = "" if self._shares is None else repr(self._shares)
        return f"{len(self)}-{image_hash(self.source, self.positions, settings)}"

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """``img_path``, ``sample_idx`` and, with labels, ``gt_label`` by the classes in force.

        Args:
            idx: the position of an image. Where roots have weights, it is not that of a sample.
        """
        self.full_init()
        place = int(self.positions[idx])
        info: dict[str, Any] = {"img_path": self.source.path(place)}
        if self.labels is not None:
            info["gt_label"] = int(self.labels[place])
        return {**info, "sample_idx": idx if idx >= 0 else len(self.positions) + idx}

    def get_gt_labels(self) -> NDArray[np.int64]:
        """The labels of all images."""
        self.full_init()
        assert self.labels is not None, "the data set was made without labels"
        return self.labels[self.positions].astype(np.int64)

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep some images: the first ``indices``, the last if it is negative, or those at these positions."""
        self.full_init()
        if self._weights is not None:
            raise UsageError(
                "a data set whose roots have weights has no subsets; leave `indices` or `weights` away"
            )
        if isinstance(indices, int):
            self.positions = self.positions[:indices] if indices >= 0 else self.positions[indices:]
        else:
            self.positions = self.positions[np.asarray(indices, np.int64)]

    def get_subset(self, indices: Sequence[int] | int) -> "SourceDataset":
        """A data set of some of the images."""
        self.full_init()
        subset: SourceDataset = self._copy_without_annotation()
        subset.get_subset_(indices)
        return subset

    def adopt_classes(self, names: Sequence[str]) -> None:
        """Number the classes by another list, which must have all those of which there are images.

        Args:
            names: the classes; a label becomes the position of its class's name in them.
        """
        assert self.labels is not None, "the data set was made without labels"
        position = {name: i for i, name in enumerate(names)}
        moved = np.array([*(position.get(name, -1) for name in self.CLASSES), -1], np.int32)
        self.labels = moved[self.labels]
        self._metainfo["classes"] = tuple(names)
        self.folder_to_idx = dict(position)

    def _join_prefix(self) -> None:
        """As ``BaseDataset``, but without asking a storage for how it joins paths."""
        root, prefix = self.data_root or "", self.data_prefix["img_path"]
        if len(self.roots) > 1 and (prefix or self.ann_file):
            raise UsageError(
                f"data_prefix={prefix!r} and ann_file={self.ann_file!r} are for one data_root, and there are "
                f"{len(self.roots)}; write the prefix into each, and give lists of images as data_root"
            )
        if self.ann_file and "://" not in self.ann_file:
            self.ann_file = os.path.join(root, self.ann_file)  # noqa: PTH118
        joined = prefix if "://" in prefix else os.path.join(root, prefix)  # noqa: PTH118
        self.data_prefix["img_path"] = joined

    def _open_source(self) -> ImageSource:
        roots = self.roots if len(self.roots) > 1 else [self.img_prefix.rstrip("/") or "/"]
        try:
            if self.ann_file:
                args = self.ann_file, self.with_label, self.backend_args
                return read_annotation_file(check_folder(self.img_prefix), *args)
            return open_sources(
                roots, self.is_valid_file, self.allowed_unreadable, self.backend_args
            )
        except PermissionError as error:
            raise PermissionError(
                f"data_root {self.img_prefix!r} cannot be read: {error}; make it readable"
            ) from error

    def _label(self) -> NDArray[np.int64]:
        """Number the classes; positions of the images that have one, by class."""
        if isinstance(self.source, AnnotatedSource):
            self.labels = self.source.labels
            return np.arange(len(self.source))
        found = self.source.classes()
        with_class = np.flatnonzero(found.ids >= 0)
        if not len(with_class):
            raise FileNotFoundError(nothing_found(self.source, self.with_label, self.extensions))
        numbering = number_classes(self.img_prefix, found, self.CLASSES)
        self._metainfo["classes"], self.folder_to_idx, self.used_classes, self.labels = numbering
        self.source.announce(len(found.ids) - len(with_class))
        return with_class[np.argsort(found.ids[with_class], kind="stable")]

    def _share(self, weights: Sequence[float]) -> None:
        """Give each root its places in an epoch."""
        joined = (
            self.source if isinstance(self.source, JoinedSource) else JoinedSource([self.source])
        )
        roots = joined.source_of(self.positions)
        self.positions = self.positions[np.argsort(roots, kind="stable")]
        self._shares = Shares.of(np.bincount(roots, minlength=len(weights)).tolist(), weights)

    def _image(self, epoch: int, sample: int) -> int:
        """The position of the image that a sample of an epoch shows."""
        return sample if self._shares is None else self._shares.image(epoch, sample)
