"""Two gloo processes: a resting backbone and an early teacher, under DDP and FSDP2, straight and resumed by the other.

One pair of processes plays all scenes, since starting one takes longer than any of them.
"""

import copy
import os
import shutil
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_toys
import pytest
import tiny
import torch
from going_on_toys import equal, freeze, part
from mmengine.config import Config, config
from mmengine.dist import barrier, get_rank
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from processes import join_processes, run_processes
from torch import distributed
from yapf.yapflib import yapf_api

from mmrel.engine.hooks import FreezeBackboneHook
from mmrel.engine.optimizers import SelfSupOptimWrapper
from mmrel.launch.runner import build_runner

FSDP, DDP = "mmrel.FullySharded", "MMDistributedDataParallel"
BACKBONES = ("backbone.", "teacher.backbone.")
EPOCH, STEPS, STOP = 3, 6, 2
"""Iterations of an epoch and of a run, and of the checkpoint that the other wrapper goes on from, inside the rest."""


def settings(folder: Path, kind: str, processes: int = 2, **changes: Any) -> dict[str, Any]:
    model = dict(type="ToyGram", base=tiny.ibot(drop_path_rate=0.1))
    config = engine_toys.config(folder, model=model, **changes)
    config["train_dataloader"]["batch_size"] = 8 // processes
    if processes > 1:
        wrapper = dict(type=kind)
        if kind == DDP:  # as the recipes have it
            wrapper |= dict(broadcast_buffers=False, gradient_as_bucket_view=True)
        config |= dict(launcher="pytorch", model_wrapper_cfg=wrapper)
        config["env_cfg"] = dict(dist_cfg=dict(backend="gloo"))
    config["train_cfg"]["max_epochs"] = STEPS // EPOCH
    config["custom_hooks"] += [
        freeze(),
        dict(type="mmrel.LastLayerFreezeHook", epochs=1),
        dict(type="mmrel.EarlyTeacherHook", interval=4),
    ]
    return config


def run(folder: Path, kind: str, **changes: Any) -> list[float]:
    found = settings(folder, kind, **changes)
    runner = build_runner(Config(dict(found, experiment_name=f"{folder.name}{kind}")))
    runner.train()
    return engine_toys.trace(runner).losses


def _play(rank: int, size: int, folder: str) -> None:
    join_processes(rank, size, folder)
    for module in (config, yapf_api):  # as conftest.py does for the tests of one process
        module.FormatCode = lambda text, **options: (text, True)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    root = Path(folder)
    losses = {kind: run(root / kind, kind) for kind in (DDP, FSDP)}
    for first, second in ((DDP, FSDP), (FSDP, DDP)):
        work_dir = root / f"{first}-{second}"
        if get_rank() == 0:
            work_dir.mkdir()
            shutil.copy(root / first / f"iter_{STOP}.pth", work_dir)
        barrier()
        losses[f"{first}-{second}"] = losses[first][:STOP] + run(work_dir, second, resume=True)
    torch.save(losses, root / f"{rank}.pth")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    run_processes(_play, 2, 2, str(root), timeout=240)
    return root


def saved(folder: Path, name: str, step: int) -> dict[str, Any]:
    return torch.load(folder / name / f"iter_{step}.pth", weights_only=True)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


def test_one_process__waits_for_no_gradient(one_process: None) -> None:
    """DDP's reducer refuses the step after one in which a parameter had no gradient, so three tell."""
    model = revert_sync_batchnorm(tiny.build(tiny.sere(tiny.ibot())))
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
    optim_wrapper = SelfSupOptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1))
    optim_wrapper.initialize_count_status(model, 0, 6)
    runner = SimpleNamespace(model=ddp, optim_wrapper=optim_wrapper, logger=getLogger("going on"))
    runner.train_loop, runner.max_epochs = None, 2
    hook, start = FreezeBackboneHook(), copy.deepcopy(model.state_dict())
    hook.before_train(runner)
    for step in range(6):
        runner.epoch = step // 3
        hook.before_train_epoch(runner)
        with optim_wrapper.optim_context(ddp):
            losses = ddp(tiny.view_batch(seed=step), mode="loss")
        optim_wrapper.update_params(model.parse_losses(losses)[0])
        model.commit(0.5, ok=optim_wrapper.step_ok)
        known = {id(p) for p in optim_wrapper.optimizer.state}
        rested = not any(id(p) in known for p in model.backbone.parameters())
        kept = equal(part(model.state_dict(), *BACKBONES), part(start, *BACKBONES))
        assert rested == kept == (step < 3)
    assert not equal(part(model.state_dict(), "neck."), part(start, "neck."))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DDP, FSDP])
def test_two_processes__keep_the_backbone_for_an_epoch(folder: Path, kind: str) -> None:
    """To the last bit, without moments; under DDP nobody waits for gradients that do not come."""
    first, warmed, end = (saved(folder, kind, step) for step in (1, EPOCH, STEPS))
    for prefix in BACKBONES:
        start = part(first["state_dict"], prefix)
        assert equal(part(warmed["state_dict"], prefix), start)
        assert not equal(part(end["state_dict"], prefix), start)
    assert not equal(part(warmed["state_dict"], "neck."), part(first["state_dict"], "neck."))
    assert len(warmed["optimizer"]["state"]) < len(end["optimizer"]["state"])
    groups = warmed["optimizer"]["param_groups"]
    assert sum(len(group["params"]) for group in groups) > len(end["optimizer"]["state"]) - 1
    early = part(end["state_dict"], "early_teacher.")
    taken = part(saved(folder, kind, 4)["state_dict"], "teacher.backbone.")
    assert equal({key.removeprefix("early_"): value for key, value in early.items()}, taken)


@pytest.mark.slow
@pytest.mark.parametrize("name", [FSDP, f"{DDP}-{FSDP}", f"{FSDP}-{DDP}"])
def test_two_processes__agree_whatever_the_wrapper(folder: Path, name: str) -> None:
    for rank in range(2):
        losses = torch.load(folder / f"{rank}.pth")
        assert losses[name] == pytest.approx(losses[DDP], rel=1e-4)
        assert len(losses[name]) == STEPS
    expected, found = (saved(folder, each, STEPS)["state_dict"] for each in (DDP, name))
    assert list(expected) == list(found)
    for key in expected:
        if not key.endswith(("qkv.bias",)):  # a key's bias has no gradient but rounding
            torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=1e-4, msg=key)
