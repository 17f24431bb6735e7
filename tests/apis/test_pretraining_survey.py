"""What is found in a folder before a run, and what is said of folders that are of no use."""

from collections import Counter
from pathlib import Path

import numpy as np
import plan_toys
import pytest
from PIL import Image

from mmrel.apis.pretraining import headers
from mmrel.apis.pretraining import survey as module
from mmrel.apis.pretraining.headers import Header, read_header
from mmrel.apis.pretraining.survey import survey_folder
from mmrel.utils import UsageError


def test_survey__photos_odd_files_and_torn_ones(tmp_path: Path) -> None:
    plan_toys.write_photos(tmp_path, 10)
    whole = (tmp_path / "a" / "001.jpg").read_bytes()
    (tmp_path / "a" / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "film.MP4").write_text("x")
    (tmp_path / ".hidden.jpg").write_bytes(whole)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = survey_folder(str(tmp_path))
    assert (found.num_images, found.sampled, len(found.headers)) == (12, 12, 10)
    assert found.unreadable["empty.png"] == "the file is empty"
    assert "truncated" in found.unreadable["a/torn.jpg"]
    assert found.others == Counter({".txt": 1, ".mp4": 1})
    assert found.dead == ("gone.jpg",)
    assert (found.short_side, found.num_readable) == (40, 10)
    assert found.images[0] == "a/001.jpg"


def test_header__is_upright_and_knows_channels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_header(tmp_path / "turned.jpg") == Header(30, 20, 3, False)
    Image.new("L", (30, 20)).save(tmp_path / "grey.png")
    assert read_header(tmp_path / "grey.png") == Header(20, 30, 1, False)
    Image.fromarray(np.full((4, 6), 4000, np.uint16)).save(tmp_path / "wide.png")
    assert read_header(tmp_path / "wide.png") == Header(4, 6, 1, True)


def test_survey__samples_headers_and_decodes_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_toys.write_photos(tmp_path, 20)
    monkeypatch.setattr(headers, "SAMPLE", 5)
    monkeypatch.setattr(headers, "_decode", lambda path: pytest.fail(f"decoded {path}"))
    found = survey_folder(str(tmp_path))
    assert (found.num_images, found.sampled) == (20, 5)


def test_survey__tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def many(folder: str, is_image: object) -> module.Listing:
        names = [f"{i}.jpg" for i in range(250_000)]
        assert callable(is_image)
        return module.Listing(images=[name for name in names if is_image(name)])

    monkeypatch.setattr(module, "list_files", many)
    monkeypatch.setattr(module, "look_at", lambda *a: ([Header(9, 9, 3, False)], {}))
    told: list[int] = []
    assert survey_folder(str(tmp_path), progress=told.append).num_images == 250_000
    assert told == [100_000, 200_000]


def test_survey__a_list_names_the_images(tmp_path: Path) -> None:
    plan_toys.write_photos(tmp_path / "photos", 12)
    names = [f"a/{i:03}.jpg" for i in range(1, 12, 2)] + ["b/c/000.jpg", "b/c/002.jpg"]
    chosen = tmp_path / "list.txt"
    chosen.write_text("\n".join(names) + "\n\n")
    found = survey_folder(str(tmp_path / "photos"), str(chosen))
    assert list(found.images) == names and found.list_file == str(chosen)
    chosen.write_text("../secret.jpg\n" * 9)
    with pytest.raises(UsageError, match=r"names '\.\./secret\.jpg'"):
        survey_folder(str(tmp_path / "photos"), str(chosen))
    with pytest.raises(UsageError, match="cannot be read"):
        survey_folder(str(tmp_path / "photos"), str(tmp_path / "none.txt"))


def bad_folder(kind: str, tmp: Path) -> str:
    if kind == "missing":
        return str(tmp / "none")
    if kind == "file":
        (tmp / "photo.jpg").write_bytes(b"x")
        return str(tmp / "photo.jpg")
    files = {"videos": ["a.mp4", "b.MOV"], "text": ["a.txt", "b.md"], "empty": []}.get(kind, [])
    for name in files:
        (tmp / name).write_text("x")
    if kind == "three":
        plan_toys.write_photos(tmp, 3)
    if kind == "broken":
        for index in range(9):
            (tmp / f"{index}.jpg").write_text("<html>")
    return str(tmp)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", r"none does not exist \(looked for .*none\)\. Give the folder"),
        ("file", r"photo\.jpg is a file; give the folder that holds the images"),
        (
            "empty",
            r"is empty: there are no images in it or below it\. Pretraining needs at least 8",
        ),
        (
            "videos",
            r"holds no images: its 2 files are 1 \.mov, 1 \.mp4\. These are videos: write their frames",
        ),
        (
            "text",
            r"holds no images: its 2 files are 1 \.md, 1 \.txt\. Pretraining needs at least 8 images",
        ),
        (
            "three",
            r"holds 3 images \(a/001\.jpg, b/c/000\.jpg, b/c/002\.jpg\)\. Pretraining needs at least 8",
        ),
        (
            "broken",
            r"has 9 files with endings of images, but 9 of 9 .* cannot be read: 0\.jpg \(cannot identify",
        ),
    ],
)
def test_survey__says_what_is_wrong_with_a_folder(kind: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        survey_folder(bad_folder(kind, tmp_path))
