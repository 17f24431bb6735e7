"""Checkpoints appear whole, older ones go last, and resume passes over what is torn."""

import os
import pickle
from pathlib import Path

import engine_toys
import pytest
import torch
from mmengine.runner import Runner

from mmrel.engine.hooks import AtomicCheckpointHook, atomic_checkpoint
from mmrel.engine.hooks.atomic_checkpoint import unreadable_reason
from mmrel.utils import files


def train(work_dir: Path, keep: int = -1, **changes: object) -> Runner:
    """One epoch of 6 iterations, a checkpoint after each."""
    settings = engine_toys.config(work_dir, **changes)
    settings["train_cfg"]["max_epochs"] = 1
    settings["default_hooks"]["checkpoint"]["max_keep_ckpts"] = keep
    runner = engine_toys.build(settings)
    runner.train()
    return runner


def names(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob("*.pth"))


def test_save__plain_torch_load_reads_it(tmp_path: Path) -> None:
    """No allow-list of classes is needed."""
    train(tmp_path)
    checkpoint = torch.load(tmp_path / "iter_6.pth", weights_only=True)
    assert checkpoint["meta"]["iter"] == 6
    assert len(checkpoint["message_hub"]["log_scalars"]["train/loss"]["log"]) == 6


def test_save__keeps_the_newest_and_leaves_no_rest(tmp_path: Path) -> None:
    train(tmp_path, keep=2)
    assert names(tmp_path) == ["iter_5.pth", "iter_6.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_6.pth")
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.parametrize("fault", ["torch.save", "sync_path", "publish", "_point_to"])
def test_save__a_fault_at_any_point_keeps_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Each step of the fourth save fails in turn; the third, or the fourth, still resumes."""
    target = {"torch.save": torch, "sync_path": files, "_point_to": AtomicCheckpointHook}.get(
        fault, atomic_checkpoint
    )
    name = fault.split(".")[-1]
    original = getattr(target, name)

    def failing(*args: object, **kwargs: object) -> object:
        if (tmp_path / "iter_3.pth").exists():
            raise OSError("no space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, staticmethod(failing) if name == "_point_to" else failing)
    with pytest.raises(OSError, match="no space"):
        train(tmp_path, keep=1)
    monkeypatch.undo()
    assert "iter_3.pth" in names(tmp_path)
    assert unreadable_reason(tmp_path / "iter_3.pth") is None
    runner = train(tmp_path, keep=1, resume=True)
    assert runner.iter == 6
    assert names(tmp_path)[-1] == "iter_6.pth"
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "gone"])
def test_resume__passes_over_a_damaged_file(tmp_path: Path, damage: str) -> None:
    train(tmp_path)
    newest = tmp_path / "iter_6.pth"
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        weight = torch.load(newest, weights_only=True)["state_dict"]["backbone.0.weight"]
        content[content.index(weight.numpy().tobytes()) + 5] ^= 0xFF
    newest.write_bytes({"cut": content[:-500], "empty": b""}.get(damage, content))
    if damage == "gone":
        newest.unlink()
    os.utime(tmp_path / "iter_5.pth")
    runner = train(tmp_path, resume=True)
    assert engine_toys.trace(runner).positions == [(0, 5)]


def test_resume__an_empty_pointer_is_no_obstacle(tmp_path: Path) -> None:
    train(tmp_path)
    (tmp_path / "last_checkpoint").write_text("")
    for name in ("iter_5.pth", "iter_6.pth"):
        (tmp_path / name).unlink()
    runner = train(tmp_path, resume=True)
    assert engine_toys.trace(runner).positions == [(0, 4), (0, 5)]


def test_resume__nothing_there_starts_anew(tmp_path: Path) -> None:
    assert train(tmp_path, resume=True).iter == 6


def test_resume__all_damaged_or_named_one_damaged(tmp_path: Path) -> None:
    torn = tmp_path / "iter_1.pth"
    torn.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="none of the 1 checkpoints"):
        train(tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"Cannot resume from .*iter_1\.pth"):
        train(tmp_path, resume=True, load_from=str(torn))


def test_resume__keys_or_shapes_that_do_not_fit(tmp_path: Path) -> None:
    train(tmp_path)
    path = tmp_path / "iter_3.pth"
    checkpoint = torch.load(path, weights_only=True)
    weights = checkpoint["state_dict"]
    weights["neck.gone"] = weights.pop("center")
    weights["last_layer.bias"] = torch.zeros(9)
    torch.save(checkpoint, path)
    with pytest.raises(
        ValueError, match=r"1 keys missing \['center'\], 1 unexpected .*1 of another"
    ):
        train(tmp_path, resume=True, load_from=str(path))


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("with_zip", [True, False])
def test_resume__a_pickle_that_would_run_code_is_refused(tmp_path: Path, with_zip: bool) -> None:
    train(tmp_path)
    canary, evil = tmp_path / "canary", tmp_path / "iter_9.pth"
    content = {"meta": Payload(str(canary)), "state_dict": {}, "optimizer": {}, "message_hub": {}}
    if with_zip:
        torch.save(content, evil)
    else:
        evil.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="more than tensors and plain types"):
        train(tmp_path, resume=True, load_from=str(evil))
    assert not canary.exists()
