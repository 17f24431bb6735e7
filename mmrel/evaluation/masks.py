"""Images with a class per pixel, from the layouts in which such sets are given away."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmrel.datasets.annotations.mask_file import MASK_SUFFIXES
from mmrel.datasets.folder_listing import files_by_stem
from mmrel.datasets.scenes.classes import PALETTE, SEGMENTATION_CLASSES
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.evaluation.images import ByteImage, read_image
from mmrel.evaluation.mask_files import Labels, read_mask
from mmrel.utils.text import listed

Palette = tuple[tuple[int, int, int], ...]
Pair = tuple[Path, Path]

IGNORED = -1
"""Label of pixels that count for nothing, as :meth:`LabelledImages.read` gives it."""

VOC_CLASSES = tuple(
    """background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
    pottedplant sheep sofa train tvmonitor""".split()  # noqa: SIM905
)
MAX_NUMBERED = 1000
"""Largest number of classes that is believed without a list of their names."""

SCENES_STAMP = "scenes.json"
"""What ``tools/make_scenes.py`` leaves beside the layouts."""


@dataclass(frozen=True)
class LabelledImages:
    """A sequence of (image path, mask path), and what the numbers in the masks mean.

    Attributes:
        pairs: the files.
        classes: names; label i is ``classes[i]``.
        ignore_index: number of pixels in the masks that count for nothing.
        reduce_zero_label: 0 counts for nothing, and i + 1 is class i (ADE20K).
        palette: RGB colour per class, for pictures; ``None``: PASCAL VOC's.

    Raises:
        ValueError: no pair, fewer than two classes, a name twice, or another number of colours.
    """

    pairs: tuple[Pair, ...]
    classes: tuple[str, ...]
    ignore_index: int = 255
    reduce_zero_label: bool = False
    palette: Palette | None = None

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("there is no image with a mask; give at least one pair")
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError(
                f"classes are {', '.join(self.classes) or 'none'}; wanted two or more names, each once"
            )
        if self.palette is not None and len(self.palette) != len(self.classes):
            raise ValueError(
                f"palette has {len(self.palette)} colours for {len(self.classes)} classes; give one colour each"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Pair:
        return self.pairs[index]

    def read(self, index: int) -> tuple[ByteImage, Labels]:
        """Image, uint8 ``(H, W, 3)``, and labels, int64 ``(H, W)``: positions in ``classes``, or -1 for ignored pixels.

        Raises:
            ValueError: the sizes differ, or the mask holds a number outside of the classes.
            UnreadableImageError: a file holds no image, or the mask has several channels.
        """
        image_path, mask_path = self.pairs[index]
        image, values = read_image(image_path), read_mask(mask_path)
        if values.shape != image.shape[:2]:
            sides = [f"{height}x{width}" for height, width in (values.shape, image.shape[:2])]
            raise ValueError(
                f"{mask_path} has {sides[0]} pixels, but its image {image_path} {sides[1]}; they must be of one size"
            )
        labels = _as_labels(values, self.ignore_index, self.reduce_zero_label)
        if (outside := (labels < IGNORED) | (labels >= len(self.classes))).any():
            wrong = [str(value) for value in np.unique(values[outside])]
            first = int(self.reduce_zero_label)
            raise ValueError(
                f"{mask_path} holds {listed(wrong)}, outside of the {len(self.classes)} classes, which are {first} to "
                f"{len(self.classes) - 1 + first}, and {self.ignore_index} for ignored pixels. Give the names of all "
                "classes, or another ignore_index"
            )
        return image, labels

    def subset(self, count: int) -> "LabelledImages":
        """At most ``count`` of the images, spread evenly over the set.

        Raises:
            ValueError: ``count`` is 0 or negative.
        """
        if count < 1:
            raise ValueError(f"{count} images are asked for; give 1 or more")
        spread = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        return replace(self, pairs=tuple(self.pairs[index] for index in spread))

    @classmethod
    def from_folders(
        cls,
        images: Path,
        masks: Path,
        classes: Sequence[str] | None = None,
        ignore_index: int = 255,
        reduce_zero_label: bool = False,
        palette: Palette | None = None,
    ) -> "LabelledImages":
        """Two folders: for each image, a mask with the same path but for its ending.

        Args:
            images: folder of images, also in subfolders.
            masks: folder of masks: PNG, TIFF or BMP with one channel, or with a palette.
            classes: names; ``None`` reads all masks once and names the classes by their numbers.
            ignore_index: as for the class.
            reduce_zero_label: as for the class.
            palette: as for the class.

        Raises:
            FileNotFoundError: a folder is missing, there is no image, or an image has no mask.
            ValueError: two images, or two masks, differ only in their ending.
        """
        found, available = (
            files_by_stem(images, IMAGE_SUFFIXES),
            files_by_stem(masks, MASK_SUFFIXES),
        )
        if missing := sorted(found.keys() - available.keys()):
            raise FileNotFoundError(
                f"{len(missing)} of {len(found)} images in {images} have no mask in {masks} ({listed(missing)}); a "
                f"mask has its image's name and ends in {', '.join(MASK_SUFFIXES)}"
            )
        if unused := sorted(available.keys() - found.keys()):
            message = f"{masks}: {len(unused)} masks have no image ({listed(unused)})"
            print_log(f"{message} and are left out", "current", logging.WARNING)
        pairs = tuple((path, available[stem]) for stem, path in sorted(found.items()))
        if classes is None:
            classes = _numbered(pairs, ignore_index, reduce_zero_label)
        return cls(pairs, tuple(classes), ignore_index, reduce_zero_label, palette)

    @classmethod
    def from_ade(
        cls, root: Path, split: str, classes: Sequence[str] | None = None
    ) -> "LabelledImages":
        """ADE20K's layout, which the bundled scenes' segmentation has too: 0 is unlabelled.

        Args:
            root: of ``images/<split>`` and ``annotations/<split>``.
            split: ``"training"`` or ``"validation"``.
            classes: names; ``None``: those of the scenes or of ADE20K's ``objectInfo150.txt`` where they are there,
                else the numbers found in the masks.

        Raises:
            FileNotFoundError: as :meth:`from_folders`.
        """
        is_scenes = (root.parent / SCENES_STAMP).is_file() and root.name == "segmentation"
        if classes is None:
            classes = SEGMENTATION_CLASSES if is_scenes else _ade_names(root)
        known = is_scenes and classes is not None and tuple(classes) == SEGMENTATION_CLASSES
        folders = root / "images" / split, root / "annotations" / split
        return cls.from_folders(*folders, classes, 255, True, PALETTE if known else None)

    @classmethod
    def from_voc(cls, root: Path, split: str) -> "LabelledImages":
        """PASCAL VOC's layout; 255 is the ignored border around objects.

        Args:
            root: for instance ``VOCdevkit/VOC2012``.
            split: name of a list in ``ImageSets/Segmentation``, such as ``"train"`` or ``"val"``.

        Raises:
            FileNotFoundError: there is no such list, or a file that it names is missing.
        """
        lists = root / "ImageSets" / "Segmentation"
        path = lists / f"{split}.txt"
        if not path.is_file():
            present = ", ".join(sorted(file.stem for file in lists.glob("*.txt"))) or "none"
            raise FileNotFoundError(f"there is no split {split!r} in {lists}; it has {present}")
        names = path.read_text(encoding="utf-8").split()
        pairs = [
            (root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png")
            for name in names
        ]
        if missing := [str(file) for pair in pairs for file in pair if not file.is_file()]:
            raise FileNotFoundError(
                f"{len(missing)} of the {2 * len(pairs)} files that {path} names are missing: {listed(missing, 4)}"
            )
        return cls(tuple(pairs), VOC_CLASSES)


def _as_labels(values: Labels, ignore_index: int, reduce_zero_label: bool) -> Labels:
    ignored = values == ignore_index
    if reduce_zero_label:
        ignored |= values == 0
    return np.where(ignored, IGNORED, values - int(reduce_zero_label))


def _numbered(pairs: Sequence[Pair], ignore_index: int, reduce_zero_label: bool) -> tuple[str, ...]:
    """Classes named by their numbers in the masks, from the first number that may occur to the largest that does."""
    largest = max(
        int(_as_labels(read_mask(mask), ignore_index, reduce_zero_label).max()) for _, mask in pairs
    )
    if not 1 <= largest < MAX_NUMBERED:
        raise ValueError(
            f"the masks in {pairs[0][1].parent} hold labels up to {largest} beside the ignored {ignore_index}"
            f"{' and 0' if reduce_zero_label else ''}, which are no classes: wanted 2 to {MAX_NUMBERED}. Give the "
            "names of the classes, another ignore_index, or masks of classes instead of objects"
        )
    return tuple(str(label + int(reduce_zero_label)) for label in range(largest + 1))


def _ade_names(root: Path) -> tuple[str, ...] | None:
    """The first name of each class in the list that the official download has, a tab-separated table."""
    path = root / "objectInfo150.txt"
    if not path.is_file():
        return None
    rows = path.read_text(encoding="utf-8").splitlines()[1:]
    return tuple(row.split("\t")[-1].split(",")[0].strip() for row in rows if row.strip())
