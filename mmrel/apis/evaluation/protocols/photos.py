"""Which images a protocol looks at where labels do not matter."""

from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.datasets.folder_listing import list_classes, list_files
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES


def photos(data: EvaluationData, count: int) -> list[Path]:
    """The images that the user gave; else the first ones of the validation images, of all classes in turn."""
    if data.images:
        return list(data.images[:count])
    return _validation(data)[:count]


def spread_photos(data: EvaluationData, count: int) -> list[Path]:
    """Validation images, spread evenly over all; those that the user gave where there are no others."""
    files = _validation(data) or list(data.images)
    spread = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [files[index] for index in spread]


def _validation(data: EvaluationData) -> list[Path]:
    """Scenes with several objects where there are any, else images of classes."""
    if data.segmentation is not None:
        folder = data.segmentation / "images" / "validation"
        return [folder / name for name in list_files(str(folder), _is_image).images]
    if data.classification is None:
        return []
    folder = data.classification / "val"
    classes, _ = list_classes(str(folder), _is_image)
    rounds = zip_longest(*classes.values())
    return [folder / name for name in chain.from_iterable(rounds) if name is not None]


def _is_image(name: str) -> bool:
    return name.lower().endswith(tuple(IMAGE_SUFFIXES))
