"""Any folder of images, labelled or not, nested, of mixed sizes and formats."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.fileio import list_from_file
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from mmrel.datasets.bad_samples import (
    BadSampleLog,
    TooManyBadSamplesError,
    UnreadableImageError,
    allowed_bad_samples,
)
from mmrel.datasets.folder_listing import announce, list_classes, list_files
from mmrel.datasets.loader_watch import SampleBoard
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.registry import DATASETS
from mmrel.structures import SampleKey
from mmrel.utils.names import leads_down
from mmrel.utils.text import listed

MAX_LISTED = 10_000
MAX_SIZES = 100_000


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset`` for pretraining: ``data_root`` is all that must be given.

    The index (paths, labels) is one NumPy buffer that workers share. A sample is asked for by a
    :class:`SampleKey`, which is passed on in ``results['key']``; a bare integer means seed 0 and
    epoch 0.

    A file that the pipeline cannot read (``mmrel.DecodeImage``) is replaced by another one whose
    index is a function of the key, and listed with path and reason in ``bad_samples_file`` (set by
    ``mmrel.BadSampleHook``; without it a warning is logged). More than ``max(min_bad_allowed,
    ceil(max_bad_fraction * len))`` unreadable files stop the run.

    Args:
        data_root: the folder; ``~`` is expanded. Files and folders may be links. Hidden files and folders, whose
            names begin with a dot, are passed over. What else is left out is counted in the log.
        with_label: take the first folder level as class names (k-NN, linear probe). Files that lie
            directly in ``data_root`` are then left out. By default every image counts, unlabelled.
            A label is a position in the sorted names, or in ``classes``.
        extensions: file name endings that count as images, any case.
        max_bad_fraction: share of unreadable files that is tolerated.
        min_bad_allowed: number of unreadable files that is always tolerated.
        **kwargs: as ``CustomDataset``: pipeline, ann_file (a list of relative paths), indices, ... ``classes`` may
            hold the folders' names in another order, or more of them; or other names for the sorted folders.

    Raises:
        FileNotFoundError: if the folder is missing or holds no image.
        ValueError: if ``classes`` knows some of the folders, but not all that hold images.
    """

    def __init__(
        self,
        data_root: str = "",
        with_label: bool = False,
        extensions: Sequence[str] = IMAGE_SUFFIXES,
        max_bad_fraction: float = 0.001,
        min_bad_allowed: int = 1,
        **kwargs: Any,
    ) -> None:
        if not 0 <= max_bad_fraction <= 1 or min_bad_allowed < 0:
            raise ValueError(
                f"max_bad_fraction is {max_bad_fraction} and min_bad_allowed is {min_bad_allowed}; "
                "give a share in [0, 1] and a number of files, 0 or more"
            )
        self.max_bad_fraction = max_bad_fraction
        self.min_bad_allowed = min_bad_allowed
        self.bad_samples_file: str | None = None
        self.bad_samples_run = ""
        self._bad_samples: BadSampleLog | None = None
        self._new_labels: list[int] | None = None
        self.used_classes: frozenset[str] | None = None
        self.sample_board: SampleBoard | None = None
        super().__init__(
            data_root=str(Path(data_root).expanduser()) if data_root else "",
            with_label=with_label,
            extensions=extensions,
            **kwargs,
        )

    def __getitem__(self, idx: SampleKey | int) -> dict[str, Any]:
        """The sample of a key after the pipeline, or its replacement.

        Args:
            idx: a key, or an index.

        Returns:
            What the pipeline makes of ``img_path``, ``key``, ``sample_idx`` (the file really used)
            and, with labels, ``gt_label``.
        """
        if not self._fully_initialized:
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

        The sizes are those of all files, or of 100,000 spread evenly: what a file system answers slowly must not
        delay the start of a run. A file that is gone counts as one without size.
        """
        root = os.fspath(self.img_prefix)
        paths = sorted(os.fsencode(self.get_data_info(i)["img_path"]) for i in range(len(self)))
        step = max(1, -(-len(paths) // MAX_SIZES))
        digest = hashlib.sha256()
        for position, path in enumerate(paths):
            size = _size(path) if position % step == 0 else b""
            digest.update(os.path.relpath(path, os.fsencode(root)) + b"\0" + size + b"\n")
        return f"{len(self)}-{digest.hexdigest()[:16]}"

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """As ``CustomDataset``, with the label by the classes in force."""
        info: dict[str, Any] = super().get_data_info(idx)
        if self._new_labels is not None and "gt_label" in info:
            info["gt_label"] = self._new_labels[info["gt_label"]]
        return info

    def adopt_classes(self, names: Sequence[str]) -> None:
        """Number the classes by another list, which must have all those of which there are images.

        Args:
            names: the classes; a label becomes the position of its class's name in them.
        """
        position = {name: i for i, name in enumerate(names)}
        now = self._new_labels or list(range(len(self.CLASSES)))
        moved = {i: position.get(name, -1) for i, name in enumerate(self.CLASSES)}
        self._new_labels = [moved.get(label, -1) for label in now]
        self._metainfo["classes"] = tuple(names)
        self.folder_to_idx = dict(position)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Paths and labels; those that a list of files names must lie in the folder.

        Then the pipeline may look at a sample of the files (:class:`DecodeImage`).

        Raises:
            FileNotFoundError: there is no file ``ann_file``.
            ValueError: a line of it leads out of the folder, or is no path with its label.
        """
        if self.ann_file:
            self._check_list(self.ann_file)
        infos: list[dict[str, Any]] = super().load_data_list()
        for transform in self.pipeline.transforms:
            if hasattr(transform, "resolve"):
                transform.resolve([info["img_path"] for info in infos])
        return infos

    def _check_list(self, ann_file: str) -> None:
        entry = f"a path below {self.img_prefix!r}"
        entry += " and the number of its class" if self.with_label else ""
        if "://" not in ann_file and not Path(ann_file).is_file():
            raise FileNotFoundError(
                f"there is no list of images at {ann_file!r}: write {entry} in each line, or correct ann_file in the "
                "data set's config"
            )
        for number, line in enumerate(list_from_file(ann_file), start=1):
            path, _, label = line.strip().rpartition(" ") if self.with_label else (line, "", "0")
            if not leads_down(path) or not label.isdecimal():
                raise ValueError(
                    f"line {number} of {ann_file} is {line[:80]!r}; wanted {entry}, without '..'"
                )

    def _candidates(self, key: SampleKey) -> Iterator[int]:
        yield key.index
        replacements = sample_generator(key, Purpose.REPLACEMENT)
        for _ in range(self.max_refetch):
            yield int(replacements.integers(len(self)))

    def _load(self, index: int, key: SampleKey) -> dict[str, Any] | None:
        """The sample, or ``None`` after having reported that its file is unreadable."""
        info = self.get_data_info(index)
        path = info["img_path"]
        info["key"] = key
        try:
            results = self.pipeline(info)
        except UnreadableImageError as error:
            self._report(index, error)
            return None
        if results is None:
            self._report(index, UnreadableImageError(path, "a transform returned None"))
        return results

    def _report(self, index: int, error: UnreadableImageError) -> None:
        log = self._connected_log()
        if log.record(error.path, index, error.reason) and log.file is None:
            print_log(f"unreadable file skipped: {error}", "current", logging.WARNING)
        allowed = allowed_bad_samples(len(self), self.max_bad_fraction, self.min_bad_allowed)
        if len(log.paths) > allowed:
            raise TooManyBadSamplesError(
                f"{len(log.paths)} of {len(self)} files in {self.img_prefix} are unreadable, the "
                f"latest is {error}; at most {allowed} are allowed: remove or repair the files "
                f"listed in {log.file or 'the log'}, or raise max_bad_fraction or min_bad_allowed "
                "of the data set"
            )

    def _connected_log(self) -> BadSampleLog:
        """The log of this process, made anew when the hook has named another file or run."""
        file = None if self.bad_samples_file is None else Path(self.bad_samples_file)
        log = self._bad_samples
        if log is None or (log.file, log.run) != (file, self.bad_samples_run):
            log = self._bad_samples = BadSampleLog(file, self.bad_samples_run)
        return log

    def _find_samples(self) -> list[Any]:
        root = self.img_prefix.rstrip("/") or "/"
        if "://" not in root and not Path(root).is_dir():
            what = "a file" if Path(root).exists() else "missing"
            raise FileNotFoundError(
                f"data_root {root!r} is {what}; it must be a folder of images "
                f"({' '.join(sorted(self.extensions))}): correct data_root in the data set's config"
            )
        try:
            return super()._find_samples() if "://" in root else self._list(root)
        except PermissionError as error:
            raise PermissionError(
                f"data_root {root!r} cannot be read: {error}; make it readable"
            ) from error
        except RuntimeError as error:  # mmpretrain's, from other places than the file system
            raise FileNotFoundError(self._nothing_found(root)) from error

    def _list(self, root: str) -> list[Any]:
        """Relative paths, with labels if wanted, of the images below a folder."""
        if not self.with_label:
            listing = list_files(root, self.is_valid_file)
            samples: list[Any] = list(listing.images)
            announce(root, listing)
        else:
            classes, listing = list_classes(root, self.is_valid_file)
            self._set_classes(classes)
            samples = [
                (path, self.folder_to_idx[name]) for name in classes for path in classes[name]
            ]
            announce(root, listing, len(listing.images) - len(samples))
            if empty := [name for name in classes if not classes[name]]:
                print_log(f"{root}: no image in {listed(empty)}", "current", logging.WARNING)
        if not samples:
            raise FileNotFoundError(self._nothing_found(root))
        return samples

    def _set_classes(self, folders: dict[str, list[str]]) -> None:
        """Number the folders: by ``classes`` if it knows them, else in their order."""
        given = None if self.CLASSES is None else tuple(self.CLASSES)
        used = [name for name, paths in folders.items() if paths]
        if given is not None and set(given).isdisjoint(folders) and len(given) == len(folders):
            self.folder_to_idx = {name: i for i, name in enumerate(folders)}
            self.used_classes = frozenset(given[self.folder_to_idx[name]] for name in used)
            return
        names = tuple(folders) if given is None else given
        if unknown := [name for name in used if name not in names]:
            raise ValueError(
                f"{self.img_prefix} has images in {len(unknown)} folder(s) that are not among the {len(names)} given "
                f"classes: {listed(unknown)}. Give `classes` all names of the folders, or one new name for each of "
                f"the {len(folders)} folders in their sorted order, or leave it away"
            )
        self._metainfo["classes"] = names
        self.used_classes = frozenset(used)
        position = {name: i for i, name in enumerate(names)}
        self.folder_to_idx = {name: position.get(name, -1) for name in folders}

    def _nothing_found(self, root: str) -> str:
        files = (name for _, _, names in os.walk(root) for name in names)
        endings = Counter(Path(name).suffix.lower() or "none" for name in islice(files, MAX_LISTED))
        where = "in its class folders" if self.with_label else "in it or in its subfolders"
        found = ", ".join(f"{n} x {e}" for e, n in endings.most_common(5)) or "no file at all"
        return (
            f"data_root {root!r} holds no image {where}; looked for "
            f"{' '.join(sorted(self.extensions))}, found by ending: {found}. Correct data_root, or "
            "set extensions or with_label=False"
        )


def _size(path: bytes) -> bytes:
    try:
        # Path would take as long as the call itself.
        return str(os.stat(path).st_size).encode()  # noqa: PTH116
    except OSError:
        return b"gone"
