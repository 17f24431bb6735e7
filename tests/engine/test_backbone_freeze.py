"""The backbone rests in the first epoch, to the last bit, and is trained after it; also resumed and compiled."""

import copy
import shutil
from pathlib import Path
from typing import Any

import compile_toys
import engine_toys
import pytest
import tiny
import torch
from going_on_toys import EPOCH, equal, freeze, part, run, settings
from torch import nn
from torch._dynamo.utils import counters

from mmrel.engine.hooks import FreezeBackboneHook, TeacherUpdateHook
from mmrel.ops.schedules import cosine_schedule

BACKBONES = ("backbone.", "teacher.backbone.")


def shift_student(state: dict) -> None:
    """Student and teacher of a full checkpoint differ."""
    state["backbone.cls_token"] += 0.5


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    folder = tmp_path_factory.mktemp("straight")
    return folder, *run(
        settings(folder, freeze(), dict(type="mmrel.LastLayerFreezeHook", epochs=2))
    )


def test_run__keeps_the_backbone_for_an_epoch_and_trains_the_neck(straight: tuple) -> None:
    _, runner, trace = straight
    start, warmed, end = trace.states[0], trace.states[EPOCH], trace.states[-1]
    for state in trace.states[: EPOCH + 1]:
        assert equal(part(state, *BACKBONES), part(start, *BACKBONES))
    assert not equal(part(warmed, "neck."), part(start, "neck."))
    assert not equal(part(warmed, "teacher.neck."), part(start, "teacher.neck."))
    for prefix in BACKBONES:
        first = part(trace.states[EPOCH + 1], prefix)
        still = [key for key, value in first.items() if torch.equal(value, start[key])]
        assert not [key for key in still if not key.endswith(".bias")], "weights move at once"
        assert not equal(part(end, prefix), first)
    resting = trace.moments[EPOCH - 1]
    assert resting and not any(name.startswith("backbone.") for name in resting)
    assert any(name.startswith("backbone.") for name in trace.moments[EPOCH])
    assert "last_layer" in str(trace.moments[-1]) and "last_layer" not in str(trace.moments[EPOCH])
    assert not runner.model.backbone_frozen


@pytest.mark.parametrize("stop", [4, EPOCH, EPOCH + 2], ids=["inside", "at the end", "after"])
def test_resume__is_exact(straight: tuple, tmp_path: Path, stop: int) -> None:
    folder, _, whole = straight
    shutil.copy(folder / f"iter_{stop}.pth", tmp_path)
    hooks = freeze(), dict(type="mmrel.LastLayerFreezeHook", epochs=2)
    _, rest = run(settings(tmp_path, *hooks, resume=True))
    assert len(rest.states) == len(whole.states) - stop
    for resumed, state in zip(rest.states, whole.states[stop:], strict=True):
        assert equal(resumed, state)


def test_run__without_epochs_is_the_run_without_the_hook(tmp_path: Path) -> None:
    _, plain = run(settings(tmp_path / "plain"))
    _, hooked = run(settings(tmp_path / "hooked", freeze(0)))
    assert equal(plain.states[-1], hooked.states[-1])


def test_step__computes_no_gradient_of_the_backbone_and_keeps_both_networks() -> None:
    model = tiny.build(tiny.ibot(drop_path_rate=0.2))
    shift_student(model.state_dict())
    before = copy.deepcopy(model.state_dict())
    model.backbone_frozen = True
    losses = model(tiny.view_batch(), mode="loss")
    sum(v for k, v in losses.items() if "loss" in k).backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.neck.parameters() if p.requires_grad)
    with torch.no_grad():
        for parameter in model.neck.parameters():
            parameter.add_(1)
    model.commit(0.5, torch.tensor(True))
    after = model.state_dict()
    assert equal(part(after, *BACKBONES), part(before, *BACKBONES))
    assert not equal(part(after, "teacher.neck."), part(before, "teacher.neck."))


