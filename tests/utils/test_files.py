"""Files are whole or absent, and reach the disk before they get their name."""

import os
import stat
from pathlib import Path

import pytest

from mmrel.utils import files
from mmrel.utils.files import publish, write_atomically, write_text_atomically


def test_publish__content_then_name_then_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that survives a power failure: the content is on the disk before the name, the name before we go on."""
    temporary, final = tmp_path / "a.tmp", tmp_path / "a"
    temporary.write_text("x")
    seen: list[tuple[Path, bool]] = []
    monkeypatch.setattr(files, "sync_path", lambda path: seen.append((path, final.exists())))
    publish(temporary, final)
    assert seen == [(temporary, False), (tmp_path, True)]
    assert final.read_text() == "x" and not temporary.exists()


def test_sync_path__calls_fsync_and_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for path in (tmp_path, tmp_path / "a"):
        if path != tmp_path:
            path.write_text("")
        files.sync_path(path)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(synced[-1])
    assert len(synced) == 2


@pytest.mark.parametrize("fault", ["write", "publish"])
def test_write__a_failure_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = tmp_path / "a.json"
    write_text_atomically(path, "old")

    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    if fault == "publish":
        monkeypatch.setattr(files, "publish", fail)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail if fault == "write" else lambda file: file.write(b"new"))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_write__makes_the_folder_and_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_atomically(tmp_path / "b" / "ä.txt", "grün")
    finally:
        os.umask(before)
    path = tmp_path / "b" / "ä.txt"
    assert path.read_text(encoding="utf-8") == "grün"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
