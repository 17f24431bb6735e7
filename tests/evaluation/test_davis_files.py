"""The layout of DAVIS on the disk: lists, frames, masks, palette; and the size that frames are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.evaluation.davis import (
    davis_palette,
    list_frames,
    object_count,
    read_mask,
    read_split,
    write_mask,
)
from mmrel.evaluation.davis.frames import (
    NORMALIZATION,
    frame_normalization,
    frame_size,
    resize_frame,
)
from mmrel.utils.normalization import IMAGENET, Normalization

MASK = np.repeat(np.arange(4, dtype=np.uint8), 6).reshape(4, 6)


def write_davis(root: Path, sequences: dict[str, int], size: tuple[int, int] = (4, 6)) -> Path:
    """A DAVIS of grey frames with a mask of three objects."""
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("\n".join(sequences) + "\n")
    for name, count in sequences.items():
        for kind in ("JPEGImages", "Annotations"):
            (root / kind / "480p" / name).mkdir(parents=True)
        for k in range(count):
            frame = Image.new("RGB", size[::-1], (k, 90, 90))
            frame.save(root / "JPEGImages" / "480p" / name / f"{k:05d}.jpg")
            write_mask(root / "Annotations" / "480p" / name / f"{k:05d}.png", MASK)
    return root


def test_split__sequences_in_the_order_of_the_list(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"dog": 12, "cat": 3})
    dog, cat = read_split(root)
    assert (dog.name, len(dog.frames), len(dog.masks), cat.name) == ("dog", 12, 12, "cat")
    assert dog.frames[10].name == "00010.jpg" and dog.masks[10].name == "00010.png"
    assert dog.masks[10].parent == root / "Annotations" / "480p" / "dog"


def test_split__bad_lists(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"dog": 3})
    with pytest.raises(FileNotFoundError, match="no list .*test.txt; lists below .*: 2017/val"):
        read_split(root, "test")
    with pytest.raises(FileNotFoundError, match="lists below .*: none. Give the folder that holds"):
        read_split(root / "ImageSets")
    path = root / "ImageSets" / "2017" / "val.txt"
    path.write_text("dog\ncat\n")
    with pytest.raises(FileNotFoundError, match="the sequence cat, listed in .*val.txt, is absent"):
        read_split(root)
    for name in ("../dog", "/etc", "..", "dog/deep"):
        path.write_text(name)
        with pytest.raises(ValueError, match="which is no folder's name"):
            read_split(root)
    path.write_text("\n \n")
    with pytest.raises(ValueError, match="val.txt is empty"):
        read_split(root)


def test_split__missing_masks_and_frames(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"dog": 3})
    masks = root / "Annotations" / "480p" / "dog"
    (masks / "00001.png").unlink()
    with pytest.raises(FileNotFoundError, match="dog lacks masks: .*00001.png"):
        read_split(root)
    (masks / "00000.png").unlink()
    with pytest.raises(FileNotFoundError, match="dog lacks its first mask, so nothing can be"):
        read_split(root)
    for frame in (root / "JPEGImages" / "480p" / "dog").iterdir():
        frame.unlink()
    with pytest.raises(FileNotFoundError, match="holds no frames"):
        read_split(root)


def test_frames__numbers_by_their_value(tmp_path: Path) -> None:
    for name in ("f10.png", "f9.jpg", "F1.png", "notes.txt", ".hidden.png", "f9b.png"):
        (tmp_path / name).touch()
    assert [path.name for path in list_frames(tmp_path)] == [
        "F1.png",
        "f9.jpg",
        "f9b.png",
        "f10.png",
    ]
    (tmp_path / "f10.jpg").touch()
    with pytest.raises(ValueError, match="differ in nothing but the ending"):
        list_frames(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        list_frames(tmp_path / "none")


def test_mask__is_an_indexed_file_in_the_colours_of_davis(tmp_path: Path) -> None:
    path = tmp_path / "new" / "00000.png"
    write_mask(path, MASK)
    with Image.open(path) as image:
        assert image.mode == "P" and image.size == (6, 4)
        rgb = np.asarray(image.convert("RGB"))
    assert rgb[:, 0].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert np.array_equal(read_mask(path), MASK)
    palette = davis_palette()
    assert palette.shape == (256, 3) and len(np.unique(palette, axis=0)) == 256
    assert palette[[4, 8, 64, 255]].tolist() == [
        [0, 0, 128],
        [64, 0, 0],
        [32, 0, 0],
        [224, 224, 192],
    ]


def test_mask__of_any_palette_grey_or_of_bits(tmp_path: Path) -> None:
    image = Image.fromarray(MASK)
    image.putpalette([9, 8, 7] * 256)
    image.save(tmp_path / "own.png")
    Image.fromarray(MASK).save(tmp_path / "grey.png")
    Image.fromarray(MASK > 0).save(tmp_path / "bits.png")
    assert np.array_equal(read_mask(tmp_path / "own.png"), MASK)
    assert np.array_equal(read_mask(tmp_path / "grey.png"), MASK)
    assert np.array_equal(read_mask(tmp_path / "bits.png"), MASK > 0)


def test_mask__bad_files(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "colours.png")
    with pytest.raises(ValueError, match="mode RGB; a mask is an indexed"):
        read_mask(tmp_path / "colours.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UnreadableImageError, match="text.png"):
        read_mask(tmp_path / "text.png")
    whole = (tmp_path / "colours.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match="half.png"):
        read_mask(tmp_path / "half.png")


def test_objects__void_is_none() -> None:
    assert object_count(MASK) == 3
    assert object_count(np.where(MASK == 3, 255, MASK).astype(np.uint8)) == 2
    assert object_count(np.full((2, 2), 255, np.uint8)) == 0


@pytest.mark.parametrize(
    ("frame", "patch", "size", "wanted"),
    [
        ((480, 854), 16, 480, (480, 832)),
        ((480, 854), 8, 480, (480, 832)),
        ((854, 480), 16, 480, (832, 480)),
        ((1080, 1920), 16, 480, (480, 832)),
        ((480, 910), 16, 480, (480, 896)),
        ((480, 480), 16, 480, (480, 448)),
        ((480, 854), 14, 480, (476, 854)),
        ((128, 128), 8, 128, (128, 128)),
        ((120, 214), 16, 120, (128, 208)),
        ((240, 427), 16, 240, (240, 432)),
    ],
)
def test_frame_size__whole_patches(
    frame: tuple[int, int], patch: int, size: int, wanted: tuple[int, int]
) -> None:
    assert frame_size(*frame, patch, size) == wanted


def test_frame_size__smaller_than_a_patch() -> None:
    with pytest.raises(ValueError, match="7x50 pixels at size 480 is smaller than a patch of 8"):
        frame_size(7, 50, 8)
    with pytest.raises(ValueError, match="at size 7 is smaller than a patch of 8"):
        frame_size(50, 50, 8, 7)


def test_resize__is_plain_bilinear_but_for_strong_shrinking() -> None:
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[:, ::2] = 200
    assert resize_frame(frame, (4, 8)) is frame
    assert (resize_frame(frame, (2, 4)) == 100).all()
    enlarged = resize_frame(frame, (4, 16))[0, :, 0]
    assert enlarged[:4].tolist() == [200, 150, 50, 50]


def test_normalization__the_protocols_own_unless_the_weights_say_otherwise() -> None:
    half = Normalization((127.5,) * 3, (127.5,) * 3)
    assert NORMALIZATION.std == pytest.approx((0.228 * 255, 0.224 * 255, 0.225 * 255))
    assert NORMALIZATION.mean == pytest.approx((0.485 * 255, 0.456 * 255, 0.406 * 255))
    assert frame_normalization(None) is frame_normalization(IMAGENET) is NORMALIZATION
    assert frame_normalization(half) is half
