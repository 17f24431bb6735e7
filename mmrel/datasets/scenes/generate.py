"""Makes the whole data set: many processes, the same bytes whatever their number.

All files are written into ``<root>/.unfinished`` and moved to their place at the end; the stamp
``scenes.json``, which holds the parameters, comes last. Hence a root with a stamp is complete.
"""

import json
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from mmrel.datasets.scenes import writers
from mmrel.datasets.scenes.classes import CLASSES, SEGMENTATION_CLASSES, STUFF
from mmrel.datasets.scenes.texture import PHOTOS, SPLITS, photo_path
from mmrel.datasets.scenes.writers import LAYOUTS, Job
from mmrel.utils.device import usable_cores
from mmrel.utils.files import read_json_object, write_text_atomically

VERSION = 2
"""Raised whenever the same parameters would give other pixels or annotations."""

STAMP = "scenes.json"
UNFINISHED = ".unfinished"
MIN_IMAGE_SIZE = 32
MAX_WORKERS = 16
IMAGES_PER_SEQUENCE = 100
"""There is one sequence for so many images, at least one in each split."""


@dataclass(frozen=True)
class Parameters:
    """What the written bytes depend on; the content of the stamp."""

    num_train: int
    num_val: int
    image_size: int
    class_image_size: int
    seed: int
    layouts: tuple[str, ...]

    def stamp(self) -> dict[str, Any]:
        """The stamp as JSON content."""
        values = {**asdict(self), "layouts": list(self.layouts)}
        names = {"classes": list(CLASSES), "stuff": list(STUFF)}
        return {"version": VERSION, **values, **names}

    def count(self, split: str) -> int:
        """Number of images of a split."""
        return self.num_train if split == "train" else self.num_val

    def sequences(self, split: str) -> int:
        """Number of sequences of a split."""
        return max(1, self.count(split) // IMAGES_PER_SEQUENCE)


@dataclass(frozen=True)
class SceneSummary:
    """What ``make_scenes`` did.

    Attributes:
        root: where the data set is.
        parameters: of the data set.
        skipped: whether it was there already.
        seconds: that writing took.
    """

    root: Path
    parameters: Parameters
    skipped: bool
    seconds: float

    def __str__(self) -> str:
        """A few lines for the console."""
        own = self.parameters
        state = "already complete" if self.skipped else f"written in {self.seconds:.1f} s"
        lines = [f"scenes in {self.root}: {state}"]
        for layout in own.layouts:
            unit, counts = "images", [own.count(split) for split in SPLITS]
            size, kinds = own.image_size, len(CLASSES)
            if layout == "davis":
                unit, counts = "sequences", [own.sequences(split) for split in SPLITS]
            if layout == "classification":
                size = own.class_image_size
            if layout == "segmentation":
                kinds = len(SEGMENTATION_CLASSES)
            head = f"  {layout:14s} {counts[0]} train and {counts[1]} val {unit}"
            lines.append(f"{head}, {size} x {size} pixels, {kinds} classes")
        return "\n".join(lines)


def _check(own: Parameters, workers: int) -> None:
    least = {
        "num_train": 1,
        "num_val": 1,
        "image_size": MIN_IMAGE_SIZE,
        "class_image_size": MIN_IMAGE_SIZE,
        "seed": 0,
    }
    for name, bound in least.items():
        value = getattr(own, name)
        if value < bound:
            raise ValueError(f"{name} is {value}, but must be at least {bound}. Pass a larger one.")
    if workers < 1:
        raise ValueError(f"workers is {workers}, but at least 1 process is needed. Pass 1 or more.")
    unknown = [layout for layout in own.layouts if layout not in LAYOUTS]
    if unknown or not own.layouts:
        raise ValueError(
            f"layouts is {list(own.layouts)}, but must name one or more of {list(LAYOUTS)}. "
            "Remove or correct the others."
        )


def _is_complete(root: Path, own: Parameters, overwrite: bool) -> bool:
    """Whether root holds exactly this data set; an error if it holds something else."""
    stamp = root / STAMP
    found = read_json_object(stamp)
    if found == own.stamp():
        return True
    taken = [name for name in (*LAYOUTS, STAMP) if (root / name).exists()]
    if not taken or overwrite:
        return False
    wanted = own.stamp()
    different = [
        f"{key}: {found.get(key)!r} there, {wanted[key]!r} wanted"
        for key in (wanted if found else ())
        if found and found.get(key) != wanted[key]
    ]
    reason = "; ".join(different) or f"no stamp {STAMP}, so it is unfinished or something else"
    raise FileExistsError(
        f"{root} already holds {', '.join(taken)}, but not these scenes ({reason}). Choose another "
        "root, delete it, or let it be written anew with overwrite=True (--overwrite)."
    )


def _jobs(folder: Path, own: Parameters, split: str) -> dict[str, list[Job]]:
    dense = tuple(name for name in own.layouts if name in ("detection", "segmentation"))
    plan = {
        "portrait": ("classification" in own.layouts, own.count(split), own.class_image_size),
        "scene": (bool(dense), own.count(split), own.image_size),
        "sequence": ("davis" in own.layouts, own.sequences(split), own.image_size),
    }
    return {
        kind: [Job(folder, kind, own.layouts, split, k, size, own.seed) for k in range(count)]
        for kind, (wanted, count, size) in plan.items()
        if wanted
    }


@contextmanager
def _single_threaded_cv2() -> Iterator[None]:
    """Keep OpenCV from using threads: a forked process would wait for those of its parent.

    Where it uses none, nothing is set: if this process is itself a fork, setting the number would wait for them, too.
    """
    threads = cv2.getNumThreads()
    if threads == 1:
        yield
        return
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _results(jobs: Sequence[Job], workers: int) -> Iterator[list[dict[str, Any]]]:
    if workers == 1:
        yield from map(writers.write, jobs)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else None)
    with _single_threaded_cv2(), ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(writers.write, jobs, chunksize=16)


