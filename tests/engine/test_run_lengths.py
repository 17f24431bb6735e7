"""Runs whose lengths do not fit: long accumulation, loops without epochs, freezes and warm-ups without an end."""

from pathlib import Path

import engine_toys
import pytest
import tiny
import torch

from mmrel.models.selfsup.student_teacher import MAX_UNCOMMITTED


def short(work_dir: Path, **changes: object) -> dict:
    settings = engine_toys.config(work_dir, **changes)
    settings["default_hooks"]["checkpoint"] = None
    return settings


def log_of(settings: dict) -> str:
    runner = engine_toys.build(settings)
    runner.train()
    return engine_toys.log_of(runner)


def test_accumulation__over_more_than_64_iterations(tmp_path: Path) -> None:
    settings = short(tmp_path, model=dict(tiny.dino(), type="ToyDINO"))
    settings["optim_wrapper"]["accumulative_counts"] = 70
    settings["train_dataloader"] |= dict(batch_size=1, dataset=dict(type="ToyDataset", length=72))
    settings["train_cfg"]["max_epochs"] = 1
    runner = engine_toys.build(settings)
    before = runner.model.teacher.neck.projection.mlp[0].weight.clone()
    runner.train()
    assert runner.model.max_uncommitted == 70 * MAX_UNCOMMITTED
    assert not torch.equal(runner.model.teacher.neck.projection.mlp[0].weight, before)


@pytest.mark.parametrize("hook", ["TeacherUpdateHook", "LastLayerFreezeHook"])
def test_iteration_loop__is_refused_where_epochs_matter(tmp_path: Path, hook: str) -> None:
    settings = short(tmp_path, train_cfg=dict(type="IterBasedTrainLoop", max_iters=4))
    settings["param_scheduler"] = None
    options = dict(epochs=1) if hook == "LastLayerFreezeHook" else {}
    settings["custom_hooks"] = [dict(type=f"mmrel.{hook}", **options)]
    runner = engine_toys.build(settings)
    with pytest.raises(TypeError, match=r"IterBasedTrainLoop, which counts.*ResumableEpochLoop"):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(("epochs", "is_told"), [(3, True), (2, False)])
def test_freeze__that_covers_the_run_is_announced(
    tmp_path: Path, epochs: int, is_told: bool
) -> None:
    settings = short(tmp_path)
    settings["custom_hooks"].append(dict(type="mmrel.LastLayerFreezeHook", epochs=epochs))
    text = "LastLayerFreezeHook.epochs is 3 and the run has 3 epochs"
    assert (text in log_of(settings)) == is_told


@pytest.mark.parametrize(("total", "warmup"), [(None, 3), (3, 3), (None, 2)])
def test_warmup__that_covers_the_run_is_announced(
    tmp_path: Path, total: int | None, warmup: int
) -> None:
    settings = short(tmp_path)
    settings["param_scheduler"][0] |= dict(total=total, warmup=warmup)
    text = "The warm-up of lr (18 steps) is cut to the run's length (18 steps): it covers the whole run"
    assert (text in log_of(settings)) == (warmup == 3)


def test_temperature__whose_rise_does_not_end_is_announced(tmp_path: Path) -> None:
    model = dict(tiny.dino(), type="ToyDINO")
    model["head"]["teacher_temperature"] = dict(start=0.04, end=0.07, warmup_epochs=5)
    settings = short(tmp_path, model=model)
    settings["train_cfg"]["max_epochs"] = 1
    text = "rises over 5 epochs to 0.07 and the run has 1, so it never gets there"
    assert text in log_of(settings)
