"""The hook connects the data sets with the work dir and warns about new entries."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from image_files import photo_folder
from mmengine.dataset import ConcatDataset, RepeatDataset

from mmrel.datasets import ImageFolder
from mmrel.datasets.bad_samples import read_bad_samples
from mmrel.registry import HOOKS

DECODE = [dict(type="mmrel.DecodeImage")]


def runner(dataset: object, work_dir: Path, timestamp: str = "20260101_000000") -> SimpleNamespace:
    return SimpleNamespace(
        train_dataloader=SimpleNamespace(dataset=dataset),
        work_dir=str(work_dir),
        timestamp=timestamp,
        logger=logging.getLogger("test_bad_sample_hook"),
    )


def folder(root: Path) -> ImageFolder:
    return ImageFolder(str(photo_folder(root, bad=True)), pipeline=DECODE, min_bad_allowed=3)


def test_hook__lists_and_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = folder(tmp_path / "x")
    hook, fake = HOOKS.build(dict(type="mmrel.BadSampleHook")), runner(dataset, tmp_path)
    hook.before_train(fake)
    for index in range(len(dataset)):
        dataset[index]
    for _ in range(2):
        hook.after_train_epoch(fake)
    entries = read_bad_samples(tmp_path / "bad_samples.jsonl", fake.timestamp)
    assert len(entries) == 3
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "3 unreadable files were replaced" in messages[0] and entries[-1]["path"] in messages[0]


def test_hook__silent_without_bad_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hook = HOOKS.build(dict(type="mmrel.BadSampleHook"))
    hook.after_train_epoch(runner(folder(tmp_path / "x"), tmp_path))
    assert not caplog.records


@pytest.mark.parametrize("wrapper", ["concat", "repeat"])
def test_hook__reaches_wrapped_data_sets(tmp_path: Path, wrapper: str) -> None:
    inner = folder(tmp_path / "x")
    wrapped = ConcatDataset([inner]) if wrapper == "concat" else RepeatDataset(inner, times=2)
    hook = HOOKS.build(dict(type="mmrel.BadSampleHook", filename="bad.jsonl"))
    hook.before_train(runner(wrapped, tmp_path, "t"))
    assert (inner.bad_samples_file, inner.bad_samples_run) == (str(tmp_path / "bad.jsonl"), "t")
