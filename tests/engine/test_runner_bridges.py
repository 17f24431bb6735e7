"""What mmrel adds to MMEngine's runner: hooks that are off, and checkpoints of MMEngine's own hook."""

from pathlib import Path

import engine_toys
import pytest
import torch
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader


@pytest.mark.parametrize("name", ["step_seed", "knn", "teacher_update", "bad_samples", "timer"])
def test_default_hooks__none_switches_any_off(name: str, tmp_path: Path) -> None:
    """In MMEngine's own runner, whether or not its bases had the hook."""
    config = engine_toys.config(tmp_path, log_level="INFO")
    config["default_hooks"] = {**config["default_hooks"], name: None}
    runner = engine_toys.build(config)
    kinds = [type(hook).__name__ for hook in runner.hooks]
    assert "AtomicCheckpointHook" in kinds
    stock = name == "timer"
    assert ("IterTimerHook" in kinds) is not stock
    log = next(tmp_path.rglob("*.log")).read_text()
    assert (f"Hooks switched off by default_hooks: {name}." in log) is not stock


def test_checkpoint__of_mmengines_own_hook_is_read(tmp_path: Path) -> None:
    """Its log buffers are no plain types; OpenMMLab's MMEngine alone cannot read them under torch 2.6."""
    config = engine_toys.config(tmp_path)
    config["default_hooks"]["checkpoint"] = dict(type="CheckpointHook", interval=1)
    runner = engine_toys.build(config)
    assert type(runner) is Runner
    runner.train()
    path = runner.message_hub.get_info("last_ckpt")
    with torch.serialization.safe_globals([]):
        saved = CheckpointLoader.load_checkpoint(path, map_location="cpu")
    assert saved["meta"]["iter"] == runner.iter
    assert type(saved["message_hub"]["log_scalars"]["train/loss"]).__name__ == "HistoryBuffer"
