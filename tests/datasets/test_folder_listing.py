"""Folders as users have them: nothing that is left out goes unmentioned, and no link leads astray."""

import logging
import os
from pathlib import Path

import pytest
from image_files import encoded, pixels
from log_lines import log_lines

from mmrel.datasets import ImageFolder
from mmrel.datasets.folder_listing import list_files

IMAGE = encoded(pixels())
DECODE = [dict(type="mmrel.DecodeImage")]


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(IMAGE)
    return root


def names(dataset: ImageFolder) -> list[str]:
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return [os.path.relpath(info["img_path"], dataset.img_prefix) for info in infos]


def test_folder__decodes_what_pillow_can(tmp_path: Path) -> None:
    """Cameras' and phones' endings, not only .jpg."""
    for form, suffixes in {
        "JPEG": ("jpg", "jpe", "jfif", "JPEG"),
        "AVIF": ("avif",),
        "JPEG2000": ("jp2", "j2k"),
        "PPM": ("pnm", "ppm"),
        "PNG": ("png", "apng"),
        "TIFF": ("tiff", "TIF"),
    }.items():
        for suffix in suffixes:
            (tmp_path / f"x.{suffix}").write_bytes(encoded(pixels(), form))
    dataset = ImageFolder(str(tmp_path), pipeline=DECODE)
    assert len(dataset) == 13
    assert all(dataset[i]["sample_idx"] == i for i in range(13))


def test_folder__counts_and_names_what_it_skips(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.heic", "c.HEIC", "sub/d.cr2", "notes.txt", "README")
    with log_lines() as lines:
        dataset = ImageFolder(str(tmp_path), pipeline=DECODE)
    (line,) = lines
    assert names(dataset) == ["a.jpg"]
    assert "5 files skipped (2 .heic, " in line and "1 without ending" in line
    assert ".cr2 .heic cannot be decoded here: convert such images to JPEG or PNG" in line


def test_folder__other_files_are_worth_no_warning(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "notes.txt", "data.json")
    with log_lines(logging.INFO) as lines, log_lines() as warnings:
        ImageFolder(str(tmp_path), pipeline=DECODE)
    assert not warnings
    assert (
        sum("2 files skipped (1 .txt, 1 .json)" in x or "(1 .json, 1 .txt)" in x for x in lines)
        == 1
    )


@pytest.mark.parametrize("with_label", [True, False])
def test_folder__hidden_files_and_folders_do_not_count(tmp_path: Path, with_label: bool) -> None:
    """What editors and systems leave behind is neither an image nor a class."""
    make(tmp_path, "cat/a.jpg", "dog/b.jpg", "cat/._a.jpg", ".ipynb_checkpoints/c.jpg")
    make(tmp_path, "dog/.ipynb_checkpoints/d.jpg", "cat/.DS_Store", "cat/Thumbs.db")
    dataset = ImageFolder(str(tmp_path), with_label=with_label, pipeline=DECODE)
    assert names(dataset) == ["cat/a.jpg", "dog/b.jpg"]
    assert (("cat", "dog") if with_label else None) == dataset.CLASSES


@pytest.mark.parametrize("with_label", [True, False])
def test_folder__link_loops_end(tmp_path: Path, with_label: bool) -> None:
    make(tmp_path, "cat/a.jpg", "dog/b.jpg")
    (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "all").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "cat" / "self").symlink_to(tmp_path / "cat" / "self")
    (tmp_path / "dog" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with log_lines() as lines:
        dataset = ImageFolder(str(tmp_path), with_label=with_label, pipeline=DECODE)
    assert names(dataset) == ["cat/a.jpg", "dog/b.jpg"]
    (line,) = lines
    assert "4 dead or circular links left out (all, cat/self, cat/up, dog/gone.jpg)" in line


def test_folder__links_to_other_folders_are_followed(tmp_path: Path) -> None:
    """Twice the same folder is no loop: classes may share images."""
    store = make(tmp_path / "store", "x.jpg")
    for name in ("cat", "dog"):
        (make(tmp_path / "data") / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(store, target_is_directory=True)
    dataset = ImageFolder(str(tmp_path / "data"), with_label=True, pipeline=DECODE)
    assert names(dataset) == ["cat/x.jpg", "dog/x.jpg"]
    assert dataset.get_gt_labels().tolist() == [0, 1]


def test_folder__images_without_a_class_are_counted(tmp_path: Path) -> None:
    make(tmp_path, "cat/a.jpg", "cat/deep/a.jpg", "loose.jpg", "other.jpg")
    (tmp_path / "empty").mkdir()
    with log_lines() as lines:
        dataset = ImageFolder(str(tmp_path), with_label=True, pipeline=DECODE)
    assert names(dataset) == ["cat/a.jpg", "cat/deep/a.jpg"]
    assert dataset.CLASSES == ("cat", "empty")
    assert any("2 images that lie directly in it have no class" in line for line in lines)
    assert any("no image in empty" in line for line in lines)


def test_folder__names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(IMAGE)
    dataset = ImageFolder(str(tmp_path), pipeline=DECODE)
    assert dataset[0]["sample_idx"] == 0
    assert dataset.fingerprint().startswith("1-")


def test_listing__many_files_in_order(tmp_path: Path) -> None:
    make(tmp_path, *(f"{c}/{i}.jpg" for c in "ba" for i in (10, 9, 1)), "c.jpg", "a-b.jpg")
    found = list_files(str(tmp_path), lambda name: name.endswith(".jpg")).images
    assert found == sorted(found) and len(found) == 8


def fingerprint(root: Path, **options: object) -> str:
    return ImageFolder(str(root), pipeline=DECODE, **options).fingerprint()


@pytest.mark.parametrize("change", ["add", "remove", "rename", "move", "size", "gone"])
def test_fingerprint__any_change_shows(tmp_path: Path, change: str) -> None:
    files = ("a/1.jpg", "a/2.jpg", "b/1.jpg")
    dataset = ImageFolder(str(make(tmp_path / "x", *files)), pipeline=DECODE)
    before, root = dataset.fingerprint(), tmp_path / "x"
    assert before == fingerprint(make(tmp_path / "elsewhere" / "y", *files))
    match change:
        case "add":
            make(root, "b/2.jpg")
        case "remove":
            (root / "a/2.jpg").unlink()
        case "rename":
            (root / "a/2.jpg").rename(root / "a/3.jpg")
        case "move":
            (root / "a/2.jpg").rename(root / "b/2.jpg")
        case "size":
            (root / "a/2.jpg").write_bytes(IMAGE + b"0")
        case "gone":
            (root / "a/2.jpg").unlink()
            assert dataset.fingerprint() != before
            return
    assert fingerprint(root) != before


def test_fingerprint__same_with_and_without_labels_and_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "x", "a/1.jpg", "b/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert fingerprint(Path("x")) == fingerprint(tmp_path / "x", with_label=True)
