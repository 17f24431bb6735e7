"""``save_best``: there is a best file at every moment, for validation and for k-NN, and its name is checked early."""

import shutil
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import tiny
import torch
from test_knn_hook import loader, make_images

from mmrel.engine.hooks import AtomicCheckpointHook


def settings(work_dir: Path, save_best: str | list[str] = "toy/score", **changes: Any) -> dict:
    """3 epochs of 6 iterations; the score rises in each, so that each has a new best file."""
    changes = engine_toys.validation() | changes
    result = engine_toys.config(work_dir, **{"model": dict(type="ToyScored"), **changes})
    result["default_hooks"]["checkpoint"] |= dict(
        by_epoch=True, max_keep_ckpts=1, save_best=save_best, rule="greater"
    )
    return result


def best(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob("best_*.pth"))


def test_validation__one_best_file_that_the_checkpoint_knows(tmp_path: Path) -> None:
    runner = engine_toys.build(settings(tmp_path))
    runner.train()
    scores = runner.message_hub.get_scalar("val/toy/score").data[0].tolist()
    assert len(scores) == 3
    number = scores.index(max(scores)) + 1
    assert best(tmp_path) == [f"best_toy_score_epoch_{number}.pth"]
    checkpoint = torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    assert checkpoint["message_hub"]["runtime_info"]["best_score"] == max(scores)
    weights = torch.load(tmp_path / best(tmp_path)[0], weights_only=True)
    assert weights["meta"]["iter"] == 6 * number and "optimizer" not in weights


@pytest.mark.parametrize("point", ["_write_latest", "_remove"])
def test_validation__broken_off_between_new_and_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """After the second best file is written, or before the first is removed: both exist; resume ends as it should."""
    whole = engine_toys.build(settings(tmp_path / "whole"))
    whole.train()
    original = getattr(AtomicCheckpointHook, point)

    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(best(tmp_path / "run")) == 2:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(AtomicCheckpointHook, point, broken)
    with pytest.raises(KeyboardInterrupt):
        engine_toys.build(settings(tmp_path / "run")).train()
    assert len(best(tmp_path / "run")) == 2
    monkeypatch.undo()
    runner = engine_toys.build(settings(tmp_path / "run", resume=True))
    runner.train()
    assert best(tmp_path / "run") == best(tmp_path / "whole")
    for key in ("best_score",):
        assert runner.message_hub.get_info(key) == whole.message_hub.get_info(key)
    curves = [r.message_hub.get_scalar("val/toy/score").data[0].tolist() for r in (runner, whole)]
    assert curves[0] == curves[1]


def test_moved__the_old_place_is_left_alone(tmp_path: Path) -> None:
    """The copy's best file is replaced, not that of the original."""
    config = settings(tmp_path / "old")
    config["train_cfg"]["max_epochs"] = 1
    engine_toys.build(config).train()
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    runner = engine_toys.build(settings(tmp_path / "new", resume=True))
    runner.train()
    assert best(tmp_path / "old") == ["best_toy_score_epoch_1.pth"]
    assert len(best(tmp_path / "new")) == 1
    assert Path(runner.message_hub.get_info("best_ckpt")).parent == tmp_path / "new"


@pytest.mark.parametrize("keys", ["knn/top1_k3", ["knn/top1_k1", "knn/feature_std"], "auto"])
def test_knn__best_while_pretraining(tmp_path: Path, keys: str | list[str]) -> None:
    images = make_images(tmp_path / "images")
    config = settings(
        tmp_path, keys, model=tiny.dino(), val_dataloader=None, val_cfg=None, val_evaluator=None
    )
    config["model"]["type"] = "ToyDINO"
    config["train_cfg"]["max_epochs"] = 2
    knn = dict(type="mmrel.KNNHook", k=(1, 3), bank_dataloader=loader(images))
    config["custom_hooks"] = [
        dict(knn, val_dataloader=loader(images)),
        dict(type="mmrel.TeacherUpdateHook"),
    ]
    runner = engine_toys.build(config)
    runner.train()
    named = {"auto": ["knn/top1_k1"]}.get(str(keys), [keys] if isinstance(keys, str) else keys)
    stems = [name.replace("/", "_") for name in named]
    assert [name.split("_epoch_")[0] for name in best(tmp_path)] == sorted(
        f"best_{s}" for s in stems
    )
    info = torch.load(tmp_path / "epoch_2.pth", weights_only=True)["message_hub"]["runtime_info"]
    key = "best_score" if len(named) == 1 else f"best_score_{named[0]}"
    assert info[key] == max(runner.message_hub.get_scalar(named[0]).data[0])


@pytest.mark.parametrize("key", ["knn/top1_k20", "acc/score", "held_out/total"])
def test_unknown_key__is_an_error_at_the_start(tmp_path: Path, key: str) -> None:
    runner = engine_toys.build(settings(tmp_path, key))
    with pytest.raises(ValueError, match=f"save_best is '{key}', and nothing in this run"):
        runner.train()
    assert runner.iter == 0


def test_unknown_key__of_a_known_kind_is_one_at_the_first_evaluation(tmp_path: Path) -> None:
    """MMEngine's metrics do not tell their names before; the checkpoint is there by then."""
    with pytest.raises(ValueError, match=r"'toy/accuracy'.*reports toy/score"):
        engine_toys.build(settings(tmp_path, "toy/accuracy")).train()
    assert (tmp_path / "epoch_1.pth").exists()


def test_evaluation__a_fault_costs_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_toys.ToyScore, "compute_metrics", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine_toys.build(settings(tmp_path)).train()
    assert (tmp_path / "epoch_1.pth").exists()
