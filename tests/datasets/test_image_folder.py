"""Folders of images: what is found, what is refused, and what happens to unreadable files."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, photo_folder, pixels

from mmrel.datasets import ImageFolder
from mmrel.datasets.bad_samples import (
    BadSampleLog,
    TooManyBadSamplesError,
    allowed_bad_samples,
    connect_bad_sample_log,
    read_bad_samples,
)
from mmrel.structures import SampleKey

DECODE = [dict(type="mmrel.DecodeImage")]


def test_folder__finds_nested_files_of_all_kinds(tmp_path: Path) -> None:
    dataset = ImageFolder(str(photo_folder(tmp_path)), pipeline=DECODE)
    assert len(dataset) == 12
    paths = [dataset.get_data_info(i)["img_path"] for i in range(12)]
    assert paths == sorted(paths)
    sample = dataset[SampleKey(1, 2, 3)]
    assert sample["key"] == SampleKey(1, 2, 3) and sample["sample_idx"] == 3
    assert sample["img"].ndim == 3 and "gt_label" not in sample


def test_folder__bare_index(tmp_path: Path) -> None:
    dataset = ImageFolder(str(photo_folder(tmp_path)), pipeline=DECODE)
    assert dataset[np.int64(4)]["key"] == SampleKey(0, 0, 4)


def test_folder__labels_from_class_folders(tmp_path: Path) -> None:
    dataset = ImageFolder(str(photo_folder(tmp_path)), with_label=True, pipeline=DECODE)
    assert dataset.CLASSES == ("a", "b")
    assert sorted(dataset.get_gt_labels().tolist()) == [0] * 6 + [1] * 6
    assert dataset[0]["gt_label"] == 0


def test_folder__expands_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_folder(tmp_path / "my photos ü")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(ImageFolder("~/my photos ü", pipeline=DECODE)) == 12


def test_folder__endings_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "X.JPEG").write_bytes(encoded(pixels()))
    assert len(ImageFolder(str(tmp_path), pipeline=DECODE)) == 1


def test_folder__index_is_one_buffer(tmp_path: Path) -> None:
    dataset = ImageFolder(str(photo_folder(tmp_path)), pipeline=DECODE)
    assert isinstance(dataset.source.names.data, np.ndarray)


def test_folder__missing(tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match=r"nowhere' is missing; .*\.jpg.*correct data_root"):
        ImageFolder(str(tmp_path / "nowhere"), pipeline=DECODE)
    assert time.perf_counter() - start < 2


def test_folder__broken_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="link' is missing"):
        ImageFolder(str(tmp_path / "link"), pipeline=DECODE)


def test_folder__is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="is a file; it must be a folder"):
        ImageFolder(str(tmp_path / "x.jpg"), pipeline=DECODE)


@pytest.mark.parametrize("with_label", [True, False])
def test_folder__empty(tmp_path: Path, with_label: bool) -> None:
    with pytest.raises(FileNotFoundError, match=r"no image in it.*|no image in its class.*"):
        ImageFolder(str(tmp_path), with_label=with_label, pipeline=DECODE)


def test_folder__says_what_it_found_instead(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.heic", "README"):
        (tmp_path / name).write_bytes(b"")
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match=r"2 x \.txt, 1 x \.heic, 1 x none|2 x \.txt"):
        ImageFolder(str(tmp_path), pipeline=DECODE)
    assert time.perf_counter() - start < 2


def test_folder__refuses_limits() -> None:
    with pytest.raises(ValueError, match="max_bad_fraction is 2"):
        ImageFolder("x", max_bad_fraction=2)


def test_fingerprint__changes_with_names_and_sizes(tmp_path: Path) -> None:
    first = ImageFolder(str(photo_folder(tmp_path / "x")), pipeline=DECODE).fingerprint()
    assert first == ImageFolder(str(photo_folder(tmp_path / "y")), pipeline=DECODE).fingerprint()
    assert first.startswith("12-")
    with (tmp_path / "x" / "a" / "deep" / "00.png").open("ab") as stream:
        stream.write(b"0")
    assert first != ImageFolder(str(tmp_path / "x"), pipeline=DECODE).fingerprint()


def read_all(root: Path, file: Path | None, epoch: int = 0, **limits: float) -> list[int]:
    dataset = ImageFolder(str(root), pipeline=DECODE, **limits)
    if file is not None:
        connect_bad_sample_log(dataset, file, "run")
    keys = [SampleKey(0, epoch, i) for i in range(len(dataset))]
    return [dataset[key]["sample_idx"] for key in keys]


def test_bad_files__are_replaced_as_a_function_of_the_key(tmp_path: Path) -> None:
    root = photo_folder(tmp_path / "x", bad=True)
    first, again, later = (read_all(root, None, e, min_bad_allowed=3) for e in (0, 0, 1))
    replaced = [i for i, used in enumerate(first) if used != i]
    assert len(replaced) == 3
    assert first == again
    assert [later[i] for i in replaced] != [first[i] for i in replaced]


def test_bad_files__are_listed_once_with_path_and_reason(tmp_path: Path) -> None:
    root, file = photo_folder(tmp_path / "x", bad=True), tmp_path / "bad_samples.jsonl"
    for epoch in range(3):
        read_all(root, file, epoch, min_bad_allowed=3)
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(Path(e["path"]).name for e in entries) == ["cut.jpg", "empty.jpg", "page.jpg"]
    reasons = {Path(e["path"]).name: e["reason"] for e in entries}
    assert "truncated" in reasons["cut.jpg"]
    assert "empty" in reasons["empty.jpg"]
    assert "cannot identify" in reasons["page.jpg"]
    assert all(0 <= e["index"] < 15 for e in entries)


def test_bad_files__above_the_limit_stop_the_run(tmp_path: Path) -> None:
    root, file = photo_folder(tmp_path / "x", bad=True), tmp_path / "bad_samples.jsonl"
    with pytest.raises(
        TooManyBadSamplesError, match=r"2 of 15 files .* at most 1 .* raise max_bad"
    ):
        read_all(root, file)
    assert len(read_bad_samples(file)) == 2


def test_bad_files__limit_counts_what_other_processes_found(tmp_path: Path) -> None:
    root, file = photo_folder(tmp_path / "x", bad=True), tmp_path / "bad_samples.jsonl"
    log = BadSampleLog(file, "run")
    log.record("/elsewhere/1.jpg", 0, "broken")
    with pytest.raises(TooManyBadSamplesError, match="4 of 15"):
        read_all(root, file, min_bad_allowed=3)


def test_bad_files__of_other_runs_do_not_count(tmp_path: Path) -> None:
    root, file = photo_folder(tmp_path / "x", bad=True), tmp_path / "bad_samples.jsonl"
    BadSampleLog(file, "yesterday").record("/elsewhere/1.jpg", 0, "broken")
    read_all(root, file, min_bad_allowed=3)
    assert len(read_bad_samples(file)) == 4 and len(read_bad_samples(file, "run")) == 3


def test_bad_files__nothing_readable_at_all(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(b"x")
    dataset = ImageFolder(str(tmp_path), pipeline=DECODE, max_bad_fraction=1.0, max_refetch=20)
    with pytest.raises(TooManyBadSamplesError, match="no readable image among 21 tries"):
        dataset[0]


def test_bad_files__removed_while_running(tmp_path: Path) -> None:
    root = photo_folder(tmp_path / "x")
    dataset = ImageFolder(str(root), pipeline=DECODE)
    Path(dataset.get_data_info(2)["img_path"]).unlink()
    assert dataset[2]["sample_idx"] != 2


def test_log__unwritable_place(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cannot list .*1\.jpg.*No such file.*work_dir"):
        BadSampleLog(tmp_path / "gone" / "bad.jsonl").record("1.jpg", 1, "broken")


def test_log__survives_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"path": "0.jp\n')
    BadSampleLog(file, "run").record("1.jpg", 1, "broken")
    assert [entry["path"] for entry in read_bad_samples(file)] == ["1.jpg"]


@pytest.mark.parametrize(
    ("size", "allowed"), [(10, 1), (300, 1), (1000, 1), (1001, 2), (1_281_167, 1282)]
)
def test_limit__a_thousandth_and_at_least_one(size: int, allowed: int) -> None:
    assert allowed_bad_samples(size, 0.001, 1) == allowed


def test_ann_file__missing(tmp_path: Path) -> None:
    message = r"no list of images at '.*1percent.txt': write a path below '.*' and the number of"
    with pytest.raises(FileNotFoundError, match=message):
        ImageFolder(str(tmp_path), ann_file="splits/1percent.txt", with_label=True)


@pytest.mark.parametrize("line", ["../secret.png", "/etc/x.png", "a/../../x.png", "a\0.png"])
def test_ann_file__leads_down(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"ok.png\n{line}\n")
    with pytest.raises(ValueError, match="line 2 of .*wanted a path below"):
        ImageFolder(str(tmp_path), ann_file=str(tmp_path / "list.txt"))


def test_read_bad_samples__passes_over_lines_of_others(tmp_path: Path) -> None:
    entry = {"path": "a", "index": 1, "reason": "r", "run": "x"}
    lines = [json.dumps(entry), "[1]", "3", '{"path": 1}', "[" * 100_000, "\xff\xfe", "{"]
    (tmp_path / "bad.jsonl").write_bytes("\n".join(lines).encode("latin-1"))
    assert read_bad_samples(tmp_path / "bad.jsonl") == [entry]
