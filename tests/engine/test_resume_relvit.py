"""Exact resume without a teacher: RelViT with drop path, patch augmentation, its schedule and MMEngine's wrapper."""

import copy
from pathlib import Path

import engine_toys
import pytest
import tiny
import torch
from test_knn_hook import loader, make_images

STOP, ITERATIONS = 4, 6


def settings(root: Path, work_dir: Path, workers: int) -> dict:
    """2 epochs of 3 iterations of 4 images; the k-NN hook after each epoch."""
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="mmrel.MultiCrop", global_size=16, num_global=1, num_local=0),
        dict(type="mmrel.DrawPatchAugmentation", patch_size=4, noise_prob=0.1),
        dict(type="mmrel.ShufflePatches", patch_size=4),
        dict(type="mmrel.PackViews", patch_size=4),
    ]
    config = engine_toys.config(work_dir, model=tiny.relvit(drop_path_rate=0.2))
    config["train_dataloader"] |= dict(
        dataset=dict(type="mmrel.ImageFolder", data_root=str(root), pipeline=pipeline),
        sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
        num_workers=workers,
    )
    config["train_cfg"]["max_epochs"] = 2
    config["optim_wrapper"] = dict(
        type="OptimWrapper",
        optimizer=dict(type="AdamW", lr=0.01, weight_decay=0.1),
        clip_grad=dict(max_norm=1.0, error_if_nonfinite=True),
    )
    config["param_scheduler"] = [
        dict(type="mmrel.QuarterCosineSchedule", convert_to_iter_based=True)
    ]
    config["default_hooks"]["checkpoint"] |= dict(interval=STOP, save_last=False)
    knn = dict(
        type="mmrel.KNNHook",
        bank_dataloader=loader(root),
        val_dataloader=loader(root),
        k=(3,),
        network="student",
        feature="avg",
    )
    bad_samples = dict(type="mmrel.BadSampleHook")
    config["custom_hooks"] = [dict(type="mmrel.StepSeedHook"), bad_samples, knn]
    config["custom_hooks"].append(dict(type="LossTrace"))
    return config


def outcome(config: dict, **changes: object) -> tuple[list[float], list[float], dict]:
    """Losses of each iteration, k-NN accuracies of the whole history, weights."""
    runner = engine_toys.build({**copy.deepcopy(config), **changes})
    try:
        runner.train()
    finally:
        engine_toys.close(runner)
    accuracy = runner.message_hub.get_scalar("knn/top1_k3").data[0].tolist()
    return engine_toys.trace(runner).losses, accuracy, runner.model.state_dict()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("workers", [(0, 0), (2, 0)])
def test_resume__remaining_losses_and_weights_bitwise(
    images: Path, tmp_path: Path, workers: tuple[int, int]
) -> None:
    whole, knn, weights = outcome(settings(images, tmp_path / "whole", 0))
    assert len(whole) == ITERATIONS and len(set(whole)) == ITERATIONS
    config = settings(images, tmp_path / "broken", workers[0])
    config["custom_hooks"][-1] |= dict(stop_after=STOP, priority="LOWEST")
    with pytest.raises(KeyboardInterrupt):
        outcome(config)
    remaining, accuracy, resumed = outcome(
        settings(images, tmp_path / "broken", workers[1]), resume=True
    )
    assert remaining == whole[STOP:]
    assert accuracy == knn
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
