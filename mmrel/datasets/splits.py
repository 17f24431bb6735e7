"""Some images of a folder of classes, as a list: the 1 % and 10 % of ImageNet, n per class, a share held out.

A list has one image a line, ``n01440764/n01440764_10026.JPEG 0``: the path below the folder, and the class's number
among the folder's sorted classes. mmpretrain's ``CustomDataset`` and ``ImageNet`` and ``mmrel.ImageFolder`` read it as
``ann_file``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmrel.datasets.folder_listing import list_classes
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.utils.files import write_text_atomically
from mmrel.utils.names import leads_down
from mmrel.utils.text import listed

Classes = Mapping[str, Sequence[str]]
"""Paths relative to a folder by class; the classes sorted."""


def images_by_class(folder: Path) -> dict[str, list[str]]:
    """The images below each folder of the first level.

    Raises:
        FileNotFoundError: the folder is missing or holds no image in a class folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder; give one with a folder of images per class"
        )
    classes, _ = list_classes(
        str(folder), lambda name: name.lower().endswith(tuple(IMAGE_SUFFIXES))
    )
    if not any(classes.values()):
        raise FileNotFoundError(
            f"{folder} holds no image in a class folder ({' '.join(sorted(IMAGE_SUFFIXES))})"
        )
    return classes


def draw_images(
    classes: Classes, shots: int | None = None, fraction: float | None = None, seed: int = 0
) -> list[str]:
    """Draw some images of every class, at random.

    What is drawn of a class depends on the seed, its name and its images alone, and fewer shots are among more.

    Args:
        classes: see :func:`images_by_class`; empty ones are passed over.
        shots: images per class. Either this or the next.
        fraction: share of each class, in (0, 1]; at least one image.
        seed: of the draw.

    Returns:
        Their paths, sorted within each class.

    Raises:
        ValueError: both or neither are given, out of range, or a class has fewer images than ``shots``.
    """
    if (shots is None) == (fraction is None) or (shots is not None and shots < 1):
        raise ValueError(f"shots={shots}, fraction={fraction}; give one of them, shots from 1 on")
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; give a share above 0 and up to 1, such as 0.1")
    filled = {name: paths for name, paths in classes.items() if paths}
    small = {name: len(paths) for name, paths in filled.items() if len(paths) < (shots or 1)}
    if small:
        told = listed([f"{name} ({count})" for name, count in small.items()])
        raise ValueError(
            f"{shots} images per class are asked for, but {len(small)} class(es) have fewer: {told}. Give at most "
            f"{min(small.values())}"
        )
    drawn: list[str] = []
    for name, paths in filled.items():
        count = shots if shots is not None else max(1, round((fraction or 0) * len(paths)))
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(paths))
        drawn += sorted(paths[i] for i in order[:count])
    return drawn


def read_image_list(path: Path, classes: Classes) -> list[str]:
    """The images that a text file names, one a line, as paths below the folder.

    A line is a path below the folder with or without the class's number behind it, or a bare file name, which is found
    in whatever class folder it is, as SimCLR's lists have them (``n01440764_10026.JPEG``).

    Args:
        path: the text file.
        classes: see :func:`images_by_class`.

    Raises:
        FileNotFoundError: there is no such file, or the folder lacks images that it names.
        ValueError: it is empty, names an image twice, a name that is in several classes, or leads out of the folder.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give a text file with one image a line")
    known = {image for paths in classes.values() for image in paths}
    names = Counter(image.rpartition("/")[2] for image in known)
    places = {image.rpartition("/")[2]: image for image in known}
    found: list[str] = []
    missing: list[str] = []
    for line in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
        image = _without_label(line, known)
        if not leads_down(image):
            raise ValueError(f"{path} names {image[:80]!r}; wanted paths below the folder")
        if "/" not in image and names[image] > 1:
            raise ValueError(f"{path} names {image}, which is in {names[image]} class folders")
        image = image if "/" in image else places.get(image, image)
        (found if image in known else missing).append(image)
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(missing) + len(found)} images in {path} are not there: {listed(missing)}"
        )
    if twice := [image for image, count in Counter(found).items() if count > 1]:
        raise ValueError(f"{path} names {len(twice)} image(s) more than once: {listed(twice)}")
    if not found:
        raise ValueError(f"{path} names no image")
    return found


def write_split(
    folder: Path,
    out: Path,
    images: Path | None = None,
    shots: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
) -> dict[str, int]:
    """Write the list of some images of a folder of classes.

    Args:
        folder: with one folder per class; all of them, since a label is a number among them.
        out: text file to write; it must not exist.
        images: a text file that names them, see :func:`read_image_list`. Either this or one of the next.
        shots: see :func:`draw_images`.
        fraction: see there.
        seed: see there.

    Returns:
        The numbers of ``images`` and of ``classes`` that have some.

    Raises:
        FileExistsError: ``out`` exists.
        FileNotFoundError: the folder, the list, or an image that it names is missing.
        ValueError: as :func:`draw_images` and :func:`read_image_list`.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; remove it, or give another file to write")
    if (images is not None) and (shots is not None or fraction is not None):
        raise ValueError("give a list of images, or shots, or a fraction, one of them")
    classes = images_by_class(folder)
    if images is not None:
        chosen = sorted(read_image_list(images, classes))
    else:
        chosen = draw_images(classes, shots, fraction, seed)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers[path.partition("/")[0]] for path in chosen]
    lines = (f"{path} {label}\n" for path, label in zip(chosen, labels, strict=True))
    write_text_atomically(out, "".join(lines))
    return {"images": len(chosen), "classes": len(set(labels))}


def _without_label(line: str, known: set[str]) -> str:
    """A line's path; a file name may end in a number too, so what exists goes first."""
    path, _, label = line.rpartition(" ")
    return path if line not in known and label.isdecimal() and path else line