def _write_all(folder: Path, own: Parameters, workers: int) -> None:
    plans = {split: _jobs(folder, own, split) for split in SPLITS}
    jobs = [job for plan in plans.values() for kind in plan.values() for job in kind]
    annotations: dict[str, list[list[dict[str, Any]]]] = {split: [] for split in SPLITS}
    for job, result in zip(jobs, _results(jobs, workers), strict=True):
        if job.kind == "scene":
            annotations[job.split].append(result)
    for split, plan in plans.items():
        if "detection" in own.layouts:
            writers.write_coco_file(folder, split, own.image_size, annotations[split])
        if "davis" in own.layouts:
            writers.write_sequence_list(folder, split, len(plan["sequence"]))


def _install(root: Path, folder: Path, own: Parameters) -> None:
    """Move the layouts to their place: the old stamp goes first, the new one comes last."""
    (root / STAMP).unlink(missing_ok=True)
    for layout in LAYOUTS:
        shutil.rmtree(root / layout, ignore_errors=True)
    for layout in own.layouts:
        (folder / layout).rename(root / layout)
    write_text_atomically(root / STAMP, json.dumps(own.stamp(), indent=2) + "\n")
    folder.rmdir()


def make_scenes(
    root: str | Path,
    num_train: int = 2000,
    num_val: int = 500,
    image_size: int = 128,
    class_image_size: int = 96,
    seed: int = 0,
    layouts: Sequence[str] = LAYOUTS,
    workers: int | None = None,
    overwrite: bool = False,
) -> SceneSummary:
    """Write the bundled data set of annotated scenes; see ``writers`` for the layouts.

    The bytes depend on the counts, sizes, seed and layouts alone, not on the number of workers. A
    root that is complete with the same parameters is left as it is.

    Args:
        root: folder to hold one sub-folder per layout and the stamp ``scenes.json``.
        num_train: training images of each layout, at least 1; one sequence for each hundred.
        num_val: the same for validation.
        image_size: side of the images in pixels, at least 32.
        class_image_size: the same for the class folders.
        seed: of all draws, at least 0.
        layouts: which of ``LAYOUTS`` to write.
        workers: processes; by default one per usable core, at most 16.
        overwrite: whether layouts in root made otherwise are replaced.

    Raises:
        ValueError: if an argument is out of range.
        FileExistsError: if root holds other or unfinished layouts and overwrite is False.
        FileNotFoundError: if a photograph is not installed.
    """
    started = time.perf_counter()
    ordered = tuple(name for name in LAYOUTS if name in layouts)
    strange = tuple(name for name in layouts if name not in LAYOUTS)
    own = Parameters(num_train, num_val, image_size, class_image_size, seed, ordered + strange)
    workers = min(MAX_WORKERS, usable_cores()) if workers is None else workers
    _check(own, workers)
    root = Path(root)
    if _is_complete(root, own, overwrite):
        return SceneSummary(root, own, True, 0.0)
    for name in PHOTOS:
        photo_path(name)
    folder = root / UNFINISHED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write_all(folder, own, workers)
    _install(root, folder, own)
    return SceneSummary(root, own, False, time.perf_counter() - started)
