"""FSDP2 against DDP: the same losses, weights, moments and checkpoints, and runs that go from one to the other.

One pair of gloo processes plays all scenes, since starting one takes longer than any of them.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import tiny
import torch
from labelled_images import CLASSES, write_images
from mmengine.config import Config, config
from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.registry import MODELS
from processes import join_processes, run_processes
from test_knn_hook import hook, make_images
from torch import Tensor
from yapf.yapflib import yapf_api

from mmrel.checkpoints.continuation import continue_from
from mmrel.checkpoints.export import export_backbone
from mmrel.engine.fully_sharded import FullySharded
from mmrel.engine.optimizers import NonFiniteLossError
from mmrel.launch.runner import build_runner
from mmrel.models.selfsup.sere import SERE
from mmrel.structures import ViewBatch
from mmrel.utils.sharding import is_sharded, whole_tensor

FSDP, DDP = "mmrel.FullySharded", "MMDistributedDataParallel"
WRAPPERS = {FSDP: FullySharded, DDP: MMDistributedDataParallel}
EVERY = dict(optimizer=dict(type="AdamW", lr=0.01, weight_decay=0.04), clip_grad=dict(max_norm=0.3))
FUSED = dict(EVERY["optimizer"], fused=True)
MODES: dict[str, dict[str, Any]] = {
    "float64": {},
    "bf16": dict(precision="bf16"),
    "fp16": dict(precision="fp16", loss_scale=128.0),
    "gated": dict(optimizer=FUSED, nonfinite_check="deferred", accumulative_counts=2),
}
"""Beside plain float32, which whole runs are compared in."""
STEPS = 3
KEY_BIAS = torch.arange(tiny.WIDTH, 2 * tiny.WIDTH)
"""Where the keys' bias is in that of queries, keys and values."""


