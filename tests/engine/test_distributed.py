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
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS
from processes import join_processes, run_processes
from steps import (
    STEPS,
    TRUE,
    built,
    close,
    equal_one,
    heard,
    in_dtype,
    one_step,
    share,
    whole_batch,
)
from test_knn_hook import hook, make_images
from test_nonfinite import MODES, is_equal, poisoned
from test_optim_wrapper import batch, toy, wrapper

from mmrel.engine.optimizers import NonFiniteLossError
from mmrel.evaluation import extract_features
from mmrel.evaluation.knn import feature_extractor
from mmrel.launch.processes import prepare_cpu_distributed


def same_step(rank: int, folder: Path) -> dict[Any, Any]:
    """An equal share of the batch on each rank, and what DDP has to say about it."""
    results, size = {}, get_world_size()
    for name, dtype in STEPS:
        model = built(name, dtype)
        views = in_dtype(share(whole_batch(model), rank, size), dtype)
        with heard() as texts:
            ddp = MMDistributedDataParallel(
                model, broadcast_buffers=False, gradient_as_bucket_view=True
            )
            result = one_step(ddp, model, views)
        results[name, dtype] = {**result, "warnings": texts}
    return results


def other_strides(rank: int, folder: Path) -> list[str]:
    """What DDP says of a gradient that lies otherwise than its parameter."""
    layer = torch.nn.Conv2d(3, 3, 1, bias=False)
    layer.weight.register_hook(lambda grad: grad.clone().as_strided(grad.shape, (3, 1, 3, 3)))
    with heard() as texts:
        ddp = MMDistributedDataParallel(layer, gradient_as_bucket_view=True)
        ddp(torch.ones(1, 3, 2, 2)).sum().backward()
    return texts


def unequal_shares(rank: int, folder: Path) -> dict[str, torch.Tensor]:
    """The centres where one rank has 1 image and the other 7."""
    model = built("ibot")
    images = slice(0, 1) if rank == 0 else slice(1, 8)
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
    other_strides,
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


@pytest.mark.parametrize(("name", "dtype"), STEPS)
def test_two_processes__equal_one(
    ranks: list[dict[str, Any]], name: str, dtype: torch.dtype
) -> None:
    """Half the batch each: the same loss, gradients, centres and statistics as one process."""
    equal_one(name, dtype, [results["same_step"][name, dtype] for results in ranks])


@pytest.mark.slow
def test_four_processes__equal_one(tmp_path: Path) -> None:
    """Two images each; the four that :func:`test_two_processes__equal_one` gives to each are its small version."""
    run_processes(_play_step, 4, str(tmp_path), timeout=240)
    results = [torch.load(tmp_path / f"{rank}.pth") for rank in range(4)]
    for step in STEPS:
        equal_one(*step, [result[step] for result in results])


def _play_step(rank: int, folder: str) -> None:
    join_processes(rank, 4, folder)
    torch.save(same_step(rank, Path(folder)), Path(folder) / f"{rank}.pth")


def test_two_processes__unequal_shares_weigh_by_their_rows(ranks: list[dict[str, Any]]) -> None:
    model = built("ibot")
    model(whole_batch(model), mode="loss")
    model.commit(0.9, TRUE)
    for results in ranks:
        assert len(results["unequal_shares"]) == 2
        for name, value in results["unequal_shares"].items():
            close(value, model.get_buffer(name), name)


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


def test_two_processes__gradients_lie_as_their_buckets(ranks: list[dict[str, Any]]) -> None:
    """DDP warns of a gradient whose strides are not those of its bucket, which costs a copy in every step."""

    def about_strides(texts: list[str]) -> list[str]:
        return [text for text in texts if "strides do not match" in text]

    for results in ranks:
        assert about_strides(results["other_strides"])
        for result in results["same_step"].values():
            assert not about_strides(result["warnings"])
