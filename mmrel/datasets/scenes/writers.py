"""Writes painted scenes in four standard layouts.

========================  ==========================================================================
``classification/``       ``{train,val}/<class>/000000.jpg``: class folders, one main thing each
``detection/``            ``{train,val}/000000.jpg`` and ``annotations/instances_{train,val}.json``:
                          COCO, polygons, and run lengths for things with a hole
``segmentation/``         ``images/{training,validation}/000000.jpg`` and
                          ``annotations/{training,validation}/000000.png``: ADE20K, so read it with
                          ``reduce_zero_label=True``: value i + 1 is class i of
                          ``SEGMENTATION_CLASSES``, 255 is the ignored border around things
``davis/``                ``JPEGImages/480p/<sequence>/00000.jpg``,
                          ``Annotations/480p/<sequence>/00000.png`` (palette, 0 is background) and
                          ``ImageSets/2017/{train,val}.txt``
========================  ==========================================================================

Detection and segmentation hold the same scenes.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmrel.datasets.scenes.annotate import coco_annotations, object_mask, segmentation_mask
from mmrel.datasets.scenes.classes import CLASSES
from mmrel.datasets.scenes.draw import draw_portrait, draw_scene, keyed_rng
from mmrel.datasets.scenes.motion import draw_sequence, paint_sequence
from mmrel.datasets.scenes.paint import paint
from mmrel.datasets.scenes.scene import Picture
from mmrel.datasets.scenes.texture import SPLITS

LAYOUTS = ("classification", "detection", "segmentation", "davis")
ADE_FOLDERS = {"train": "training", "val": "validation"}
JPEG_QUALITY = 92

DAVIS_COLORS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
"""RGB of the values of a DAVIS mask, as in the original data set."""


@dataclass(frozen=True)
class Job:
    """One image, or one sequence, to write.

    Attributes:
        root: folder that holds the layouts.
        kind: ``"portrait"`` (classification), ``"scene"`` (detection, segmentation) or
            ``"sequence"`` (davis).
        layouts: which of ``LAYOUTS`` to write.
        split: ``"train"`` or ``"val"``.
        index: number within kind and split.
        size: side of the image in pixels.
        seed: of the data set.
    """

    root: Path
    kind: str
    layouts: tuple[str, ...]
    split: str
    index: int
    size: int
    seed: int

    def rng(self) -> np.random.Generator:
        """The generator of this image; no two kinds, splits or indices share one."""
        kinds = ("portrait", "scene", "sequence")
        stream = len(SPLITS) * kinds.index(self.kind) + SPLITS.index(self.split)
        return keyed_rng(self.seed, stream, self.index)


def _save(path: Path, image: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    image.save(buffer, **options)
    path.write_bytes(buffer.getvalue())


def _save_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    _save(path, Image.fromarray(image), format="JPEG", quality=JPEG_QUALITY)


def _save_palette(
    path: Path, mask: NDArray[np.uint8], colors: tuple[tuple[int, int, int], ...]
) -> None:
    image = Image.fromarray(mask, mode="P")
    image.putpalette([channel for color in colors for channel in color])
    _save(path, image, format="PNG")


def _write_portrait(job: Job) -> None:
    label = job.index % len(CLASSES)
    picture = paint(draw_portrait(job.rng(), job.split, job.size, label))
    folder = job.root / "classification" / job.split / CLASSES[label]
    _save_jpeg(folder / f"{job.index:06d}.jpg", picture.image)


def _write_segmentation(job: Job, picture: Picture) -> None:
    folder, split = job.root / "segmentation", ADE_FOLDERS[job.split]
    _save_jpeg(folder / "images" / split / f"{job.index:06d}.jpg", picture.image)
    mask = Image.fromarray(segmentation_mask(picture))
    _save(folder / "annotations" / split / f"{job.index:06d}.png", mask, format="PNG")


def _write_scene(job: Job) -> list[dict[str, Any]]:
    picture = paint(draw_scene(job.rng(), job.split, job.size))
    if "segmentation" in job.layouts:
        _write_segmentation(job, picture)
    if "detection" not in job.layouts:
        return []
    _save_jpeg(job.root / "detection" / job.split / f"{job.index:06d}.jpg", picture.image)
    return coco_annotations(picture)


def sequence_name(split: str, index: int) -> str:
    """Folder name of a sequence."""
    return f"{split}-{index:04d}"


def _write_sequence(job: Job) -> None:
    name = sequence_name(job.split, job.index)
    for time, picture in enumerate(paint_sequence(draw_sequence(job.rng(), job.split, job.size))):
        folder = job.root / "davis"
        _save_jpeg(folder / "JPEGImages" / "480p" / name / f"{time:05d}.jpg", picture.image)
        mask = folder / "Annotations" / "480p" / name / f"{time:05d}.png"
        _save_palette(mask, object_mask(picture), DAVIS_COLORS)


def write(job: Job) -> list[dict[str, Any]]:
    """Paint and write what a job names.

    Returns:
        The COCO annotations of a scene; empty for the other kinds.
    """
    if job.kind == "scene":
        return _write_scene(job)
    if job.kind == "portrait":
        _write_portrait(job)
    else:
        _write_sequence(job)
    return []


def write_coco_file(
    root: Path, split: str, size: int, annotations: list[list[dict[str, Any]]]
) -> None:
    """Write ``instances_<split>.json`` from the annotations of image 0, 1, ...; ids start at 1."""
    images = [
        {"id": k + 1, "file_name": f"{k:06d}.jpg", "height": size, "width": size}
        for k in range(len(annotations))
    ]
    placed = [
        {**annotation, "image_id": k + 1} for k, own in enumerate(annotations) for annotation in own
    ]
    content = {
        "info": {"description": "mmrel scenes"},
        "images": images,
        "annotations": [{"id": k + 1, **annotation} for k, annotation in enumerate(placed)],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
    }
    path = root / "detection" / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_sequence_list(root: Path, split: str, count: int) -> None:
    """Write ``ImageSets/2017/<split>.txt``, one sequence name per line."""
    path = root / "davis" / "ImageSets" / "2017" / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = "".join(sequence_name(split, k) + "\n" for k in range(count))
    path.write_text(names, encoding="utf-8")
