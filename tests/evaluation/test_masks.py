"""Masks and sets of labelled images: what is read, and what is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.scenes import PALETTE, SEGMENTATION_CLASSES
from mmrel.evaluation.mask_files import read_mask
from mmrel.evaluation.masks import VOC_CLASSES, LabelledImages

VALUES = np.array([[0, 1, 2], [3, 1, 0]], np.uint8)


def save(path: Path, values: np.ndarray, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image = image.convert("P")
        image.putdata(values.flatten().tolist())
        image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, *[9] * 759])
    image.save(path)
    return path


def photo(path: Path, height: int = 2, width: int = 3) -> Path:
    return save(path, np.zeros((height, width, 3), np.uint8))


def packed_grey(path: Path, bits: int) -> Path:
    """A PNG of 4 x 1 grey values 0, 1, 2, 3 of some bits each, which Pillow does not write."""
    row = sum(value << (bits * (3 - place)) for place, value in enumerate((0, 1, 2, 3)))
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    data = zlib.compress(b"\0" + row.to_bytes(bits * 4 // 8, "big"))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + kind + body
        content += struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("palette", [False, True])
def test_read_mask__grey_value_or_palette_index(tmp_path: Path, palette: bool) -> None:
    found = read_mask(save(tmp_path / "a.png", VALUES, palette))
    assert found.dtype == np.int64 and np.array_equal(found, VALUES)


@pytest.mark.parametrize("bits", [2, 4])
def test_read_mask__few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    """Pillow reads 2-bit grey as 0, 85, 170 and 255."""
    assert read_mask(packed_grey(tmp_path / "a.png", bits)).tolist() == [[0, 1, 2, 3]]


def test_read_mask__one_bit_and_sixteen(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path / "a.png", VALUES > 1)).tolist() == [[0, 0, 1], [1, 0, 0]]
    wide = VALUES.astype(np.uint16) * 300
    assert np.array_equal(read_mask(save(tmp_path / "b.png", wide)), wide)


def test_read_mask__refusals(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"a\.png.*mode RGB.*one class number"):
        read_mask(photo(tmp_path / "a.png"))
    with pytest.raises(UnreadableImageError, match="JPEG has changed values"):
        read_mask(save(tmp_path / "b.jpg", VALUES))
    (tmp_path / "c.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"c\.png"):
        read_mask(tmp_path / "c.png")


def folders(root: Path) -> tuple[Path, Path]:
    """An image in a subfolder and one beside it, with masks."""
    for name in ("b", "sub/a"):
        photo(root / "images" / f"{name}.jpg")
        save(root / "masks" / f"{name}.png", VALUES)
    return root / "images", root / "masks"


def test_folders__pairs_by_relative_name(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    found = LabelledImages.from_folders(images, masks, "abcd")
    assert list(found) == [
        (images / "b.jpg", masks / "b.png"),
        (images / "sub" / "a.jpg", masks / "sub" / "a.png"),
    ]
    image, labels = found.read(1)
    assert image.shape == (2, 3, 3) and np.array_equal(labels, VALUES)


def test_folders__classes_are_numbered_by_what_the_masks_hold(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    assert LabelledImages.from_folders(images, masks).classes == ("0", "1", "2", "3")
    reduced = LabelledImages.from_folders(images, masks, reduce_zero_label=True)
    assert reduced.classes == ("1", "2", "3")
    assert reduced.read(0)[1].tolist() == [[-1, 0, 1], [2, 0, -1]]
    fewer = LabelledImages.from_folders(images, masks, ignore_index=3)
    assert fewer.classes == ("0", "1", "2") and fewer.read(0)[1][1, 0] == -1


def test_folders__what_is_no_set_of_classes(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    for path in masks.rglob("*.png"):
        save(path, VALUES * 0)
    with pytest.raises(ValueError, match=r"labels up to 0.*ignored 255.*2 to 1000"):
        LabelledImages.from_folders(images, masks)
    save(masks / "b.png", VALUES.astype(np.uint16) * 900)
    with pytest.raises(ValueError, match="labels up to 2700"):
        LabelledImages.from_folders(images, masks)


def test_folders__missing_and_ambiguous_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks = folders(tmp_path)
    save(masks / "z.png", VALUES)
    LabelledImages.from_folders(images, masks, "abcd")
    photo(images / "c.jpg")
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images .* have no mask .*\(c\)"):
        LabelledImages.from_folders(images, masks, "abcd")
    photo(images / "b.png")
    with pytest.raises(ValueError, match=r"b\.jpg and .*b\.png differ only in their ending"):
        LabelledImages.from_folders(images, masks, "abcd")
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        LabelledImages.from_folders(tmp_path / "nowhere", masks, "abcd")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no file"):
        LabelledImages.from_folders(tmp_path / "empty", masks, "abcd")


def test_read__another_size_and_unknown_numbers(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    found = LabelledImages.from_folders(images, masks, "ab")
    with pytest.raises(ValueError, match=r"b\.png holds 2, 3, outside of the 2 classes.* 0 to 1"):
        found.read(0)
    save(masks / "b.png", VALUES.T)
    with pytest.raises(ValueError, match=r"b\.png has 3x2 pixels, but .*b\.jpg 2x3"):
        found.read(0)


def test_set__impossible_classes(tmp_path: Path) -> None:
    pair = (tmp_path, tmp_path)
    with pytest.raises(ValueError, match="no image with a mask"):
        LabelledImages((), ("a", "b"))
    with pytest.raises(ValueError, match="classes are a, a; wanted two or more"):
        LabelledImages((pair,), ("a", "a"))
    with pytest.raises(ValueError, match="1 colours for 2 classes"):
        LabelledImages((pair,), ("a", "b"), palette=((0, 0, 0),))


def test_subset__spread_evenly(tmp_path: Path) -> None:
    pairs = tuple((tmp_path / str(i), tmp_path) for i in range(9))
    found = LabelledImages(pairs, ("a", "b"))
    assert [path.name for path, _ in found.subset(3)] == ["0", "4", "8"]
    assert len(found.subset(100)) == 9
    with pytest.raises(ValueError, match="0 images are asked for"):
        found.subset(0)


def ade(root: Path) -> Path:
    for split in ("training", "validation"):
        photo(root / "images" / split / "a.jpg")
        save(root / "annotations" / split / "a.png", VALUES)
    return root


def test_ade__names_of_the_scenes_of_the_download_or_numbers(tmp_path: Path) -> None:
    root = ade(tmp_path / "segmentation")
    assert LabelledImages.from_ade(root, "training").classes == ("1", "2", "3")
    table = "Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(
        f"{i}\t0.1\t1\t1\t0\t{name}\n" for i, name in enumerate(("wall, house", "sky", "tree"), 1)
    )
    (root / "objectInfo150.txt").write_text(table)
    named = LabelledImages.from_ade(root, "validation")
    assert named.classes == ("wall", "sky", "tree")
    assert named.read(0)[1].tolist() == [[-1, 0, 1], [2, 0, -1]]
    (tmp_path / "scenes.json").write_text("{}")
    scenes = LabelledImages.from_ade(root, "training")
    assert (scenes.classes, scenes.palette) == (SEGMENTATION_CLASSES, PALETTE)


def test_voc__split_lists(tmp_path: Path) -> None:
    photo(tmp_path / "JPEGImages" / "x1.jpg")
    save(tmp_path / "SegmentationClass" / "x1.png", np.where(VALUES == 3, 255, VALUES), True)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("x1\n\n")
    found = LabelledImages.from_voc(tmp_path, "train")
    assert len(found) == 1 and found.classes == VOC_CLASSES and len(VOC_CLASSES) == 21
    assert found.read(0)[1].tolist() == [[0, 1, 2], [-1, 1, 0]]
    with pytest.raises(FileNotFoundError, match="no split 'val' .* it has train"):
        LabelledImages.from_voc(tmp_path, "val")
    (lists / "train.txt").write_text("x1\nx2\n")
    with pytest.raises(FileNotFoundError, match=r"2 of the 4 files .*x2\.jpg"):
        LabelledImages.from_voc(tmp_path, "train")
    (lists / "train.txt").write_text("")
    with pytest.raises(ValueError, match="no image with a mask"):
        LabelledImages.from_voc(tmp_path, "train")
