"""Small data sets in their original files, turned into class folders, which every data set class reads."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mmrel.datasets.converters.aircraft import convert_aircraft
from mmrel.datasets.converters.cars import convert_cars
from mmrel.datasets.converters.cifar import CIFAR10, CIFAR100, convert_cifar
from mmrel.datasets.converters.cub import convert_cub
from mmrel.datasets.converters.elpv import convert_elpv
from mmrel.datasets.converters.flowers102 import convert_flowers102
from mmrel.datasets.converters.folders import Entry, write_class_folders
from mmrel.datasets.converters.imagenet_subset import convert_imagenet_subset
from mmrel.datasets.converters.pets import convert_pets
from mmrel.datasets.converters.source import WrongLayoutError
from mmrel.datasets.converters.stl10 import convert_stl10
from mmrel.datasets.converters.svhn import convert_svhn
from mmrel.datasets.converters.tiny_imagenet import convert_tiny_imagenet

CONVERTERS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    "aircraft": convert_aircraft,
    "cars": convert_cars,
    "cifar10": partial(convert_cifar, CIFAR10),
    "cifar100": partial(convert_cifar, CIFAR100),
    "cub": convert_cub,
    "flowers102": convert_flowers102,
    "pets": convert_pets,
    "stl10": convert_stl10,
    "svhn": convert_svhn,
    "tiny-imagenet": convert_tiny_imagenet,
}
DRAWN: dict[str, Callable[[Path, int], Iterator[Entry]]] = {
    "elpv": convert_elpv,
    "elpv-defects": partial(convert_elpv, by_type=False),
}
"""Those that are published without splits, which are drawn with a seed."""

SUBSET = "imagenet100"
NAMES = tuple(sorted([*CONVERTERS, *DRAWN, SUBSET]))
"""What :func:`convert_dataset` knows."""


def convert_dataset(
    name: str, source: Path, out: Path, classes: Path | None = None, seed: int = 0
) -> dict[str, int]:
    """Write a data set as ``out/<split>/<class>/<image>``.

    Args:
        name: one of ``NAMES``.
        source: the original archive, or the folder that it was extracted to; for ``'elpv'`` and ``'elpv-defects'``
            also ``installed``, the package of the extra ``evidence``.
        out: folder to write; it must not exist.
        classes: for ``'imagenet100'``: a text file with one class folder per line.
        seed: for those of ``DRAWN``: of the split.

    Returns:
        Number of images, for ``'imagenet100'`` of classes, in each split.

    Raises:
        ValueError: an unknown name; or a name in the data that would lead out of its folder.
        WrongLayoutError: a file is not where it should be.
        FileExistsError: ``out`` exists.
        ModuleNotFoundError: a package that reads the data, or holds it, is not installed.
    """
    if name not in NAMES:
        raise ValueError(f"there is no converter for {name!r}; choose one of {', '.join(NAMES)}")
    try:
        return write_class_folders(_entries(name, source, classes, seed), out)
    except (OSError, ValueError, ModuleNotFoundError):
        raise
    except Exception as error:  # whatever a damaged or crafted file provokes
        raise WrongLayoutError(
            f"{source} does not hold {name} as it was published ({type(error).__name__}: {str(error)[:200]}); "
            "nothing was written. Download it again"
        ) from error


def _entries(name: str, source: Path, classes: Path | None, seed: int) -> Iterator[Entry]:
    if name == SUBSET:
        return convert_imagenet_subset(source, classes)
    return DRAWN[name](source, seed) if name in DRAWN else CONVERTERS[name](source)


__all__ = ["CONVERTERS", "DRAWN", "NAMES", "SUBSET", "WrongLayoutError", "convert_dataset"]
