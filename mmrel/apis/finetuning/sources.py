"""What a user's folder or file holds, and how it is split: for detection or for segmentation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrel.datasets.annotations.coco import is_coco, read_coco
from mmrel.datasets.annotations.files import read_json
from mmrel.datasets.annotations.instances import InstanceSet
from mmrel.datasets.annotations.labelme import is_labelme, read_labelme
from mmrel.datasets.annotations.mask_pairs import MaskPairs, find_pairs
from mmrel.datasets.annotations.voc import of_split, read_voc
from mmrel.datasets.folder_listing import list_files
from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
SNIFFED = 20
KNOWN = (
    "a COCO JSON file, or a folder with one for training and one for validation; a folder of VOC's XML files; a folder "
    "of LabelMe's JSON files; for segmentation, images/ beside masks/ (or JPEGImages/ beside SegmentationClass/)"
)


@dataclass(frozen=True)
class Source:
    """Annotated images of one form.

    Attributes:
        train: all images, or those to train on.
        val: those to judge by; ``None``: the data have no split.
    """

    train: InstanceSet | MaskPairs
    val: InstanceSet | MaskPairs | None = None


def open_source(data: Path, masks: bool, unpacked: Path, images: Path | None = None) -> Source:
    """Recognise and read.

    Args:
        data: file or folder.
        masks: whether masks are understood, which segmentation does.
        unpacked: folder to write images into that are in LabelMe's files only.
        images: of a COCO file, the folder of its images.

    Raises:
        UsageError: there is nothing known there, or something is wrong with it.
    """
    if data.is_file():
        return Source(_coco_file(data, images))
    if not data.is_dir():
        raise UsageError(f"{data} does not exist (looked for {data.absolute()}). Give {KNOWN}.")
    if masks and not _is_yolo(data) and (pairs := find_pairs(data)) is not None:
        return Source(*pairs)
    jsons, xmls = _below(data, ".json"), _below(data, ".xml")
    # A COCO file may be large, so the smallest of some tells whether they are LabelMe's.
    smallest = min(jsons[:SNIFFED], key=lambda path: path.stat().st_size, default=None)
    if smallest is not None and is_labelme(read_json(smallest)):
        return _by_folders(jsons, data, lambda files: read_labelme(files, data, unpacked))
    if cocos := [path for path in jsons if _looks_like_coco(path)]:
        return _coco_files(cocos, data, images)
    if xmls:
        return _voc(xmls, data)
    raise UsageError(_nothing_known(data, jsons, masks))


def _coco_file(path: Path, images: Path | None) -> InstanceSet:
    if path.suffix.lower() != ".json":
        raise UsageError(f"{path} is a {path.suffix or 'plain'} file. Give {KNOWN}.")
    if is_labelme(read_json(path)):
        raise UsageError(f"{path} is one image's LabelMe file; give its folder, {path.parent}.")
    return read_coco(path, images)


def _below(folder: Path, suffix: str) -> list[Path]:
    found = list_files(str(folder), lambda name: name.lower().endswith(suffix)).images
    return [folder / name for name in found]


def _is_yolo(folder: Path) -> bool:
    return (folder / "labels").is_dir() and bool(_below(folder / "labels", ".txt"))


def _looks_like_coco(path: Path) -> bool:
    """Whether a COCO file, or one meant as one; others beside it (settings, licences) are left alone."""
    content = read_json(path)
    return is_coco(content) or (isinstance(content, dict) and "images" in content)


def _coco_files(files: Sequence[Path], root: Path, images: Path | None) -> Source:
    if len(files) == 1:
        return Source(read_coco(files[0], images))
    parts = {name: [f for f in files if _is_part(f, root, name)] for name in SPLITS}
    if any(len(found) != 1 for found in parts.values()):
        raise UsageError(
            f"{root} holds {len(files)} COCO files, and their names do not tell one for training and one for "
            f"validation: {listed([str(path) for path in files])}. Give the file to train on, and --val."
        )
    train, val = (read_coco(parts[name][0], images) for name in SPLITS)
    return Source(train, val)


def _is_part(path: Path, root: Path, name: str) -> bool:
    """Whether a path says ``train`` or ``val``, in its own name or in its folder's."""
    words = path.relative_to(root).as_posix().lower().replace("/", "_").replace(".", "_").split("_")
    return any(word.startswith(SPLITS[name][0]) for word in words)


def _by_folders(
    files: Sequence[Path], root: Path, read: Callable[[Sequence[Path]], InstanceSet]
) -> Source:
    """Files split by folders ``train`` and ``val`` in the first level, where both are there."""
    parts = {
        name: [f for f in files if f.relative_to(root).parts[0].lower() in words]
        for name, words in SPLITS.items()
    }
    if all(parts.values()):
        return Source(read(parts["train"]), read(parts["val"]))
    return Source(read(files))


def _voc(files: Sequence[Path], root: Path) -> Source:
    lists = [root / "ImageSets" / "Main" / f"{name}.txt" for name in SPLITS]
    if not all(path.is_file() for path in lists):
        return _by_folders(files, root, lambda own: read_voc(own, root))
    whole = read_voc(files, root)
    # A line may have 1 or -1 behind the name, where a list is of one class.
    names = [
        [line.split()[0] for line in path.read_text("utf-8").splitlines() if line.strip()]
        for path in lists
    ]
    parts: list[Any] = [of_split(whole, n, p) for n, p in zip(names, lists, strict=True)]
    return Source(*parts)


def _nothing_known(data: Path, jsons: Sequence[Path], masks: bool) -> str:
    if jsons:
        return (
            f"{jsons[0]} is neither COCO's JSON (images, annotations, categories) nor LabelMe's (shapes), and {data} "
            f"holds nothing else that is known. Give {KNOWN}."
        )
    if _is_yolo(data):
        return (
            f"{data} holds text files in labels/, as YOLO's, which are not read. Export COCO JSON."
        )
    if not masks and find_pairs(data) is not None:
        return (
            f"{data} holds masks with a class per pixel, which do not tell one object from the next. Train a segmentor "
            "(tools/finetune.py segment), or give objects as COCO, VOC or LabelMe files."
        )
    return f"{data} holds no annotations that are known. Give {KNOWN}."
