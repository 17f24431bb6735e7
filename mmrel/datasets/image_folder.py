"""Images from wherever they are, labelled or not, nested, of mixed sizes and formats."""

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import CustomDataset
from numpy.typing import NDArray

from mmrel.datasets.bad_samples import (
    BadSampleLimit,
    TooManyBadSamplesError,
    UnreadableImageError,
)
from mmrel.datasets.class_numbers import number_classes
from mmrel.datasets.loader_watch import SampleBoard
from mmrel.datasets.sources import ImageSource, open_sources
from mmrel.datasets.sources.annotation_file import AnnotatedSource, read_annotation_file
from mmrel.datasets.sources.fingerprint import image_hash
from mmrel.datasets.sources.joined import JoinedSource, Shares, Weights, weights_of
from mmrel.datasets.sources.look import check_folder, nothing_found
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.datasets.transforms.load import DecodeImage
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.registry import DATASETS
from mmrel.structures import SampleKey
from mmrel.utils.errors import UsageError


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset`` for pretraining: ``data_root`` is all that must be given.

    What ``data_root`` is, is told by looking at it: a folder of images; a text file that lists them; a zip or tar
    archive, or a folder of such shards; Parquet or Arrow files; an address that MMEngine's backends reach
    (:mod:`mmrel.datasets.sources`). The index (paths, labels) is a few NumPy buffers that workers share. A sample is
    asked for by a :class:`SampleKey`, which is passed on in ``results['key']``; a bare integer means seed 0 and
    epoch 0.

    A file that the pipeline cannot read (``mmrel.DecodeImage``) is replaced by another one whose
    index is a function of the key, and listed with path and reason in ``bad_samples_file`` (set by
    ``mmrel.BadSampleHook``; without it a warning is logged). More than ``max(min_bad_allowed,
    ceil(max_bad_fraction * len))`` unreadable files stop the run.

    Args:
        data_root: where the images are, or several such places; ``~`` is expanded. Files and folders may be links.
            Hidden files and folders, whose names begin with a dot, are passed over. What else is left out is counted
            in the log.
        with_label: take the first folder level as class names (k-NN, linear probe), or what a list or a table says.
            Images without a class are then left out. By default every image counts, unlabelled.
            A label is a position in the sorted names, or in ``classes``.
        extensions: file name endings that count as images, any case.
        max_bad_fraction: share of unreadable files that is tolerated.
        min_bad_allowed: number of unreadable files that is always tolerated.
        weights: of several places: how often an epoch shows each image of them, see :class:`Shares`; a number for
            each, or a dict for some. An epoch then has ``round(weight * images)`` samples of each. By default each
            image is shown once.
        backend_args: of MMEngine's file backend, such as ``dict(backend='petrel')``.
        **kwargs: as ``CustomDataset``: pipeline, ann_file (a list of relative paths), indices, ... ``classes`` may
            hold the folders' names in another order, or more of them; or other names for the sorted folders.

    Raises:
        FileNotFoundError: if a place is missing or holds no image.
        UsageError: if an archive, list or table is damaged or of no use.
        ValueError: if ``classes`` knows some of the folders, but not all that hold images.
    """

    _fully_initialized: bool

    def __init__(
        self,
        data_root: str | Sequence[str] = "",
        with_label: bool = False,
        extensions: Sequence[str] = IMAGE_SUFFIXES,
        max_bad_fraction: float = 0.001,
        min_bad_allowed: int = 1,
        weights: Weights | None = None,
        backend_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._limit = BadSampleLimit(max_bad_fraction, min_bad_allowed)
        self.bad_samples_file: str | None = None
        self.bad_samples_run = ""
        self.used_classes: frozenset[str] | None = None
        self.sample_board: SampleBoard | None = None
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
        super().__init__(
            data_root=" and ".join(self.roots),
            with_label=with_label,
            extensions=extensions,
            **kwargs,
        )

    def full_init(self) -> None:
        """List the images; the pipeline may look at a sample of them (:class:`DecodeImage`)."""
        if self._fully_initialized:
            return
        self.source = self._open_source()
        self._check_pipeline()
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

    def __getitem__(self, idx: SampleKey | int) -> dict[str, Any]:
        """The sample of a key after the pipeline, or its replacement.

        Args:
            idx: a key, or an index.

        Returns:
            What the pipeline makes of ``img_path``, ``key``, ``sample_idx`` (the file really used)
            and, with labels, ``gt_label``.
        """
        self.full_init()
        key = idx if isinstance(idx, SampleKey) else SampleKey(0, 0, int(idx))
        for index in self._candidates(key):
            with self.sample_board.working_on(index) if self.sample_board else nullcontext():
                results = self._load(index, key)
            if results is not None:
                return results
        raise TooManyBadSamplesError(
            f"no readable image among {self.max_refetch + 1} tries for sample {key.index} of "
            f"{self.img_prefix}: check that the files are images"
        )

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

    def get_subset(self, indices: Sequence[int] | int) -> "ImageFolder":
        """A data set of some of the images."""
        self.full_init()
        subset: ImageFolder = self._copy_without_annotation()
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
        root = self.data_root or ""
        if self.ann_file and "://" not in self.ann_file:
            self.ann_file = os.path.join(root, self.ann_file)  # noqa: PTH118
        prefix = self.data_prefix["img_path"]
        joined = prefix if "://" in prefix else os.path.join(root, prefix)  # noqa: PTH118
        self.data_prefix["img_path"] = joined

    def _open_source(self) -> ImageSource:
        roots = self.roots if len(self.roots) > 1 else [self.img_prefix.rstrip("/") or "/"]
        try:
            if self.ann_file:
                args = self.ann_file, self.with_label, self.backend_args
                return read_annotation_file(check_folder(roots[0]), *args)
            return open_sources(roots, self.is_valid_file, self._limit.allowed, self.backend_args)
        except PermissionError as error:
            raise PermissionError(
                f"data_root {self.img_prefix!r} cannot be read: {error}; make it readable"
            ) from error

    def _check_pipeline(self) -> None:
        transforms = self.pipeline.transforms
        self._hands_over = not self.source.plain_files and any(
            isinstance(t, DecodeImage) for t in transforms
        )
        if transforms and not self.source.plain_files and not self._hands_over:
            raise UsageError(
                f"{self.source.root} holds images that are no files of their own, which mmrel.DecodeImage alone reads; "
                f"the pipeline has {', '.join(type(t).__name__ for t in transforms)}. Begin it with "
                "dict(type='mmrel.DecodeImage')."
            )

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

    def _candidates(self, key: SampleKey) -> Iterator[int]:
        """The sample's image, then those that would replace it, as positions."""
        yield self._image(key.epoch, key.index)
        replacements = sample_generator(key, Purpose.REPLACEMENT)
        for _ in range(self.max_refetch):
            yield self._image(key.epoch, int(replacements.integers(len(self))))

    def _image(self, epoch: int, sample: int) -> int:
        return sample if self._shares is None else self._shares.image(epoch, sample)

    def _load(self, index: int, key: SampleKey) -> dict[str, Any] | None:
        """The sample, or ``None`` after having reported that its file is unreadable."""
        info = self.get_data_info(index)
        path = info["img_path"]
        info["key"] = key
        if self._hands_over:
            info["img_reader"] = partial(self.source.read, int(self.positions[index]))
        try:
            results = self.pipeline(info)
        except UnreadableImageError as error:
            self._report(index, error)
            return None
        if results is None:
            self._report(index, UnreadableImageError(path, "a transform returned None"))
        return results

    def _report(self, index: int, error: UnreadableImageError) -> None:
        listed_in = self.bad_samples_file, self.bad_samples_run
        self._limit.report(error, index, len(self), self.img_prefix, *listed_in)