def test_step__losses_are_those_of_a_backbone_that_is_trained() -> None:
    """Hidden patches and stochastic depth are drawn as ever."""
    model = tiny.build(tiny.ibot(drop_path_rate=0.3))
    found = []
    for frozen in (False, True):
        torch.manual_seed(7)
        model.backbone_frozen = frozen
        found.append(model(tiny.view_batch(), mode="loss"))
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


def test_norms__of_a_resting_backbone_keep_their_statistics(tmp_path: Path) -> None:
    config = settings(tmp_path, freeze())
    config["train_cfg"]["max_epochs"] = 2
    runner = engine_toys.build(config)
    model = runner.model
    for network in (model.backbone, model.teacher.backbone):
        network.ln1 = nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(tiny.WIDTH))
        network.ln1.append(Grouped(17))
    runner.train()
    states = next(h for h in runner.hooks if type(h).__name__ == "StateTrace").states
    for prefix in BACKBONES:
        name = f"{prefix}ln1.1.running_mean"
        assert torch.equal(states[EPOCH][name], states[0][name])
        assert not torch.equal(states[-1][name], states[0][name])


class Grouped(nn.Module):
    """Rows of tokens back to images, of global crops (17 tokens) or local ones (5)."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        tokens = self.tokens if len(rows) % self.tokens == 0 else 5
        return rows.unflatten(0, (-1, tokens))


def test_teacher__follows_fresh_necks_by_a_momentum_of_their_own(tmp_path: Path) -> None:
    config = settings(tmp_path, freeze())
    teacher = next(h for h in config["custom_hooks"] if h["type"] == "mmrel.TeacherUpdateHook")
    teacher |= dict(momentum=0.999, frozen_momentum=0.9)
    runner, _ = run(config)
    logged = runner.message_hub.get_scalar("train/teacher_momentum").data[0].tolist()
    rest = [cosine_schedule(i, 3 * EPOCH, 0.999, 1.0) for i in range(EPOCH, 3 * EPOCH)]
    assert logged == [0.9] * EPOCH + rest
    with pytest.raises(ValueError, match="frozen_momentum is the share"):
        TeacherUpdateHook(frozen_momentum=2)


def test_log__says_what_rests_and_until_when(tmp_path: Path) -> None:
    config = settings(tmp_path, freeze(3), log_level="INFO")
    runner, _ = run(config)
    text = engine_toys.log_of(runner)
    assert "keeps its weights to the end" in text and "rests up to epoch 3" in text


@pytest.mark.parametrize("scope", ["parts", pytest.param("whole", marks=pytest.mark.slow)])
def test_compiled__sees_both_phases_once(scope: str) -> None:
    """The numbers of eager steps in a phase, the next and the first again, and nothing compiled anew for the last."""
    torch._dynamo.reset()
    counters.clear()
    eager = compile_toys.build("dino")
    fast = compile_toys.compiled(copy.deepcopy(eager), scope=scope)
    graphs = []
    for number, frozen in enumerate((True, True, False, False, True, False)):
        for model in (eager, fast):
            model.backbone_frozen = frozen
        losses, gradients = compile_toys.step(fast, number)
        expected, slopes = compile_toys.step(eager, number)
        torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
        assert gradients.keys() == slopes.keys()
        assert frozen != any(name.startswith("backbone.") for name in gradients)
        torch.testing.assert_close(gradients, slopes, rtol=1e-4, atol=1e-5)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[-1] == graphs[3] and not counters["graph_break"]
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(model=dict(type="ToyPlain")), "the model is a ToyPlain"),
        (dict(train_cfg=dict(type="IterBasedTrainLoop", max_iters=4)), "the rest of the backbone"),
    ],
    ids=["model", "loop"],
)
def test_run__that_cannot_have_phases(tmp_path: Path, changes: dict, message: str) -> None:
    config = settings(tmp_path, **changes)
    config["custom_hooks"] = [freeze()]
    config["param_scheduler"] = None
    with pytest.raises(TypeError, match=message):
        engine_toys.build(config).train()
    with pytest.raises(ValueError, match="0 or more"):
        FreezeBackboneHook(epochs=-1)
