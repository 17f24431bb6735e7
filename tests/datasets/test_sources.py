"""The same images from wherever they are: order, labels, bytes; and what is told of bad sources."""

import io
import pickle
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from containers import (
    files_of,
    table_of,
    write_arrow,
    write_parquet,
    write_tar,
    write_zip,
)
from image_files import encoded, photo_folder, pixels
from log_lines import log_lines

from mmrel.datasets import ImageFolder
from mmrel.datasets.sources import ImageSource, open_source
from mmrel.datasets.sources.names import PackedNames
from mmrel.utils import UsageError

DECODE = [dict(type="mmrel.DecodeImage")]
CLASSES = ["a", "b"]


def is_image(name: str) -> bool:
    return name.endswith((".png", ".jpeg", ".jpg"))


def as_list(folder: Path) -> Path:
    lines = [f"{name}\t{name[0]}" for name in files_of(folder)]
    (folder.parent / "photos.txt").write_text("\n".join(f"photos/{line}" for line in lines))
    return folder.parent / "photos.txt"


def as_csv(folder: Path) -> Path:
    rows = ["path,label", *(f'"photos/{name}",{name[0]}' for name in files_of(folder))]
    (folder.parent / "photos.csv").write_text("\n".join(rows))
    return folder.parent / "photos.csv"


def as_shards(folder: Path) -> Path:
    (folder.parent / "shards").mkdir()
    files = files_of(folder)
    for first in CLASSES:
        part = {name: data for name, data in files.items() if name[0] == first}
        write_tar(folder.parent / "shards" / f"{first}.tar", part, prefix="./")
    return folder.parent / "shards"


def as_parquet(folder: Path) -> Path:
    return write_parquet(folder.parent / "x.parquet", table_of(files_of(folder), CLASSES))


def as_arrow(folder: Path) -> Path:
    return write_arrow(folder.parent / "x.arrow", table_of(files_of(folder), CLASSES))


FORMS: dict[str, Callable[[Path], Path]] = {
    "list": as_list,
    "csv": as_csv,
    "zip": lambda folder: write_zip(folder.parent / "x.zip", files_of(folder)),
    "stored": lambda folder: write_zip(folder.parent / "x.zip", files_of(folder), 0),
    "cbz": lambda folder: write_zip(folder.parent / "x.cbz", files_of(folder)),
    "tar": lambda folder: write_tar(folder.parent / "x.tar", files_of(folder)),
    "shards": as_shards,
    "pattern": lambda folder: as_shards(folder) / "*.tar",
    "parquet": as_parquet,
    "arrow": as_arrow,
}


