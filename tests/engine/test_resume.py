"""Stop anywhere, resume, and get the same losses, bit for bit."""

import random
from pathlib import Path

import engine_toys
import pytest
import torch

ITERATIONS = 18


def settings(work_dir: Path, workers: int = 0, **changes: object) -> dict:
    result = engine_toys.config(work_dir, **changes)
    result["default_hooks"]["checkpoint"] |= dict(interval=-1, save_last=False)
    result["train_dataloader"]["num_workers"] = workers
    result["train_dataloader"]["sampler"]["type"] = "mmrel.KeyedSampler"
    result["train_dataloader"]["persistent_workers"] = workers > 0
    return result


def train_until(work_dir: Path, stop: int, workers: int = 0) -> None:
    config = settings(work_dir, workers)
    stop_and_save(config, stop)
    runner = engine_toys.build(config)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    engine_toys.close(runner)


def stop_and_save(config: dict, stop: int) -> None:
    """Save at iteration ``stop`` and break off there."""
    config["custom_hooks"][-1] |= dict(stop_after=stop, priority="LOWEST")
    config["default_hooks"]["checkpoint"]["interval"] = stop


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> engine_toys.LossTrace:
    runner = engine_toys.build(settings(tmp_path_factory.mktemp("whole")))
    runner.train()
    return engine_toys.trace(runner), runner.model.state_dict()


@pytest.mark.parametrize("stop", [1, 6, random.Random(0).randrange(7, 12), 17])
@pytest.mark.parametrize("seed", [5, None])
def test_resume__losses_and_weights_bitwise(
    uninterrupted: tuple, tmp_path: Path, stop: int, seed: int | None
) -> None:
    """Also when the second process does not know the seed: the checkpoint does."""
    expected, weights = uninterrupted
    train_until(tmp_path, stop)
    runner = engine_toys.build(settings(tmp_path, resume=True, randomness=dict(seed=seed)))
    runner.train()
    trace = engine_toys.trace(runner)
    assert trace.losses == expected.losses[stop:]
    assert trace.samples == expected.samples[stop:]
    assert trace.positions == expected.positions[stop:]
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, weights[key]), key


@pytest.mark.parametrize("workers", [(2, 2), (0, 2)])
def test_resume__with_loader_workers(
    uninterrupted: tuple, tmp_path: Path, workers: tuple[int, int]
) -> None:
    train_until(tmp_path, 8, workers[0])
    runner = engine_toys.build(settings(tmp_path, workers[1], resume=True))
    runner.train()
    engine_toys.close(runner)
    assert engine_toys.trace(runner).losses == uninterrupted[0].losses[8:]


def test_resume__from_the_end_of_an_epoch(uninterrupted: tuple, tmp_path: Path) -> None:
    config = settings(tmp_path)
    config["default_hooks"]["checkpoint"] = dict(type="CheckpointHook", interval=1)
    engine_toys.build(config).train()
    config |= dict(load_from=str(tmp_path / "epoch_1.pth"), resume=True)
    runner = engine_toys.build(config)
    runner.train()
    assert engine_toys.trace(runner).losses == uninterrupted[0].losses[6:]
    assert engine_toys.trace(runner).positions[0] == (1, 0)


def test_resume__log_names_epoch_and_iteration(tmp_path: Path) -> None:
    train_until(tmp_path, 8)
    runner = engine_toys.build(settings(tmp_path, resume=True, log_level="INFO"))
    runner.train()
    log = next(Path(runner.log_dir).glob("*.log")).read_text()
    assert "Epoch(train) [2][4/6]" in log
    assert "Epoch(train) [1]" not in log


def test_resume__message_hub_continues(tmp_path: Path) -> None:
    train_until(tmp_path, 8)
    runner = engine_toys.build(settings(tmp_path, resume=True))
    runner.train()
    for key in ("train/loss", "train/lr", "train/grad_norm", "train/teacher_momentum"):
        assert len(runner.message_hub.get_scalar(key).data[0]) == ITERATIONS


def test_resume__fp16_with_its_scale(tmp_path: Path) -> None:
    losses = {}
    for stop in (None, 4):
        config = settings(tmp_path / str(stop))
        config["train_cfg"]["max_epochs"] = 1
        scale = dict(init_scale=2.0**4, growth_interval=2)
        config["optim_wrapper"] |= dict(precision="fp16", loss_scale=scale)
        if stop:
            stop_and_save(config, stop)
            with pytest.raises(KeyboardInterrupt):
                engine_toys.build(config).train()
            config["custom_hooks"][-1]["stop_after"] = None
        runner = engine_toys.build({**config, "resume": bool(stop)})
        runner.train()
        losses[stop] = (
            engine_toys.trace(runner).losses,
            runner.optim_wrapper.loss_scaler.get_scale(),
        )
    assert losses[4] == (losses[None][0][4:], 2.0**7)
    assert losses[None][1] == 2.0**7


def test_resume__another_epoch_length_is_refused(tmp_path: Path) -> None:
    train_until(tmp_path, 8)
    config = settings(tmp_path, resume=True)
    config["train_dataloader"]["batch_size"] = 3
    with pytest.raises(ValueError, match=r"6 iterations per epoch, but this one has 8"):
        engine_toys.build(config).train()


def test_resume__a_sampler_that_cannot_skip_is_refused(tmp_path: Path) -> None:
    train_until(tmp_path, 8)
    config = settings(tmp_path, resume=True)
    config["train_dataloader"]["sampler"]["type"] = "DefaultSampler"
    with pytest.raises(TypeError, match=r"mmrel\.KeyedSampler"):
        engine_toys.build(config).train()


def test_checkpoint__loads_without_executing_anything(tmp_path: Path) -> None:
    train_until(tmp_path, 8)
    with torch.serialization.safe_globals([]):
        checkpoint = torch.load(tmp_path / "iter_8.pth", weights_only=True)
    assert checkpoint["meta"]["iter"] == 8
