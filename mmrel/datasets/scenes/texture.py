"""Texture cut from the photographs that ship inside the wheels of scikit-image and scikit-learn.

Every photograph is divided once, across its longer side, into a part for training and a part for
validation with a gap between them. Crops are drawn inside one part, hence no pixel of a photograph
is seen by both.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatImage = NDArray[np.float32]

SPLITS = ("train", "val")
TRAIN_SHARE = 0.72
GAP = 8

PHOTOS: dict[str, tuple[str, str]] = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "moon": ("skimage", "data/moon.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
"""Photograph to (package, path inside it); each is part of the package's wheel, not downloaded."""

SURFACE_PHOTOS = tuple(PHOTOS)
"""Photographs that the surfaces of things are textured with."""


@dataclass(frozen=True)
class TextureCrop:
    """A square of a photograph: top left corner and side, in pixels of that photograph."""

    photo: str
    x: int
    y: int
    side: int


def photo_path(name: str) -> Path:
    """Where a photograph of ``PHOTOS`` is installed.

    Raises:
        FileNotFoundError: if its package is not installed or does not hold the file.
    """
    package, inside = PHOTOS[name]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0]) / inside if folders else None
    if path is None or not path.is_file():
        distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        raise FileNotFoundError(
            f"The scenes are textured with the photograph {name!r}, which is part of the wheel of "
            f"{distribution}, but {path or package} was not found. Install it with "
            "`pip install scikit-image scikit-learn`, then run again."
        )
    return path


@cache
def load_photo(name: str) -> FloatImage:
    """A photograph as float32 RGB ``(H, W, 3)`` in [0, 1]."""
    with Image.open(photo_path(name)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return pixels / np.float32(255)


def photo_region(name: str, split: str) -> tuple[int, int, int, int]:
    """The part ``(x, y, w, h)`` of a photograph that belongs to a split."""
    height, width = load_photo(name).shape[:2]
    longer = max(height, width)
    end = int(longer * TRAIN_SHARE)
    start, length = (0, end) if split == "train" else (end + GAP, longer - end - GAP)
    return (start, 0, length, height) if width >= height else (0, start, width, length)


def draw_crop(
    rng: np.random.Generator,
    split: str,
    photos: tuple[str, ...],
    sides: tuple[int, int] = (40, 110),
) -> TextureCrop:
    """Draw a square from one of ``photos``, inside the part of the split.

    Args:
        rng: source of the draws; four numbers are taken from it.
        split: ``"train"`` or ``"val"``.
        photos: names of ``PHOTOS`` to choose from.
        sides: least and greatest side in pixels; smaller where the part is.
    """
    name = photos[int(rng.integers(len(photos)))]
    x, y, width, height = photo_region(name, split)
    side = min(int(rng.integers(sides[0], sides[1] + 1)), width, height)
    left = x + int(rng.integers(width - side + 1))
    top = y + int(rng.integers(height - side + 1))
    return TextureCrop(name, left, top, side)


def cut(crop: TextureCrop, size: int) -> FloatImage:
    """The crop as texture ``(size, size, 3)``: mean 0 and standard deviation 1 in luminance."""
    photo = load_photo(crop.photo)
    square = photo[crop.y : crop.y + crop.side, crop.x : crop.x + crop.side]
    interpolation = cv2.INTER_AREA if size < crop.side else cv2.INTER_CUBIC
    texture = cv2.resize(square, (size, size), interpolation=interpolation)
    centered = texture - texture.mean(axis=(0, 1), keepdims=True)
    # Equal to mean(axis=2) bit for bit, and several times as fast.
    red, green, blue = np.moveaxis(centered, 2, 0)
    spread = max(float(((red + green + blue) / np.float32(3)).std()), 0.03)
    return np.asarray(np.clip(centered / np.float32(spread), -3, 3), dtype=np.float32)
