"""Teacher update, last-layer freeze, step seed and the logging without waiting."""

import copy
import pickle
import random
from pathlib import Path

import engine_toys
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmrel.engine.deferred_scalars import DeferredHistoryBuffer, ScalarPool, defer_scalar
from mmrel.engine.hooks import LastLayerFreezeHook, TeacherUpdateHook
from mmrel.engine.hooks.step_seed import seed_step
from mmrel.ops.schedules import cosine_schedule


def short(tmp_path: Path, **changes: object) -> dict:
    """A toy run of 2 epochs of 6 iterations without checkpoints."""
    settings = engine_toys.config(tmp_path, **changes)
    settings["train_cfg"]["max_epochs"] = 2
    settings["default_hooks"]["checkpoint"] = None
    return settings


def test_teacher__momentum_table_and_epochs(tmp_path: Path) -> None:
    """DINO's momentum (main_dino.py of its code): the cosine over all iterations; ``set_epoch`` before each epoch."""
    runner = engine_toys.build(short(tmp_path))
    runner.train()
    assert runner.model.momenta == [cosine_schedule(i, 12, 0.996, 1.0) for i in range(12)]
    assert runner.model.epochs == [0, 1]
    logged = runner.message_hub.get_scalar("train/teacher_momentum").data[0]
    assert logged.tolist() == runner.model.momenta


def test_teacher__worked_example() -> None:
    """Teacher 1, students 2, 3, 4 with the momenta of a cosine of 20 iterations."""
    teacher = 1.0
    for step, (student, expected) in enumerate(((2, 1.004), (3, 1.011935), (4, 1.023595))):
        momentum = cosine_schedule(step, 20, 0.996, 1.0)
        teacher = momentum * teacher + (1 - momentum) * student
        assert teacher == pytest.approx(expected, abs=5.1e-7)


def test_teacher__moves_only_when_an_update_ends(tmp_path: Path) -> None:
    settings = short(tmp_path)
    settings["optim_wrapper"]["accumulative_counts"] = 3
    runner = engine_toys.build(settings)
    runner.train()
    assert runner.model.momenta == [cosine_schedule(i, 12, 0.996, 1.0) for i in (2, 5, 8, 11)]


def test_teacher__stays_where_fp16_skips(tmp_path: Path) -> None:
    settings = short(tmp_path)
    settings["optim_wrapper"] |= dict(precision="fp16", loss_scale=dict(init_scale=2.0**120))
    settings["train_cfg"]["max_epochs"] = 1
    runner = engine_toys.build(settings)
    runner.train()
    model = runner.model
    fresh = engine_toys.ToyStudentTeacher()
    fresh.init_weights()
    assert len(model.momenta) == 6
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in fresh.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model=dict(type="ToyPlain")), "no commit and no set_epoch"),
        (
            dict(optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))),
            "mmrel.SelfSupOptimWrapper",
        ),
    ],
)
def test_teacher__wrong_model_or_wrapper(tmp_path: Path, changes: dict, message: str) -> None:
    settings = short(tmp_path, param_scheduler=None, **changes)
    with pytest.raises(TypeError, match=message):
        engine_toys.build(settings).train()


def test_teacher__momentum_out_of_range() -> None:
    with pytest.raises(ValueError, match="1 - momentum"):
        TeacherUpdateHook(momentum=1.5)


