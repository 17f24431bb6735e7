"""Exact resume of the real thing: image folder, multi-crop, masks, SERE on iBOT with drop path."""

import copy
from pathlib import Path

import engine_toys
import pytest
import tiny
from test_knn_hook import loader, make_images

STOP, ITERATIONS = 4, 6


def settings(root: Path, work_dir: Path, workers: int) -> dict:
    """2 epochs of 3 iterations of 4 images; iBOT's masks; the k-NN hook after each epoch."""
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="mmrel.MultiCrop", global_size=16, local_size=8, num_local=3),
        dict(type="mmrel.DrawColorAugmentation"),
        dict(type="mmrel.BlockMask", patch_size=4),
        dict(type="mmrel.PackViews", patch_size=4),
    ]
    config = engine_toys.config(work_dir, model=tiny.sere(tiny.ibot(drop_path_rate=0.2)))
    config["train_dataloader"] |= dict(
        dataset=dict(type="mmrel.ImageFolder", data_root=str(root), pipeline=pipeline),
        sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
        num_workers=workers,
    )
    config["train_cfg"]["max_epochs"] = 2
    config["default_hooks"]["checkpoint"] |= dict(interval=STOP, save_last=False)
    knn = dict(
        type="mmrel.KNNHook", bank_dataloader=loader(root), val_dataloader=loader(root), k=(3,)
    )
    config["custom_hooks"][:-1] += [dict(type="mmrel.LastLayerFreezeHook", epochs=1), knn]
    return config


def losses(config: dict, **changes: object) -> tuple[list[float], list[float]]:
    """Losses of each iteration and k-NN accuracies of the whole history."""
    runner = engine_toys.build({**copy.deepcopy(config), **changes})
    try:
        runner.train()
    finally:
        engine_toys.close(runner)
    accuracy = runner.message_hub.get_scalar("knn/top1_k3").data[0].tolist()
    return engine_toys.trace(runner).losses, accuracy


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def uninterrupted(
    images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[float], list[float]]:
    return losses(settings(images, tmp_path_factory.mktemp("whole"), 0))


@pytest.mark.parametrize("workers", [(0, 0), (2, 2), (2, 0)])
def test_resume__remaining_losses_bitwise(
    images: Path,
    uninterrupted: tuple[list[float], list[float]],
    tmp_path: Path,
    workers: tuple[int, int],
) -> None:
    config = settings(images, tmp_path, workers[0])
    config["custom_hooks"][-1] |= dict(stop_after=STOP, priority="LOWEST")
    with pytest.raises(KeyboardInterrupt):
        losses(config)
    remaining, accuracy = losses(settings(images, tmp_path, workers[1]), resume=True)
    assert len(uninterrupted[0]) == ITERATIONS
    assert remaining == uninterrupted[0][STOP:]
    assert accuracy == uninterrupted[1]
