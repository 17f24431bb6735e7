"""Images from wherever they are, labelled or not, nested, of mixed sizes and formats."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from mmrel.datasets.bad_samples import (
    BadSampleLimit,
    TooManyBadSamplesError,
    UnreadableImageError,
)
from mmrel.datasets.loader_watch import SampleBoard
from mmrel.datasets.source_dataset import SourceDataset
from mmrel.datasets.sources.joined import Weights
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.datasets.transforms.load import DecodeImage
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.registry import DATASETS
from mmrel.structures import SampleKey
from mmrel.utils.errors import UsageError


@DATASETS.register_module()
class ImageFolder(SourceDataset):
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
        self.sample_board: SampleBoard | None = None
        super().__init__(
            data_root, with_label, weights, backend_args, extensions=extensions, **kwargs
        )

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

    def allowed_unreadable(self, size: int) -> int:
        """See :class:`SourceDataset`."""
        return self._limit.allowed(size)

    def check_pipeline(self) -> None:
        """See :class:`SourceDataset`."""
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

    def _candidates(self, key: SampleKey) -> Iterator[int]:
        """The sample's image, then those that would replace it, as positions."""
        yield self._image(key.epoch, key.index)
        replacements = sample_generator(key, Purpose.REPLACEMENT)
        for _ in range(self.max_refetch):
            yield self._image(key.epoch, int(replacements.integers(len(self))))

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
