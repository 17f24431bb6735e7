"""Two gloo processes: the same numbers as one, one bad rank stops both, k-NN and a whole run.

One pair of processes plays all scenes, since starting one takes longer than any of them.
"""

import copy
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import tiny
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import HOOKS
from processes import join_processes, run_processes
from test_knn_hook import hook, make_images
from test_nonfinite import MODES, is_equal, poisoned
from test_optim_wrapper import batch, toy, wrapper

from mmrel.engine.optimizers import NonFiniteLossError
from mmrel.evaluation import extract_features
from mmrel.evaluation.knn import feature_extractor
from mmrel.launch.processes import prepare_cpu_distributed
from mmrel.structures import ViewBatch

MODELS = {
    "dino": tiny.dino(),
    "ibot": tiny.ibot(),
    "sere-ibot": tiny.sere(),
    "sere-dino": tiny.sere(tiny.dino()),
    "mocov3": tiny.mocov3(),
    "sere-mocov3": tiny.sere(tiny.mocov3()),
    "selfpatch": tiny.selfpatch(),
    "sere-selfpatch": tiny.sere(tiny.selfpatch()),
}
WITHOUT_CENTER = ("mocov3", "sere-mocov3")
TRUE = torch.tensor(True)


def frozen(config: dict) -> torch.nn.Module:
    """A model with frozen batch-norm statistics: torch's SyncBatchNorm does not run on the CPU."""
    model = revert_sync_batchnorm(tiny.build(config))
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def whole_batch(model: Any) -> ViewBatch:
    """Four images."""
    return tiny.view_batch(4, num_local=3 if model.local_crops else 0)


def share(views: ViewBatch, rank: int, size: int) -> ViewBatch:
    """One rank's images of a batch."""
    count = views.batch_size // size
    return tiny.images_of(views, slice(rank * count, (rank + 1) * count))


def one_step(model: torch.nn.Module, inner: torch.nn.Module, views: ViewBatch) -> dict[str, Any]:
    """Loss, gradients and centres of one step, the loss of the next, whose centres have moved."""
    losses = []
    for _ in range(2):
        inner.zero_grad()
        loss, _ = inner.parse_losses(model(views, mode="loss"))
        loss.backward()
        losses.append(loss.detach())
        inner.commit(0.9, TRUE)
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    centers = {n: b.clone() for n, b in inner.named_buffers() if "center" in n}
    return {"losses": torch.stack(losses), "gradients": gradients, "centers": centers}


def same_step(rank: int, folder: Path) -> dict[str, Any]:
    """Half the batch on each of two ranks."""
    results = {}
    for name, config in MODELS.items():
        model = frozen(config)
        ddp = MMDistributedDataParallel(model, broadcast_buffers=False)
        results[name] = one_step(ddp, model, share(whole_batch(model), rank, 2))
    return results


def unequal_shares(rank: int, folder: Path) -> dict[str, torch.Tensor]:
    """The centres where one rank has 1 image and the other 3."""
    model = frozen(tiny.ibot())
    images = slice(0, 1) if rank == 0 else slice(1, 4)
    model(tiny.images_of(whole_batch(model), images), mode="loss")
    model.commit(0.9, TRUE)
    return {n: b.clone() for n, b in model.named_buffers() if "center" in n}


def bad_rank(rank: int, folder: Path) -> list[tuple[str, bool, torch.Tensor]]:
    """In both modes, the second step has a bad image on rank 1 only."""
    results = []
    for mode in MODES:
        model = toy()
        ddp = MMDistributedDataParallel(model, broadcast_buffers=False)
        wrapped = wrapper(model, **mode)
        ddp.train_step(batch(rank), wrapped)
        model.commit(0.9, ok=wrapped.step_ok)
        before = copy.deepcopy(model.state_dict())
        message = "no error"
        try:
            ddp.train_step(poisoned() if rank else batch(3), wrapped)
            model.commit(0.9, ok=wrapped.step_ok)
            ddp.train_step(batch(4), wrapped)
        except NonFiniteLossError as error:
            message = str(error)
        results.append((message, is_equal(model.state_dict(), before), before["backbone.0.weight"]))
    return results


def neighbours(rank: int, folder: Path) -> tuple[dict[str, float], list[torch.Tensor]]:
    """7 bank images: with two ranks, the one that fills up the last round counts once."""
    model = tiny.build(tiny.dino())
    knn = hook(folder / "images", max_bank=7)
    result = knn.evaluate(model)
    extract = feature_extractor(model.eval(), "teacher", "cls")
    pair = extract_features(extract, model.data_preprocessor, knn._loaders[0])
    return result, [part.clone() for part in pair]


def distributed_run(rank: int, work_dir: Path) -> dict[str, Any]:
    """Settings of a run with a launcher."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    settings = engine_toys.config(work_dir, launcher="pytorch")
    settings["randomness"] = dict(seed=5, diff_rank_seed=True)
    settings["env_cfg"] = dict(dist_cfg=dict(backend="gloo"))
    prepare_cpu_distributed(settings)
    return settings


@HOOKS.register_module()
class Ask(Hook):
    """Sends SIGUSR1 to one rank in iteration 3."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 3 and get_rank() == self.rank:
            os.kill(os.getpid(), signal.SIGUSR1)


def whole_run(rank: int, folder: Path) -> tuple[int, dict[str, torch.Tensor], list]:
    """A runner with a launcher, each rank with a seed of its own; one epoch of 3 iterations."""
    settings = distributed_run(rank, folder / "run")
    settings["train_cfg"]["max_epochs"] = 1
    runner = engine_toys.build(settings)
    runner.train()
    seed = runner.train_dataloader.sampler.seed
    return seed, runner.model.module.state_dict(), engine_toys.trace(runner).samples