def test_freeze__first_epoch_only(tmp_path: Path) -> None:
    """As in DINO's public code; the teacher's last layer equals the student's while both rest."""
    settings = short(tmp_path)
    settings["custom_hooks"].append(dict(type="mmrel.LastLayerFreezeHook", epochs=1))
    weights = {}
    for epochs in (1, 2):
        changed = copy.deepcopy(settings)
        changed["train_cfg"]["max_epochs"] = epochs
        runner = engine_toys.build(changed)
        runner.train()
        weights[epochs] = runner.model.state_dict()
    fresh = engine_toys.ToyStudentTeacher()
    fresh.init_weights()
    start = fresh.state_dict()
    for key in ("weight", "bias"):
        assert torch.equal(weights[1][f"last_layer.{key}"], start[f"last_layer.{key}"])
        torch.testing.assert_close(
            weights[1][f"teacher.last_layer.{key}"], start[f"last_layer.{key}"]
        )
        assert not torch.equal(weights[2][f"last_layer.{key}"], start[f"last_layer.{key}"])
    assert not torch.equal(weights[1]["backbone.0.weight"], start["backbone.0.weight"])


def test_freeze__no_such_parameter(tmp_path: Path) -> None:
    settings = short(tmp_path)
    hook = dict(type="mmrel.LastLayerFreezeHook", epochs=1, pattern="prototypes")
    settings["custom_hooks"].append(hook)
    with pytest.raises(ValueError, match="'prototypes'"):
        engine_toys.build(settings).train()
    with pytest.raises(ValueError, match="0 or more"):
        LastLayerFreezeHook(epochs=-1)


def test_step_seed__is_a_function_of_seed_rank_and_iteration() -> None:
    def draw(*key: int) -> tuple:
        seed_step(*key)
        return float(torch.rand(())), random.random(), float(np.random.rand())

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    draws = [draw(*key) for key in keys]
    assert [draw(*key) for key in keys] == draws
    assert len(set(draws)) == 4


@pytest.mark.parametrize("workers", [0])
def test_deferred_info__equals_the_stock_hook(tmp_path: Path, workers: int) -> None:
    hubs = {}
    for name in ("mmrel.DeferredRuntimeInfoHook", "RuntimeInfoHook"):
        settings = short(tmp_path / name)
        settings["default_hooks"]["runtime_info"]["type"] = name
        runner = engine_toys.build(settings)
        runner.train()
        hubs[name] = copy.deepcopy(runner.message_hub.log_scalars)
    deferred, stock = hubs.values()
    assert set(deferred) - set(stock) == {"train/weight_decay"}
    for key in sorted(set(stock) - {"train/time", "train/data_time"}):
        assert type(deferred[key]) is HistoryBuffer
        for own, other in zip(deferred[key].data, stock[key].data, strict=True):
            assert own.dtype == other.dtype
            np.testing.assert_array_equal(own, other, err_msg=key)


def test_defer__reads_and_copies_see_everything() -> None:
    hub = MessageHub.get_instance("test_defer__reads")
    for value in (1.5, 2.5):
        defer_scalar(hub, "train/a", torch.tensor(value))
        defer_scalar(hub, "train/b", torch.tensor([value + 1], dtype=torch.float64))
    hub.update_scalar("train/a", 9.0)
    defer_scalar(hub, "train/a", torch.tensor(7, dtype=torch.int64))
    assert isinstance(hub.log_scalars["train/a"], DeferredHistoryBuffer)
    assert hub.get_scalar("train/a").data[0].tolist() == [1.5, 2.5, 9.0, 7.0]
    assert hub.get_scalar("train/b").mean() == 3.0
    state = pickle.loads(pickle.dumps(hub.state_dict()))
    assert type(state["log_scalars"]["train/a"]) is HistoryBuffer
    assert state["log_scalars"]["train/a"].current() == 7.0
    assert pickle.loads(pickle.dumps(hub.log_scalars["train/b"])).data[0].tolist() == [2.5, 3.5]


def test_defer__keeps_no_graph_and_respects_the_length() -> None:
    pool = ScalarPool()
    buffer = DeferredHistoryBuffer(HistoryBuffer(max_length=3), pool)
    for value in range(5):
        buffer.defer(torch.tensor(float(value), requires_grad=True) * 1)
    assert not any(value.requires_grad for _, value in pool._pending)
    assert buffer.data[0].tolist() == [2.0, 3.0, 4.0]
