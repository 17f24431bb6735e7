"""Zip and tar archives: duplicates, damage, bombs, compression, and what is kept for the next run."""

import zipfile
from pathlib import Path

import pytest
from containers import files_of, write_tar, write_zip
from image_files import photo_folder

from mmrel.datasets import ImageFolder
from mmrel.datasets.bad_samples import connect_bad_sample_log, read_bad_samples
from mmrel.datasets.sources import member_cache, members, open_source
from mmrel.structures import SampleKey
from mmrel.utils import UsageError

DECODE = [dict(type="mmrel.DecodeImage")]


def is_image(name: str) -> bool:
    return name.endswith((".png", ".jpeg"))


def test_tar__the_last_of_two_files_of_a_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.png": b"old"})
    write_tar(path, {"a.png": b"newer"}, mode="a")
    source = open_source(str(path), is_image, lambda n: 0)
    assert len(source) == 1 and source.read(0) == b"newer"


def test_archives__damaged_members_are_listed(tmp_path: Path) -> None:
    files = files_of(photo_folder(tmp_path / "photos"))
    root = write_zip(tmp_path / "x.zip", files, zipfile.ZIP_STORED)
    data = bytearray(root.read_bytes())
    place = data.index(files["a/deep/02.jpeg"]) + 200
    data[place] ^= 255
    root.write_bytes(data)
    dataset = ImageFolder(str(root), pipeline=DECODE)
    connect_bad_sample_log(dataset, tmp_path / "bad.jsonl", "run")
    used = [dataset[SampleKey(0, 0, i)]["sample_idx"] for i in range(12)]
    assert [i for i in range(12) if used[i] != i] == [1]
    [entry] = read_bad_samples(tmp_path / "bad.jsonl")
    assert entry["path"] == f"{root}/a/deep/02.jpeg" and "checksum" in entry["reason"]


def test_archives__cut_or_no_archive(tmp_path: Path) -> None:
    files = files_of(photo_folder(tmp_path / "photos"))
    for path in (write_zip(tmp_path / "x.zip", files), write_tar(tmp_path / "x.tar", files)):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(UsageError, match=rf"{path} is damaged: .*Copy it again"):
            ImageFolder(str(path), pipeline=DECODE)
        path.write_bytes(b"hello" * 1000)
        with pytest.raises(UsageError, match=f"{path} is neither a zip nor a tar archive"):
            ImageFolder(str(path), pipeline=DECODE)


def test_tar__damaged_header_in_the_middle(tmp_path: Path) -> None:
    files = files_of(photo_folder(tmp_path / "photos"))
    path = write_tar(tmp_path / "x.tar", files)
    data = bytearray(path.read_bytes())
    second = 512 + -(-len(files["a/deep/00.png"]) // 512) * 512
    data[second + 150] ^= 255
    path.write_bytes(data)
    with pytest.raises(UsageError, match=f"damaged: there is no valid header at byte {second}"):
        ImageFolder(str(path), pipeline=DECODE)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_tar__compressed_as_a_whole(mode: str, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    path = tmp_path / "shards" / f"x.tar.{mode[2:]}"
    write_tar(path, {"a.png": b"x"}, mode=mode)
    for root in (path, tmp_path / "shards"):
        with pytest.raises(UsageError, match=r"compressed as a whole.*Run `\w+ .*x.tar"):
            ImageFolder(str(root), pipeline=DECODE)


def test_zip__bombs_and_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"\0" * 100_000, zipfile.ZIP_DEFLATED)
        archive.writestr("b.png", b"\0" * 1000, zipfile.ZIP_BZIP2)
        archive.writestr("c.png", b"\0" * 1000, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(members, "MAX_BYTES", 50_000)
    source = open_source(str(path), is_image, lambda n: 0)
    for index, reason in ((0, "claims to have more"), (1, "another method")):
        with pytest.raises(ValueError, match=reason):
            source.read(index)
    assert source.read(2) == b"\0" * 1000
    lying = bytearray(path.read_bytes())
    place = lying.rindex(b"PK\x01\x02")
    lying[place + 24 : place + 28] = (10).to_bytes(4, "little")  # says that it has ten bytes
    path.write_bytes(lying)
    with pytest.raises(ValueError, match="damaged in the archive: 11 bytes instead of 10"):
        open_source(str(path), is_image, lambda n: 0).read(2)


def test_archives__members_are_kept_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(member_cache, "MIN_MEMBERS", 3)
    path = write_tar(tmp_path / "x.tar", {f"{i}.png": bytes([i] * i) for i in range(4)})

    def contents() -> list[bytes]:
        source = open_source(str(path), is_image, lambda n: 0)
        return [source.read(i) for i in range(len(source))]

    first = contents()
    [kept] = (tmp_path / "cache" / "mmrel" / "archives").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(member_cache, "members", None)  # not called again
        assert contents() == first == [b"", b"\1", b"\2" * 2, b"\3" * 3]
    kept.write_bytes(b"PK no such thing")
    assert contents() == first
    write_tar(path, {"9.png": b"nine"}, mode="a")
    assert contents() == [*first, b"nine"]
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert contents() == [*first, b"nine"]


def test_archive__changed_since(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.png": b"x"})
    source = open_source(str(path), is_image, lambda n: 0)
    write_zip(path, {"a.png": b"xy", "b.png": b""})
    with pytest.raises(OSError, match="has changed since it was listed"):
        source.read(0)
