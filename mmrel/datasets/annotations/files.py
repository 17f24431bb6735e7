"""The files of a data set: JSON that is read with care, and images by their headers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError

from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES, open_image
from mmrel.datasets.transforms.pixel_values import ORIENTATION_TAG
from mmrel.utils.errors import UsageError
from mmrel.utils.plain_tree import check_depth

LYING = (5, 6, 7, 8)
"""EXIF orientations that swap width and height; the hosts' loaders turn such photos upright."""


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: there is no such file, or it is no JSON, is too deep, or has numbers that are none (NaN).
    """
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse)
        check_depth(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON ({str(error)[:200]}). Export the annotations again, or correct the file."
        ) from error
    return content


def _refuse(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image as training sees it: upright by its EXIF orientation.

    Raises:
        UsageError: the file cannot be read, or holds no image.
    """
    try:
        with open_image(path.read_bytes()) as image:
            width, height = image.size
            lying = (
                image.format in ("JPEG", "MPO") and image.getexif().get(ORIENTATION_TAG) in LYING
            )
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise UsageError(
            f"The image {path} cannot be read ({type(error).__name__}: {str(error)[:200]}). Replace it, or remove it "
            "and its annotation."
        ) from error
    return (height, width) if lying else (width, height)


def check_size(path: Path, stated: tuple[int, int], source: Path) -> None:
    """Raise ``UsageError`` unless an image has the (width, height) that its annotation states."""
    found = upright_size(path)
    if found == stated:
        return
    turned = found == stated[::-1]
    advice = (
        "The photo is turned by its EXIF orientation, which training obeys. Write it upright, or annotate it upright."
        if turned
        else "The annotation is of another version of the image; export both at one size."
    )
    raise UsageError(
        f"{source} says that {path} has {_by(stated)} pixels (width x height); it has {_by(found)}. {advice}"
    )


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def find_image(folders: Sequence[Path], name: str, stem: str) -> Path | None:
    """The image of that name in the first folder that has it, or else one with the annotation's own stem."""
    plain = name.replace("\\", "/")
    if plain.lower().endswith(IMAGE_SUFFIXES):
        for file in (plain, plain.rpartition("/")[2]):
            for folder in folders:
                if file and (folder / file).is_file():
                    return folder / file
    for folder in folders:
        for suffix in IMAGE_SUFFIXES:
            for ending in (suffix, suffix.upper()):
                if (found := folder / f"{stem}{ending}").is_file():
                    return found
    return None
