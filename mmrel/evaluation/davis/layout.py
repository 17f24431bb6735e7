"""The files of DAVIS: lists of sequences, folders of frames, indexed masks.

::

    ImageSets/<year>/<split>.txt                        one sequence per line
    JPEGImages/<resolution>/<sequence>/00000.jpg        frames
    Annotations/<resolution>/<sequence>/00000.png       masks: the value of a pixel is its object's number
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES, open_image
from mmrel.evaluation.davis.masks import VOID, Mask
from mmrel.utils.files import write_atomically
from mmrel.utils.text import listed


@dataclass(frozen=True)
class VideoSequence:
    """The frames of a video, and the masks that are known.

    Attributes:
        name: of its folder.
        frames: image files, in order.
        masks: annotation of each frame, in order; of a video without annotation, the first frame's alone.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


def read_split(
    root: Path, split: str = "val", year: int = 2017, resolution: str = "480p"
) -> list[VideoSequence]:
    """The sequences of a split of DAVIS, in the order of its list.

    Args:
        root: folder with ``ImageSets``, ``JPEGImages`` and ``Annotations``.
        split: name of the list.
        year: its folder.
        resolution: folder of frames and of masks.

    Raises:
        FileNotFoundError: the list, a sequence that it names, or a mask of one is missing.
        ValueError: the list is empty, or names what cannot be a folder.
    """
    path = root / "ImageSets" / str(year) / f"{split}.txt"
    if not path.is_file():
        there = sorted(f"{p.parent.name}/{p.stem}" for p in root.glob("ImageSets/*/*.txt"))
        raise FileNotFoundError(
            f"there is no list {path}; lists below {root}: {listed(there) or 'none'}. Give the folder that holds "
            "ImageSets, JPEGImages and Annotations"
        )
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise ValueError(f"{path} is empty; it must name a sequence per line")
    return [_read_sequence(root, resolution, name, path) for name in dict.fromkeys(names)]


def _read_sequence(root: Path, resolution: str, name: str, source: Path) -> VideoSequence:
    if name != Path(name).name or name == "..":
        raise ValueError(
            f"{source} names {name!r}, which is no folder's name; name one sequence per line"
        )
    folder = root / "JPEGImages" / resolution / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the sequence {name}, listed in {source}, is absent: there is no folder {folder}"
        )
    frames = list_frames(folder)
    masks = tuple(
        root / "Annotations" / resolution / name / f"{frame.stem}.png" for frame in frames
    )
    missing = [str(mask) for mask in masks if not mask.is_file()]
    if missing:
        first = (
            "its first mask, so nothing can be propagated" if str(masks[0]) in missing else "masks"
        )
        raise FileNotFoundError(f"the sequence {name} lacks {first}: {listed(missing, 3)}")
    return VideoSequence(name, frames, masks)


def list_frames(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in the order of their names, numbers by their value.

    Raises:
        FileNotFoundError: there is no such folder, or no image in it.
        ValueError: two images have one name but for the ending, so their masks would, too.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give a folder of frames")
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no frames; images end with {listed(IMAGE_SUFFIXES, 4)} and others"
        )
    if len({path.stem for path in found}) < len(found):
        raise ValueError(
            f"{folder} holds frames that differ in nothing but the ending; keep one of each"
        )
    return tuple(sorted(found, key=_natural))


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that puts frame 2 before frame 10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.stem)
        if part
    ]


def read_mask(path: Path) -> Mask:
    """The object numbers in a mask file, uint8 ``(H, W)``: a palette's indices, or the values of a grey image.

    Raises:
        UnreadableImageError: it is no image.
        ValueError: it is an image of colours.
    """
    try:
        image: Image.Image = open_image(path.read_bytes())
        mode = image.mode
        values = np.array(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImageError(str(path), f"{type(error).__name__}: {error}") from error
    if mode not in ("P", "L", "1"):
        raise ValueError(
            f"{path} is an image of mode {mode}; a mask is an indexed (P) or grey (L) image whose values are the "
            "objects' numbers: 0 for background, 1, 2, ... for objects"
        )
    return values.astype(np.uint8)


def object_count(mask: Mask) -> int:
    """The number of objects: the largest value but 255, which is void."""
    return int(mask.max(initial=0, where=mask != VOID))


def davis_palette() -> NDArray[np.uint8]:
    """Colours of mask values, ``(256, 3)``, as in DAVIS and PASCAL VOC.

    Bit 0 of a value is the top bit of red, bit 1 of green, bit 2 of blue; bits 3 to 5 the next ones, and so on.
    """
    values = np.arange(256)[:, None] >> np.arange(3)
    colors = sum(
        ((values >> 3 * place & 1) << (7 - place) for place in range(3)), np.zeros((256, 3), int)
    )
    return colors.astype(np.uint8)


def write_mask(path: Path, mask: Mask) -> None:
    """Write object numbers, uint8 ``(H, W)``, as an indexed PNG with the colours of DAVIS; whole or not at all."""
    image = Image.fromarray(mask)
    image.putpalette(davis_palette().tobytes())
    write_atomically(path, lambda file: image.save(file, format="PNG"))