@MODELS.register_module()
class ToySERE(SERE):
    """A real SERE on the toy data."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_preprocessor = engine_toys.ToyViews(self.data_preprocessor)


def share(views: ViewBatch) -> ViewBatch:
    count = views.batch_size // get_world_size()
    return tiny.images_of(views, slice(get_rank() * count, (get_rank() + 1) * count))


def wrapped(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    model = revert_sync_batchnorm(tiny.build(tiny.sere())).to(dtype)
    return WRAPPERS[kind](model, **({"broadcast_buffers": False} if kind == DDP else {}))


def optimisation(model: Any, **changes: Any) -> Any:
    from mmengine.optim import build_optim_wrapper

    constructor = dict(
        type="mmrel.SelfSupOptimWrapper", constructor="mmrel.SelfSupOptimWrapperConstructor"
    )
    found = build_optim_wrapper(model, {**constructor, **EVERY, **changes})
    found.initialize_count_status(model, 0, STEPS)
    return found


def step(model: Any, optim_wrapper: Any, views: ViewBatch) -> Tensor:
    """``train_step`` without the data preprocessor, then the commit."""
    with optim_wrapper.optim_context(model):
        losses = model(views, mode="loss")
    loss, _ = model.module.parse_losses(losses)
    optim_wrapper.update_params(loss)
    if optim_wrapper.stepped:
        model.module.commit(0.9, ok=optim_wrapper.step_ok)
    return loss.detach()


def whole(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: whole_tensor(value).clone() for name, value in model.state_dict().items()}


def same_steps(mode: str) -> dict[str, Any]:
    """Losses and the state after some steps, of both wrappers."""
    dtype = torch.float64 if mode == "float64" else torch.float32
    results = {}
    for kind in WRAPPERS:
        model = wrapped(kind, dtype)
        optim_wrapper = optimisation(model, **MODES[mode])
        batches = [share(tiny.view_batch(4, seed=seed, dtype=dtype)) for seed in range(STEPS)]
        losses = [step(model, optim_wrapper, views) for views in batches]
        results[kind] = {"losses": torch.stack(losses), "state": whole(model.module)}
    return results


def settings_of(folder: Path, kind: str, **changes: Any) -> dict[str, Any]:
    """A run of one epoch of 3 iterations with frozen prototypes and one of 3 that trains them."""
    settings = engine_toys.config(folder, launcher="pytorch", **changes)
    settings["model"] = dict(tiny.sere(tiny.ibot(drop_path_rate=0.1)), type="ToySERE")
    settings["train_dataloader"]["batch_size"] = 24 // get_world_size() // 3
    settings["env_cfg"] = dict(dist_cfg=dict(backend="gloo"))
    settings["model_wrapper_cfg"] = dict(type=kind)
    settings["train_cfg"]["max_epochs"] = 2
    settings["custom_hooks"] += [dict(type="mmrel.LastLayerFreezeHook", epochs=1)]
    return settings


def whole_run(folder: Path, kind: str, **changes: Any) -> list[float]:
    """Train, from where a checkpoint in the folder left off if there is one; the losses."""
    settings = settings_of(folder, kind, **changes)
    runner = build_runner(Config(dict(settings, experiment_name=f"{folder.name}{kind}")))
    runner.train()
    return engine_toys.trace(runner).losses


def runs(folder: Path) -> dict[str, list[float]]:
    """Straight runs, and runs that the other wrapper goes on with after 4 of 6 iterations."""
    losses = {kind: whole_run(folder / kind, kind) for kind in (DDP, FSDP)}
    for first, second in ((DDP, FSDP), (FSDP, DDP)):
        work_dir = folder / f"{first}-{second}"
        if get_rank() == 0:
            work_dir.mkdir()
            shutil.copy(folder / first / "iter_4.pth", work_dir)
        barrier()
        rest = whole_run(work_dir, second, resume=True)
        losses[f"from {first}"] = losses[first][:4] + rest
    return losses


def neighbours(folder: Path) -> list[dict[str, float]]:
    """k-NN before the first step, after one, and what training makes of the evaluated model."""
    results = []
    for kind in WRAPPERS:
        model = wrapped(kind)
        optim_wrapper = optimisation(model)
        masks = dict(root=str(folder / "masks"), classes=CLASSES)
        knn = hook(folder / "images", max_bank=7, masks=masks)
        before = knn.evaluate(model.module)
        loss = step(model, optim_wrapper, share(tiny.view_batch(4)))
        after = knn.evaluate(model.module)
        results.append(
            {**before, **{f"{k} after": v for k, v in after.items()}, "loss": float(loss)}
        )
    return results


def bad_rank() -> tuple[str, bool]:
    """A NaN on the last process stops both and changes nothing."""
    model = wrapped(FSDP)
    optim_wrapper = optimisation(model)
    views = share(tiny.view_batch(4))
    step(model, optim_wrapper, views)
    before, message = whole(model.module), ""
    if get_rank():
        views.global_crops[0] = float("nan")
    try:
        step(model, optim_wrapper, views)
    except NonFiniteLossError as error:
        message = str(error)
    after = whole(model.module)
    trained = [name for name in before if "running" not in name and "num_batches" not in name]
    return message, all(torch.equal(after[name], before[name]) for name in trained)


def begun_from() -> dict[str, Tensor]:
    """What a sharded SERE begins with, given a checkpoint of iBOT: all of it, and relation necks of its own."""
    model = wrapped(FSDP).module
    loaded = {"state_dict": tiny.build(tiny.ibot(), seed=3).state_dict(), "meta": {}}
    model.load_state_dict(continue_from(model, loaded, "ibot.pth").state)
    return whole(model)


def held_parts() -> dict[str, int]:
    """Numbers that this process holds of the parameters, their gradients and moments, and of the whole."""
    model = wrapped(FSDP)
    optim_wrapper = optimisation(model)
    step(model, optim_wrapper, share(tiny.view_batch(4)))
    parameters = list(model.module.parameters())
    moments = [state["exp_avg"] for state in optim_wrapper.optimizer.state.values()]
    assert all(map(is_sharded, [*parameters, *moments]))
    own = sum(p.to_local().numel() for p in parameters)
    return {
        "whole": sum(p.numel() for p in parameters),
        "own": own,
        "moments": sum(m.to_local().numel() for m in moments),
    }


def _play(rank: int, size: int, folder: str, modes: list[str], everything: bool) -> None:
    join_processes(rank, size, folder)
    for module in (config, yapf_api):  # as conftest.py does for the tests of one process
        module.FormatCode = lambda text, **options: (text, True)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    root = Path(folder)
    results: dict[str, Any] = {"steps": {mode: same_steps(mode) for mode in modes}}
    if everything:
        results |= {"runs": runs(root), "neighbours": neighbours(root), "bad": bad_rank()}
        results |= {"held": held_parts(), "begun": begun_from()}
    torch.save(results, root / f"{rank}.pth")


def play(folder: Path, size: int, modes: list[str], everything: bool) -> list[dict[str, Any]]:
    run_processes(_play, size, size, str(folder), modes, everything, timeout=240)
    return [torch.load(folder / f"{rank}.pth") for rank in range(size)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def ranks(folder: Path) -> Iterator[list[dict[str, Any]]]:
    make_images(folder / "images")
    for split in ("train", "val"):
        write_images(folder / "masks" / split, 2)
    yield play(folder, 2, list(MODES), everything=True)


def close(actual: Tensor, expected: Tensor, name: str, tolerance: float) -> None:
    """Difference below the tolerance, of the tensor's norm.

    A key's bias shifts all scores of a query alike: its gradient is rounding alone, which Adam makes steps of.
    """
    if expected.shape == (3 * tiny.WIDTH,):
        actual, expected = (x.clone().index_fill_(0, KEY_BIAS, 0.0) for x in (actual, expected))
    scale = expected.double().norm().clamp(min=1e-6)
    assert float((actual.double() - expected.double()).norm() / scale) < tolerance, name


def check_steps(ranks: list[dict[str, Any]], mode: str) -> None:
    tolerance = {"float64": 1e-10, "bf16": 1e-3, "fp16": 1e-3}.get(mode, 1e-5)
    for results in ranks:
        sharded, replicated = results["steps"][mode][FSDP], results["steps"][mode][DDP]
        assert sharded["state"].keys() == replicated["state"].keys()
        assert len(set(replicated["losses"].tolist())) == STEPS
        close(sharded["losses"], replicated["losses"], "losses", tolerance)
        for name, value in replicated["state"].items():
            close(sharded["state"][name], value, name, tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_two_processes__steps_equal_ddps(ranks: list[dict[str, Any]], mode: str) -> None:
    check_steps(ranks, mode)


def test_two_processes__hold_half_each(ranks: list[dict[str, Any]]) -> None:
    """Of parameters and moments; tensors with an odd number of rows are split unevenly."""
    parts = [results["held"] for results in ranks]
    assert sum(part["own"] for part in parts) == parts[0]["whole"]
    assert all(part["own"] < 0.55 * part["whole"] for part in parts)
    assert parts[0]["moments"] < parts[0]["own"]  # the teacher has none


@pytest.mark.parametrize("start", ["straight", DDP, FSDP])
def test_two_processes__runs_equal_ddps(ranks: list[dict[str, Any]], start: str) -> None:
    """Straight, and where the second half of a run has the other wrapper."""
    name = FSDP if start == "straight" else f"from {start}"
    for results in ranks:
        expected = results["runs"][DDP]
        assert len(expected) == 6
        assert results["runs"][name] == pytest.approx(expected, rel=1e-5)


def saved(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / name / "iter_6.pth", weights_only=True)


@pytest.mark.parametrize("name", [FSDP, f"{DDP}-{FSDP}", f"{FSDP}-{DDP}"])
def test_two_processes__checkpoints_equal_ddps(
    ranks: list[dict[str, Any]], folder: Path, name: str
) -> None:
    """Key by key, with the optimizer's moments."""
    expected, found = saved(folder, DDP), saved(folder, name)
    assert list(found["state_dict"]) == list(expected["state_dict"])
    for key, value in expected["state_dict"].items():
        close(found["state_dict"][key], value, key, 1e-5)
    assert found["optimizer"].keys() == expected["optimizer"].keys()
    assert found["optimizer"]["state"].keys() == expected["optimizer"]["state"].keys()
    for number, moments in expected["optimizer"]["state"].items():
        own = found["optimizer"]["state"][number]
        assert own.keys() == moments.keys()
        for key, value in moments.items():
            close(own[key], value, f"{key} of {number}", 1e-4)