def one_is_asked_to_stop(rank: int, folder: Path) -> list[tuple[int, int, int]]:
    """SIGUSR1 reaches rank 1 alone; with the wrapper whose finite check carries the wish, and with MMEngine's."""
    results = []
    for kind in ("mmrel.SelfSupOptimWrapper", "OptimWrapper"):
        settings = distributed_run(rank, folder / f"stop-{kind}")
        settings["train_cfg"]["max_epochs"] = 5
        settings["custom_hooks"] += [dict(type="mmrel.PreemptionHook"), dict(type="Ask", rank=1)]
        if kind == "OptimWrapper":
            settings["optim_wrapper"] = dict(type=kind, optimizer=dict(type="SGD", lr=0.1))
            settings["custom_hooks"].pop(1)  # the teacher's hook
            settings["param_scheduler"] = None
        runner, code = engine_toys.build(settings), 0
        try:
            runner.train()
        except SystemExit as stop:
            code = int(stop.code)
        saved = int(
            Path(runner.work_dir, "last_checkpoint").read_text().split("_")[-1].split(".")[0]
        )
        results.append((code, runner.iter, saved))
    return results


SCENES: tuple[Callable[[int, Path], Any], ...] = (
    same_step,
    unequal_shares,
    bad_rank,
    neighbours,
    whole_run,
    one_is_asked_to_stop,
)


def _play(rank: int, folder: str) -> None:
    join_processes(rank, 2, folder)
    results = {scene.__name__: scene(rank, Path(folder)) for scene in SCENES}
    torch.save(results, Path(folder) / f"{rank}.pth")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    make_images(folder / "images")
    run_processes(_play, 2, str(folder), timeout=240)
    results = [torch.load(folder / f"{rank}.pth") for rank in range(2)]
    results[0]["folder"] = folder
    return results


@pytest.mark.parametrize("name", MODELS)
def test_two_processes__equal_one(ranks: list[dict[str, Any]], name: str) -> None:
    """Half the batch each: the same loss, gradients and centres as one process, fp32."""
    model = frozen(MODELS[name])
    expected = one_step(model, model, whole_batch(model))
    parts = [results["same_step"][name] for results in ranks]
    losses = torch.stack([part["losses"] for part in parts]).mean(0)
    torch.testing.assert_close(losses, expected["losses"], rtol=1e-5, atol=0)
    assert bool(expected["centers"]) == (name not in WITHOUT_CENTER)
    assert len(expected["gradients"]) > 20
    for part in parts:
        for key, value in expected["centers"].items():
            close(part["centers"][key], value, key)
        assert part["gradients"].keys() == expected["gradients"].keys()
        for key, value in expected["gradients"].items():
            # A key's bias shifts all scores of a query alike: its gradient is rounding alone.
            if not key.endswith("attn.k.bias"):
                close(part["gradients"][key], value, key)


def test_two_processes__unequal_shares_weigh_by_their_rows(ranks: list[dict[str, Any]]) -> None:
    model = frozen(tiny.ibot())
    model(whole_batch(model), mode="loss")
    model.commit(0.9, TRUE)
    for results in ranks:
        assert len(results["unequal_shares"]) == 2
        for name, value in results["unequal_shares"].items():
            close(value, model.get_buffer(name), name)


def close(actual: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    """Difference below 1e-5 of the tensor's norm."""
    scale = expected.norm().clamp(min=1e-6)
    assert float((actual - expected).norm() / scale) < 1e-5, name


def test_two_processes__one_bad_rank_stops_both(ranks: list[dict[str, Any]]) -> None:
    first, second = (results["bad_rank"] for results in ranks)
    for message, unchanged, _ in (*first, *second):
        assert "rank 1: loss = nan" in message and "[40, 41, 42, 43]" in message
        assert "rank 0:" not in message
        assert unchanged
    for (_, _, one), (_, _, other) in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_two_processes__knn_equals_one(ranks: list[dict[str, Any]]) -> None:
    expected, (features, labels) = neighbours(0, ranks[0]["folder"])
    for results in ranks:
        result, (own_features, own_labels) = results["neighbours"]
        assert result == pytest.approx(expected, rel=1e-5)
        torch.testing.assert_close(own_features, features, rtol=1e-6, atol=1e-6)
        assert torch.equal(own_labels, labels)


def test_two_processes__whole_run(ranks: list[dict[str, Any]]) -> None:
    """Equal weights on both ranks, disjoint images, rank 0's seed, one whole checkpoint."""
    (seed, weights, samples), (other_seed, other_weights, other_samples) = (
        results["whole_run"] for results in ranks
    )
    assert seed == other_seed == 5
    assert is_equal(
        {k: v for k, v in weights.items() if k != "center"},
        {k: v for k, v in other_weights.items() if k != "center"},
    )
    seen = [index for group in (*samples, *other_samples) for index in group]
    assert sorted(seen) == list(range(24))
    checkpoint = torch.load(ranks[0]["folder"] / "run" / "iter_3.pth", weights_only=True)
    assert checkpoint["meta"]["seed"] == 5


def test_two_processes__both_leave_when_one_is_asked_to(ranks: list[dict[str, Any]]) -> None:
    """Both with the same code and after the same step, of which there is a checkpoint."""
    first, second = (results["one_is_asked_to_stop"] for results in ranks)
    assert first == second
    for code, iteration, saved in first:
        assert code == 138
        assert iteration in (3, 4) and saved == iteration + 1
