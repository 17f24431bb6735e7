"""Which checkpoint a resume takes, and what it says about settings that changed."""

import os
import shutil
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import torch
from mmengine.runner import Runner

from mmrel.engine.checkpointing.choice import by_step, unreadable_reason
from mmrel.engine.checkpointing.settings import images_of


def settings(work_dir: Path, epochs: int = 1, **changes: Any) -> dict:
    config = engine_toys.config(work_dir, **changes)
    config["train_cfg"]["max_epochs"] = epochs
    return config


def run(config: dict) -> Runner:
    runner = engine_toys.build(config)
    runner.train()
    return runner


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of six iterations."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(settings(folder))
    return folder


def test_order__by_step_over_both_kinds(tmp_path: Path) -> None:
    for name in ("epoch_2.pth", "iter_9.pth", "iter_13.pth", "epoch_10.pth", "best_epoch_99.pth"):
        (tmp_path / name).touch()
    (tmp_path / "epoch_x.pth").touch()
    names = [path.name for path in by_step(tmp_path, "epoch_{}.pth", True, 6)]
    assert names == ["epoch_10.pth", "iter_13.pth", "epoch_2.pth", "iter_9.pth"]


def test_choice__a_copy_without_dates_at_another_place(trained: Path, tmp_path: Path) -> None:
    """The newest step is taken, from the copy, although the pointer names the old place and dates say iter_1."""
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    for step in range(1, 7):
        os.utime(copy / f"iter_{step}.pth", (1e9 - step, 1e9 - step))
    before = sorted(path.name for path in trained.iterdir())
    runner = engine_toys.build(settings(copy, epochs=2, resume=True))
    runner.train()
    assert runner._load_from == str(copy / "iter_6.pth")
    assert engine_toys.trace(runner).positions[0] == (1, 0)
    assert sorted(path.name for path in trained.iterdir()) == before


def test_choice__pointer_to_a_file_that_only_the_old_place_has(
    trained: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / "iter_6.pth").unlink()
    runner = run(settings(copy, resume=True))
    assert runner._load_from == str(copy / "iter_5.pth")


def junk(path: Path, kind: str) -> None:
    """One kind of thing that may lie in a work dir under a checkpoint's name."""
    if kind == "folder":
        path.mkdir()
    elif kind == "number":
        torch.save(5, path)
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "strings":
        torch.save(dict.fromkeys(("meta", "state_dict", "optimizer", "message_hub"), "x"), path)
    elif kind == "no position":
        torch.save({k: {} for k in ("meta", "state_dict", "optimizer", "message_hub")}, path)
    elif kind == "link":
        path.symlink_to("/nowhere/at/all")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "zeros":
        path.write_bytes(bytes(5000))
    else:
        path.write_bytes(kind.encode() * 50)


@pytest.mark.parametrize(
    "kind",
    [
        "folder",
        "number",
        "list",
        "strings",
        "no position",
        "link",
        "loop",
        "zeros",
        "PK",
        "text \x80.",
    ],
)
def test_choice__passes_over_anything_unreadable(trained: Path, tmp_path: Path, kind: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    junk(copy / "epoch_3.pth", kind)
    (copy / "last_checkpoint").write_text("epoch_3.pth")
    assert unreadable_reason(copy / "epoch_3.pth")
    runner = run(settings(copy, resume=True))
    assert runner._load_from == str(copy / "iter_6.pth")
    assert f"Resume passes over {copy / 'epoch_3.pth'}: it" in engine_toys.log_of(runner)


def test_start__a_second_run_in_a_used_work_dir_says_so(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    log = engine_toys.log_of(run(settings(copy)))
    assert "holds 6 checkpoints of an earlier run, the latest iter_6.pth" in log
    assert "give --resume" in log
    assert "earlier run" not in engine_toys.log_of(run(settings(tmp_path / "fresh")))


def changed(config: dict, path: str, value: Any) -> dict:
    """The settings with one of them changed."""
    *parents, last = path.split(".")
    node: Any = config
    for name in parents:
        node = node[int(name)] if name.isdigit() else node[name]
    node[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "train_dataloader.dataset.length",
            23,
            "trained on 24 images and the data set now has 23 (1 fewer)",
        ),
        ("train_dataloader.dataset.length", 30, "24 images and the data set now has 30 (6 more)"),
        (
            "optim_wrapper.optimizer.type",
            "Adam",
            "optimizer was AdamW when the checkpoint was written and is Adam",
        ),
    ],
)
def test_changed__refused(
    trained: Path, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    names = sorted(file.name for file in copy.glob("*.pth"))
    with pytest.raises(ValueError) as caught:
        run(changed(settings(copy, epochs=2, resume=True), path, value))
    assert message in str(caught.value) and "load_from without resume" in str(caught.value)
    assert sorted(file.name for file in copy.glob("*.pth")) == names


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "optim_wrapper.optimizer.lr",
            0.5,
            "lr was 0.01 when the checkpoint was written and is 0.5 now: the check",
        ),
        (
            "optim_wrapper.precision",
            "bf16",
            "precision was not set when the checkpoint was written and is 'bf16' now: the new",
        ),
        ("optim_wrapper.accumulative_counts", 2, "accumulative_counts was not set"),
        (
            "optim_wrapper.clip_grad.max_norm",
            3.0,
            "max_norm was 0.3 when the checkpoint was written and is 3.0",
        ),
        (
            "train_cfg.max_epochs",
            3,
            "max_epochs was 1 when the checkpoint was written and is 3 now: the new",
        ),
        (
            "randomness.seed",
            7,
            "seed was 5 when the checkpoint was written and is 7 now: the checkpoint's",
        ),
        (
            "model.dropout",
            0.1,
            "model.dropout was not set when the checkpoint was written and is 0.1",
        ),
        ("param_scheduler.0.end", 1e-5, "param_scheduler.0.end was 1e-06"),
    ],
)
def test_changed__announced(
    trained: Path, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    log = engine_toys.log_of(run(changed(settings(copy, resume=True), path, value)))
    assert message in log
    assert log.count("when the checkpoint was written") == 1


def test_changed__the_announcement_is_true(trained: Path, tmp_path: Path) -> None:
    """A new learning rate in the configuration does not count after a resume; the checkpoint's does."""
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    config = changed(settings(copy, epochs=2, resume=True), "optim_wrapper.optimizer.lr", 0.5)
    same = run(settings(tmp_path / "same", epochs=2))
    assert run(config).optim_wrapper.get_lr() == same.optim_wrapper.get_lr()


def test_changed__nothing_is_said_where_nothing_changed(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    config = settings(copy, resume=True)
    config["train_dataloader"] |= dict(num_workers=2, timeout=60)
    runner = run(config)
    engine_toys.close(runner)
    assert "when the checkpoint was written" not in engine_toys.log_of(runner)


class Printed:
    """A data set with a fingerprint."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __len__(self) -> int:
        return 3

    def fingerprint(self) -> str:
        return self.mark


def test_images__fingerprints_of_wrapped_data_sets() -> None:
    wrapper = torch.utils.data.ConcatDataset([Printed("a"), Printed("b")])
    assert images_of(wrapper) == {"number": 6, "fingerprints": ["a", "b"]}
