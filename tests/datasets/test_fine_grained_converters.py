"""Pets, birds, cars and aircraft: original layouts in, class folders out; a missing file is named with its place."""

import io
from pathlib import Path

import archives
import numpy as np
import pytest

from mmrel.datasets import ImageFolder
from mmrel.datasets.converters import WrongLayoutError, convert_dataset


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def mat(**arrays: object) -> bytes:
    """A MATLAB file."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, arrays)
    return buffer.getvalue()


def struct(rows: list[dict]) -> np.ndarray:
    """A MATLAB structure array ``(1, n)``."""
    names = list(rows[0])
    array = np.zeros((1, len(rows)), dtype=[(name, object) for name in names])
    for i, row in enumerate(rows):
        array[0, i] = tuple(row[name] for name in names)
    return array


PETS = {
    "annotations/trainval.txt": b"Abyssinian_100 1 1 1\nshiba_inu_7 34 2 26\n",
    "annotations/test.txt": b"Abyssinian_2 1 1 1\n",
    "images/Abyssinian_100.jpg": b"a",
    "images/shiba_inu_7.jpg": b"b",
    "images/Abyssinian_2.jpg": b"c",
    "images/unused_1.jpg": b"d",
}
CUB = {
    "CUB_200_2011/images.txt": b"1 001.Albatross/A_1.jpg\n2 002.Auk/B_1.jpg\n3 001.Albatross/A_2.jpg\n",
    "CUB_200_2011/train_test_split.txt": b"1 1\n2 1\n3 0\n",
    "CUB_200_2011/images/001.Albatross/A_1.jpg": b"a",
    "CUB_200_2011/images/002.Auk/B_1.jpg": b"b",
    "CUB_200_2011/images/001.Albatross/A_2.jpg": b"c",
}
AIRCRAFT = {
    "fgvc/data/images_variant_trainval.txt": b"1025794 707-320\n2 F-16A/B\n",
    "fgvc/data/images_variant_test.txt": b"3 Challenger 600\n",
    **{f"fgvc/data/images/{name}.jpg": name.encode() for name in ("1025794", "2", "3")},
}
EXPECTED = {
    "pets": {
        "trainval/Abyssinian/Abyssinian_100.jpg",
        "trainval/shiba_inu/shiba_inu_7.jpg",
        "test/Abyssinian/Abyssinian_2.jpg",
    },
    "cub": {
        "train/001.Albatross/A_1.jpg",
        "train/002.Auk/B_1.jpg",
        "test/001.Albatross/A_2.jpg",
    },
    "aircraft": {
        "trainval/707-320/1025794.jpg",
        "trainval/F-16A-B/2.jpg",
        "test/Challenger 600/3.jpg",
    },
}
FILES = {"pets": PETS, "cub": CUB, "aircraft": AIRCRAFT}


@pytest.mark.parametrize("name", FILES)
def test_convert__class_folders(tmp_path: Path, name: str) -> None:
    source = archives.write_tar(tmp_path / "source.tgz", FILES[name])
    counts = convert_dataset(name, source, tmp_path / "out")
    assert sorted(counts.values()) == [1, 2]
    assert tree(tmp_path / "out") == EXPECTED[name]
    train = next(split for split in counts if split != "test")
    assert len(ImageFolder(str(tmp_path / "out" / train), with_label=True).CLASSES) == 2


@pytest.mark.parametrize("name", FILES)
def test_convert__missing_image_is_named(tmp_path: Path, name: str) -> None:
    files = dict(FILES[name])
    lost = next(file for file in files if file.endswith(".jpg"))
    del files[lost]
    source = archives.write_files(tmp_path / "source", files)
    with pytest.raises(WrongLayoutError, match=rf"expected {lost} in .*Complete the download"):
        convert_dataset(name, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "anchor"),
    [
        ("pets", "annotations/trainval.txt"),
        ("cub", "train_test_split.txt"),
        ("cars", "cars_annos.mat or devkit/cars_train_annos.mat"),
        ("aircraft", "images_variant_trainval.txt"),
    ],
)
def test_convert__wrong_folder(tmp_path: Path, name: str, anchor: str) -> None:
    source = archives.write_files(tmp_path / "source", {"x/holiday.jpg": b""})
    with pytest.raises(WrongLayoutError, match=rf"expected {anchor} in .*found x/holiday\.jpg"):
        convert_dataset(name, source, tmp_path / "out")


CARS_OUT = {"train/014/00001.jpg", "train/196/00002.jpg", "test/014/00001.jpg"}


@pytest.mark.parametrize("labels", ["devkit", ""])
def test_cars__devkit(tmp_path: Path, labels: str) -> None:
    pytest.importorskip("scipy")
    train = struct([{"class": 14, "fname": "00001.jpg"}, {"class": 196, "fname": "00002.jpg"}])
    test = struct([{"class": 14, "fname": "00001.jpg"}])
    files = {
        "devkit/cars_train_annos.mat": mat(annotations=train),
        f"{labels}/cars_test_annos_withlabels.mat".lstrip("/"): mat(annotations=test),
        "cars_train/00001.jpg": b"a",
        "cars_train/00002.jpg": b"b",
        "cars_test/00001.jpg": b"c",
    }
    source = archives.write_files(tmp_path / "source", files)
    assert convert_dataset("cars", source, tmp_path / "out") == {"train": 2, "test": 1}
    assert tree(tmp_path / "out") == CARS_OUT
    assert (tmp_path / "out/test/014/00001.jpg").read_bytes() == b"c"


def test_cars__one_file(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    rows = [
        {"relative_im_path": f"car_ims/{name}.jpg", "class": label, "test": test}
        for name, label, test in (("000001", 14, 0), ("000002", 196, 0), ("000003", 14, 1))
    ]
    files = {
        "cars/cars_annos.mat": mat(annotations=struct(rows)),
        **{f"cars/{row['relative_im_path']}": b"x" for row in rows},
    }
    source = archives.write_files(tmp_path / "source", files)
    assert convert_dataset("cars", source, tmp_path / "out") == {"train": 2, "test": 1}
    assert tree(tmp_path / "out") == {
        "train/014/000001.jpg",
        "train/196/000002.jpg",
        "test/014/000003.jpg",
    }
