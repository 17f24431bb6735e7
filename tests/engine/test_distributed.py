"""Two gloo processes: the same numbers as one, one bad rank stops both, k-NN and a whole run.

One pair of processes plays all scenes, since starting one takes longer than any of them.
"""

import copy
import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
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
    "sit": tiny.sit(),
    "relvit": tiny.relvit(),
}
CONTRASTIVE = ("mocov3", "sere-mocov3", "sit")
"""A batch norm over class tokens cancels what they have in common, so that some gradients are left with few digits:
in float32 those are compared all together, and each by itself in float64."""

WITHOUT_CENTER = ("mocov3", "sere-mocov3", "sit", "relvit")
SYNCHRONISED = ("mocov3", "sit", *(name for name in MODELS if name.startswith("sere")))
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}
STEPS = (
    *((name, torch.float32) for name in MODELS),
    *((name, torch.float64) for name in CONTRASTIVE),
)
TRUE = torch.tensor(True)


def synchronised(config: Any) -> Any:
    """The same config with batch norms that share their statistics among the processes."""
    if not isinstance(config, dict):
        return config
    if str(config.get("type")).startswith("BN"):
        return {**config, "type": "SyncBN"}
    return {key: synchronised(value) for key, value in config.items()}


def built(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model with synchronised batch norms, in training mode."""
    return tiny.build(synchronised(MODELS[name])).to(dtype)


def mapped(values: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A batch, or a part of it, with other tensors."""
    if isinstance(values, torch.Tensor):
        return change(values)
    if not is_dataclass(values):
        return values
    parts = {field.name: getattr(values, field.name) for field in fields(values)}
    return replace(values, **{name: mapped(part, change) for name, part in parts.items()})


def in_dtype(views: ViewBatch, dtype: torch.dtype) -> ViewBatch:
    """The batch with floating point numbers of that type."""
    return mapped(views, lambda part: part.to(dtype) if part.is_floating_point() else part)


def whole_batch(model: Any) -> ViewBatch:
    """Eight images; without local crops their global ones have blank pixels, for whoever restores them."""
    views = tiny.view_batch(8, num_local=3 if model.local_crops else 0)
    if model.local_crops:
        return views
    # The same number in each crop: a rank's mean over its blank pixels weighs them by how many it has.
    scores = torch.rand(views.global_crops[:, 0].shape, generator=torch.Generator().manual_seed(3))
    ranked = scores.flatten(1).argsort(dim=1).view_as(scores)
    return with_blanks(views, ranked < 80)


def with_blanks(views: ViewBatch, blank: torch.Tensor) -> ViewBatch:
    """The batch with corrupted crops."""
    return replace(views, corrupted_crops=views.global_crops * ~blank[:, None], corruption=blank)


def share(views: ViewBatch, rank: int, size: int) -> ViewBatch:
    """One rank's images of a batch."""
    count = views.batch_size // size
    images = slice(rank * count, (rank + 1) * count)
    part = tiny.images_of(views, images)
    if views.corruption is None:
        return part
    return with_blanks(part, views.corruption.unflatten(0, (2, -1))[:, images].flatten(0, 1))


def one_step(model: torch.nn.Module, inner: torch.nn.Module, views: ViewBatch) -> dict[str, Any]:
    """Loss, gradients, centres and running statistics of one step, the loss of the next, whose centres have moved."""
    losses = []
    for _ in range(2):
        inner.zero_grad()
        loss, _ = inner.parse_losses(model(views, mode="loss"))
        loss.backward()
        losses.append(loss.detach())
        if hasattr(inner, "commit"):
            inner.commit(0.9, TRUE)
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    centers = {n: b.clone() for n, b in inner.named_buffers() if "center" in n}
    statistics = {n: b.clone() for n, b in inner.named_buffers() if "running" in n}
    return dict(
        losses=torch.stack(losses), gradients=gradients, centers=centers, statistics=statistics
    )


def wrapped_step(model: Any, views: ViewBatch) -> dict[str, Any]:
    """:func:`one_step` behind DDP, and what DDP had to say about it."""
    torch.set_warn_always(True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ddp = MMDistributedDataParallel(
            model, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        result = one_step(ddp, model, views)
    torch.set_warn_always(False)
    return {**result, "warnings": [str(warning.message) for warning in caught]}


def same_step(rank: int, folder: Path) -> dict[Any, Any]:
    """An equal share of the batch on each rank."""
    results, size = {}, get_world_size()
    for name, dtype in STEPS:
        model = built(name, dtype)
        views = in_dtype(share(whole_batch(model), rank, size), dtype)
        results[name, dtype] = wrapped_step(model, views)
    model = built("dino")
    model.backbone.layers[0].ffn.layers[1].weight.register_hook(lambda grad: grad.T.contiguous().T)
    results["transposed"] = wrapped_step(model, share(whole_batch(model), rank, size))
    return results


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


def equal_one(name: str, dtype: torch.dtype, parts: list[dict[str, Any]]) -> None:
    """The step of all processes is that of one with the whole batch."""
    model = built(name, dtype)
    expected = one_step(model, model, in_dtype(whole_batch(model), dtype))
    limit = LIMITS[dtype]
    losses = torch.stack([part["losses"] for part in parts]).mean(0)
    torch.testing.assert_close(losses, expected["losses"], rtol=limit, atol=0)
    assert bool(expected["centers"]) == (name not in WITHOUT_CENTER)
    assert bool(expected["statistics"]) == (name in SYNCHRONISED)
    assert len(expected["gradients"]) > 20
    for part in parts:
        for key, value in expected["centers"].items():
            close(part["centers"][key], value, key, limit)
        # Some means are 0 up to rounding, so that they have no scale of their own.
        torch.testing.assert_close(
            part["statistics"], expected["statistics"], rtol=limit, atol=0.1 * limit
        )
        equal_gradients(name, part["gradients"], expected["gradients"], limit)


def equal_gradients(
    name: str, gradients: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], limit: float
) -> None:
    """Difference of each gradient below ``limit`` of its norm, except for what is 0 up to rounding."""
    assert gradients.keys() == expected.keys()
    # A key's bias shifts all scores of a query alike. MoCo v3's last bias shifts all class tokens alike.
    nothing = ("attn.k.bias", "backbone.ln1.bias" if "mocov3" in name else "attn.k.bias")
    names = [key for key in expected if not key.endswith(nothing)]
    for key in names:
        close(gradients[key], expected[key], key, limit)


def test_two_processes__unequal_shares_weigh_by_their_rows(ranks: list[dict[str, Any]]) -> None:
    model = built("ibot")
    model(whole_batch(model), mode="loss")
    model.commit(0.9, TRUE)
    for results in ranks:
        assert len(results["unequal_shares"]) == 2
        for name, value in results["unequal_shares"].items():
            close(value, model.get_buffer(name), name)


def close(actual: torch.Tensor, expected: torch.Tensor, name: str, limit: float = 1e-5) -> None:
    """Difference below a share of the tensor's norm."""
    scale = expected.norm().clamp(min=1e-6)
    assert float((actual - expected).norm() / scale) < limit, name


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
    for results in ranks:
        warned = {
            step
            for step, result in results["same_step"].items()
            if any("strides do not match" in text for text in result["warnings"])
        }
        assert warned == {"transposed"}