def test_two_processes__checkpoint_serves_one_process(
    ranks: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    """A model without a wrapper loads it, and its teacher is exported."""
    model = revert_sync_batchnorm(tiny.build(tiny.sere()))
    model.load_state_dict(saved(folder, FSDP)["state_dict"], strict=False)
    export_backbone(folder / FSDP / "iter_6.pth", tmp_path / "backbone.pth")
    exported = torch.load(tmp_path / "backbone.pth", weights_only=True)["state_dict"]
    for name, value in model.teacher.backbone.state_dict().items():
        assert torch.equal(exported[f"backbone.{name}"], value)


def test_two_processes__begin_from_a_checkpoint(ranks: list[dict[str, Any]]) -> None:
    given, own = tiny.build(tiny.ibot(), seed=3).state_dict(), tiny.build(tiny.sere()).state_dict()
    for results in ranks:
        assert results["begun"].keys() == own.keys()
        for name, value in results["begun"].items():
            assert torch.equal(value, own[name] if "relation" in name else given[name]), name


def test_two_processes__knn_equals_ddps(ranks: list[dict[str, Any]]) -> None:
    """Also before the first step, which comes out as if nobody had evaluated."""
    for results in ranks:
        sharded, replicated = results["neighbours"]
        assert sharded == pytest.approx(replicated, rel=1e-5)
        assert sharded["feature_std after"] != sharded["feature_std"]


def test_two_processes__one_bad_rank_stops_both(ranks: list[dict[str, Any]]) -> None:
    for results in ranks:
        message, unchanged = results["bad"]
        assert "rank 1: loss = nan" in message and "rank 0:" not in message
        assert unchanged


@pytest.mark.slow
def test_four_processes__steps_equal_ddps(tmp_path: Path) -> None:
    """Tensors with fewer rows than processes: some hold nothing of them."""
    ranks = play(tmp_path, 4, ["gated", "float64"], everything=False)
    check_steps(ranks, "gated")
    check_steps(ranks, "float64")
