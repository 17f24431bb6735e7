"""Which mask belongs to which image, in the layouts that such data sets come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmrel.datasets.annotations.mask_file import MASK_SUFFIXES
from mmrel.datasets.folder_listing import files_by_stem
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages")
MASK_FOLDERS = (
    "masks",
    "mask",
    "annotations",
    "labels",
    "SegmentationClass",
    "SegmentationClassPNG",
)
ENDINGS = ("_mask", "-mask", "_gt", "_label", "_labels", "_seg", "_segmentation")
"""What masks' names may have after their image's."""

TRAIN = ("train", "training")
VAL = ("val", "valid", "validation")


@dataclass(frozen=True)
class MaskPairs:
    """Images with masks.

    Attributes:
        pairs: (image, mask), sorted.
        root: the data set's folder.
        notes: what was passed over.
    """

    pairs: tuple[tuple[Path, Path], ...]
    root: Path
    notes: tuple[str, ...] = ()


def find_pairs(root: Path) -> tuple[MaskPairs, MaskPairs | None] | None:
    """Training and validation pairs below a folder, or ``None`` where it holds no folders of images and masks.

    Known are ``images`` beside ``masks`` (or other usual names), both with ``train`` and ``val`` below them or above
    them, and VOC's ``JPEGImages``, ``SegmentationClass`` and lists in ``ImageSets/Segmentation``. Without a split
    in the data, the second is ``None``.

    Raises:
        UsageError: the folders' files do not belong together.
    """
    above = _child(root, TRAIN), _child(root, VAL)
    if above[0] is not None:
        found = _two_folders(above[0])
        other = None if above[1] is None else _two_folders(above[1])
        return None if found is None else (_match(*found), other and _match(*other))
    found = _two_folders(root)
    if found is None:
        return None
    images, masks = found
    train = _child(images, TRAIN), _child(masks, TRAIN)
    val = _child(images, VAL), _child(masks, VAL)
    if None not in train:
        return _match(*train), None if None in val else _match(*val)  # type: ignore[arg-type]
    return _by_lists(_match(images, masks), root / "ImageSets" / "Segmentation")


def _child(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _two_folders(root: Path) -> tuple[Path, Path] | None:
    images, masks = _child(root, IMAGE_FOLDERS), _child(root, MASK_FOLDERS)
    return None if images is None or masks is None else (images, masks)


def _match(images: Path, masks: Path) -> MaskPairs:
    found, available = _by_stem(images, IMAGE_SUFFIXES), _by_stem(masks, MASK_SUFFIXES)
    if not found.keys() & available.keys():
        available = {_without_ending(stem): path for stem, path in available.items()}
    both = sorted(found.keys() & available.keys())
    if alone := sorted(available.keys() - found.keys()):
        raise UsageError(
            f"{len(alone)} masks have no image in {images}: {listed([str(available[s]) for s in alone], 3)}. A mask "
            f"has its image's name and ends in {', '.join(MASK_SUFFIXES)}; add the images, or remove the masks."
        )
    notes: tuple[str, ...] = ()
    if bare := sorted(found.keys() - available.keys()):
        names = listed([str(found[stem]) for stem in bare], 3)
        notes = (f"{len(bare)} images have no mask in {masks} and are left out: {names}",)
    return MaskPairs(tuple((found[stem], available[stem]) for stem in both), images.parent, notes)


def _without_ending(stem: str) -> str:
    return next((stem.removesuffix(e) for e in ENDINGS if stem.endswith(e)), stem)


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    try:
        return files_by_stem(folder, suffixes)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(f"{error}.") from error


def _by_lists(found: MaskPairs, lists: Path) -> tuple[MaskPairs, MaskPairs | None]:
    files = lists / "train.txt", lists / "val.txt"
    if not all(file.is_file() for file in files):
        return found, None
    by_name = {mask.stem: (image, mask) for image, mask in found.pairs}
    parts = []
    for file in files:
        names = file.read_text(encoding="utf-8").split()
        if missing := [name for name in names if name not in by_name]:
            raise UsageError(
                f"{file} names {len(missing)} images that have no image or no mask, such as {missing[0]!r}. Remove the "
                "names, or add the files."
            )
        parts.append(MaskPairs(tuple(by_name[name] for name in names), found.root, found.notes))
    return parts[0], parts[1]