@pytest.mark.parametrize("form", FORMS)
def test_source__same_images_as_the_folder(form: str, tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    root = FORMS[form](folder)
    (folder / "not an image.json").write_bytes(b"{}")
    wanted, found = (
        ImageFolder(str(place), with_label=True, pipeline=DECODE) for place in (folder, root)
    )
    assert found.CLASSES == wanted.CLASSES == ("a", "b")
    assert found.get_gt_labels().tolist() == wanted.get_gt_labels().tolist()
    for i in range(12):
        assert np.array_equal(found[i]["img"], wanted[i]["img"])
        assert found[i]["sample_idx"] == i and found[i]["gt_label"] == wanted[i]["gt_label"]
    assert "img_reader" not in found[0]
    assert len(ImageFolder(str(root), pipeline=DECODE)) == 12


def read(source: ImageSource, index: int) -> bytes:
    return source.read(index)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_source__read_in_other_processes(method: str, tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    roots = [FORMS[form](folder) for form in ("zip", "shards", "parquet", "arrow")]
    sources = [open_source(str(root), is_image, lambda n: 0) for root in roots]
    tasks = [(source, i) for source in sources for i in range(len(source))] * 4
    wanted = [source.read(i) for source, i in tasks]  # opens the files here first
    with get_context(method).Pool(2) as pool:
        assert pool.starmap(read, tasks, chunksize=1) == wanted
    assert [source.read(i) for source, i in tasks] == wanted
    assert all(len(pickle.dumps(source)) < 10_000 for source in sources)


def test_names__packed() -> None:
    raw = b"\xff.png".decode("utf-8", "surrogateescape")  # a file name that is no UTF-8
    names = ["ä/x.PNG", "", "no_ending", "b.tiff", "x.png", "dir.d/with_no_ending", raw]
    packed = PackedNames.pack(iter(names))
    assert list(packed) == names and packed[-1] == names[-1] and list(packed[1:3]) == names[1:3]
    assert packed.ends.dtype == np.uint32
    assert packed.ending_in([".png", ".tiff"]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert PackedNames.pack(["a.jpg", "b.png", "c.jpeg"]).ending_in([".png"]).tolist() == [1]
    assert PackedNames.pack([]).ending_in([".png"]).tolist() == []
    encoded = packed.encoded(np.array([3, 0, 1]))
    assert encoded == [b"b.tiff", "ä/x.PNG".encode(), b""]
    with pytest.raises(IndexError):
        packed[7]


def test_fingerprint__of_a_folder_stays_what_it_was(tmp_path: Path) -> None:
    """Written down before sources were made, so that older checkpoints resume."""
    for name, size in (("b/2.jpg", 5), ("a.jpg", 3), ("a-b/1.png", 4), ("ä.png", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    assert ImageFolder(str(tmp_path)).fingerprint() == FINGERPRINT


FINGERPRINT = "4-0f699640a6126e9b"


def test_folder__inside_an_archive(tmp_path: Path) -> None:
    files = files_of(photo_folder(tmp_path / "photos"))
    inner = {f"{part}/{name}": data for part in ("train", "val") for name, data in files.items()}
    root = write_zip(tmp_path / "x.zip", {**inner, "train/a/.hidden.png": b"", "train/r.md": b"x"})
    dataset = ImageFolder(f"{root}/train", with_label=True, pipeline=DECODE)
    assert len(dataset) == 12 and dataset.CLASSES == ("a", "b")
    assert dataset[0]["img_path"] == f"{root}/train/a/deep/00.png"
    assert ImageFolder(str(root), with_label=True, pipeline=DECODE).CLASSES == ("train", "val")


def test_webdataset__classes_beside_the_images(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for i, label in enumerate((b"7", b"10", b"7")):
        files |= {f"{i:03d}.jpg": b"", f"{i:03d}.cls": label, f"{i:03d}.json": b"{}"}
    root = str(write_tar(tmp_path / "0.tar", files))
    dataset = ImageFolder(root, with_label=True, pipeline=DECODE)
    assert dataset.CLASSES == ("7", "10")
    assert dataset.get_gt_labels().tolist() == [0, 0, 1]
    assert [dataset.get_data_info(i)["img_path"][-7:-4] for i in range(3)] == ["000", "002", "001"]
    names = [f"class {i}" for i in range(12)]
    told = ImageFolder(str(tmp_path / "0.tar"), with_label=True, classes=names, pipeline=DECODE)
    assert told.get_gt_labels().tolist() == [7, 7, 10]


def test_folder__of_images_beside_archives_warns(tmp_path: Path) -> None:
    photo_folder(tmp_path)
    write_tar(tmp_path / "more.tar", {"a.png": b"x"})
    with log_lines() as lines:
        assert len(ImageFolder(str(tmp_path), pipeline=DECODE)) == 12
    assert ".tar beside images are not looked into: give them as data_root=[/a,/b.tar]" in lines[0]


def test_pipeline__must_begin_with_decode_image(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.png": b"x"})
    with pytest.raises(UsageError, match=r"pipeline has LoadImageFromFile\. Begin it with"):
        ImageFolder(str(path), pipeline=[dict(type="LoadImageFromFile")])


def test_values__of_many_bits_are_found_in_archives(tmp_path: Path) -> None:
    deep = (pixels().astype(np.uint16) * 16)[..., 0]
    path = write_zip(tmp_path / "x.zip", {"a.png": encoded(deep, "PNG")})
    dataset = ImageFolder(str(path), pipeline=DECODE)
    assert dataset.pipeline.transforms[0].depth.bits == 12


def test_root__a_pattern_of_folders(tmp_path: Path) -> None:
    photo_folder(tmp_path / "2023-may", 3)
    photo_folder(tmp_path / "2024-may", 4)
    photo_folder(tmp_path / "2024-june", 2)
    dataset = ImageFolder(str(tmp_path / "*-may"), pipeline=DECODE)
    assert len(dataset) == 7 and "2023-may" in dataset.get_data_info(0)["img_path"]
    with pytest.raises(FileNotFoundError, match=r"\*-july' is missing"):
        ImageFolder(str(tmp_path / "*-july"), pipeline=DECODE)


def test_root__image_or_text(tmp_path: Path) -> None:
    buffer = io.BytesIO(encoded(pixels()))
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    with pytest.raises(FileNotFoundError, match="is a file; it must be a folder of images"):
        ImageFolder(str(tmp_path / "x.jpg"))
