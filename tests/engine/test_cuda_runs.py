"""On a GPU: real iterations of every method through its recipe's Runner, without a wait for the device.

Everything between the first and the last hook of an iteration runs under ``torch.cuda.set_sync_debug_mode("error")``,
except where the logger reads what it prints.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import LogProcessor, Runner
from PIL import Image
from test_pretraining_configs import CONFIGS, shrink
from test_relvit_configs import shrunk

from mmrel.launch.runner import build_runner

pytestmark = pytest.mark.gpu
RECIPES = {
    "sere": "sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k",
    "ibot": "ibot/ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k",
    "dino": "dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k",
    "selfpatch": "selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k",
    "sit": "sit/sit_vit-small-p16_4xb64-amp-coslr-800e_in1k",
    "mocov3": "mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k",
    "relvit": "relvit/relvit_vit-small-p4_1xb256-100e_cifar10",
}
ITERATIONS, WARM_UP, INTERVAL = 8, 2, 3


class NoWaits(Hook):
    """Makes a wait an error from the third iteration on."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter >= WARM_UP:
            torch.cuda.set_sync_debug_mode("error")


class WaitsAgain(Hook):
    """Ends the check, after all other hooks of an iteration."""

    def __init__(self) -> None:
        self.iterations = 0

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self.iterations += 1
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def logger_may_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the logger read in the iterations in which it logs."""
    log = LoggerHook.after_train_iter

    def after_train_iter(self: LoggerHook, runner: Runner, batch_idx: int, **rest: Any) -> None:
        logs = (batch_idx + 1) % INTERVAL == 0 or batch_idx + 1 == ITERATIONS
        if logs:
            torch.cuda.set_sync_debug_mode("default")
        log(self, runner, batch_idx, **rest)
        if logs and runner.iter >= WARM_UP:
            torch.cuda.set_sync_debug_mode("error")

    monkeypatch.setattr(LoggerHook, "after_train_iter", after_train_iter)
    # Its figure of the memory, too, comes in these iterations only; not every device keeps that count.
    monkeypatch.setattr(LogProcessor, "_get_max_memory", lambda *_: 0)
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` and ``<side>/<split>/<class>``, enough for so many batches of two."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    folders = [root / "train", root / "32" / "train" / "a", root / "32" / "test" / "a"]
    for folder in folders:
        folder.mkdir(parents=True)
        for i in range(2 * ITERATIONS):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def settings(method: str, precision: str, images: Path, work_dir: Path) -> Config:
    path = CONFIGS / f"{RECIPES[method]}.py"
    if method == "relvit":
        config = shrunk(path, images, work_dir)
        for name in [k for k in config if k.startswith(("val_", "test_"))]:
            config.pop(name)
        config.default_hooks.pop("knn")
        config.default_hooks.checkpoint.update(save_best=None, rule=None)
    else:
        config = shrink(Config.fromfile(path), images / "train", work_dir)
    config.optim_wrapper.precision = precision
    config.train_dataloader.update(pin_memory=True)
    config.default_hooks.logger.interval = INTERVAL
    config.experiment_name = f"{method}_{precision}_{work_dir.name}"
    return config


@pytest.mark.parametrize(
    ("method", "precision"), [*((m, "bf16") for m in RECIPES), ("sere", "fp16"), ("relvit", "fp16")]
)
def test_run__waits_for_nothing_but_the_log(
    method: str, precision: str, images: Path, tmp_path: Path, logger_may_wait: None
) -> None:
    runner = Runner.from_cfg(settings(method, precision, images, tmp_path))
    last = WaitsAgain()
    runner.register_hook(NoWaits(), priority="HIGHEST")
    runner.register_hook(last, priority="LOWEST")
    runner.train()
    assert last.iterations == ITERATIONS and runner.iter == ITERATIONS
    assert next(runner.model.parameters()).is_cuda
    assert (tmp_path / "epoch_1.pth").is_file()


@pytest.mark.parametrize("method", RECIPES)
def test_run__compiles_on_a_gpu(method: str, images: Path, tmp_path: Path) -> None:
    """With ``compile=True`` a part that cannot be compiled is an error, not a line in the log and eager code."""
    config = settings(method, "bf16", images, tmp_path)
    config.compile = True
    runner = build_runner(config)
    runner.train()
    assert runner.iter == ITERATIONS
