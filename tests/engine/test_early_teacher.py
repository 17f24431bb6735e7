"""The early teacher in runs: when it is taken, renewed, saved, and what begins with a file."""

import copy
import shutil
from pathlib import Path
from typing import Any

import compile_toys
import engine_toys
import pytest
import tiny
import torch
from checkpoints import official
from going_on_toys import EPOCH, EPOCHS, equal, gram, part, run, settings
from torch._dynamo.utils import counters

from mmrel.checkpoints.continuation import continue_from
from mmrel.checkpoints.export import export_backbone
from mmrel.engine.hooks import EarlyTeacherHook
from mmrel.engine.loops.memory_groups import memory_groups

EARLY = "early_teacher."
STEPS = EPOCH * EPOCHS


def early(**options: Any) -> dict[str, Any]:
    return dict(type="mmrel.EarlyTeacherHook", **options)


def snapshot(state: dict, prefix: str = "teacher.backbone.") -> dict:
    return {key.removeprefix(prefix): value for key, value in part(state, prefix).items()}


def held(state: dict) -> dict:
    return snapshot(state, EARLY + "backbone.")


def test_run__keeps_what_it_began_with(tmp_path: Path) -> None:
    runner, trace = run(settings(tmp_path, early(), model=gram()))
    first = trace.states[0]
    assert equal(held(first), snapshot(first))
    assert all(equal(held(state), held(first)) for state in trace.states)
    assert not any("early_teacher" in name for name in trace.moments[-1])
    assert "random start" in engine_toys.log_of(runner)
    groups = {group.name: group.bytes for group in memory_groups(runner)}
    weights = sum(p.numel() for p in runner.model.early_teacher.parameters())
    assert groups["the early teacher"] == 4 * weights


@pytest.fixture(scope="module")
def renewed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    folder = tmp_path_factory.mktemp("renewed")
    hook = early(begin=5, interval=4, max_renewals=2)
    return folder, hook, run(settings(folder, hook, model=gram(), log_level="INFO"))


def test_run__begins_late_and_renews_twice(renewed: tuple) -> None:
    """From iteration 5 on; renewed after 9 and 13 iterations; 17 would be the third time."""
    _, _, (runner, trace) = renewed
    states = trace.states
    moments = [i for i in range(STEPS) if not equal(held(states[i]), held(states[i + 1]))]
    assert moments == [5, 8, 12]
    assert equal(held(trace.states[6]), snapshot(trace.states[5]))
    for done in (9, 13):
        assert equal(held(trace.states[done]), snapshot(trace.states[done]))
    losses = runner.message_hub.get_scalar("train/loss_gram").data[0].tolist()
    assert losses[:5] == [0] * 5 and all(loss > 0 for loss in losses[5:])
    log = engine_toys.log_of(runner)
    assert "begins at iteration 5" in log and log.count("was renewed after") == 2


@pytest.mark.parametrize("stop", [3, 5, 8, 9, 15])
def test_resume__is_exact(renewed: tuple, tmp_path: Path, stop: int) -> None:
    folder, hook, (_, whole) = renewed
    shutil.copy(folder / f"iter_{stop}.pth", tmp_path)
    _, rest = run(settings(tmp_path, hook, model=gram(), resume=True))
    assert len(rest.states) == len(whole.states) - stop
    for resumed, state in zip(rest.states, whole.states[stop:], strict=True):
        assert equal(resumed, state)


def test_export__leaves_the_early_teacher_out(renewed: tuple, tmp_path: Path) -> None:
    folder, _, (_, trace) = renewed
    output = tmp_path / "backbone.pth"
    for network, prefix in (("teacher", "teacher.backbone."), ("student", "backbone.")):
        export_backbone(folder / f"iter_{STEPS}.pth", output, network)
        state = torch.load(output, weights_only=True)["state_dict"]
        own = {k: v for k, v in snapshot(trace.states[-1], prefix).items() if k != "mask_token"}
        assert equal(snapshot(state, "backbone."), own)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["parts", "whole"])
def test_compiled__before_and_after_it_begins(scope: str) -> None:
    """The numbers of eager steps; each of the two is compiled once."""
    torch._dynamo.reset()
    counters.clear()
    eager = tiny.build(dict(type="mmrel.GramAnchoring", base=tiny.dino()))
    fast = compile_toys.compiled(copy.deepcopy(eager), scope=scope)
    graphs = []
    for number, begun in enumerate((False, False, True, True, False, True)):
        for model in (eager, fast):
            model.uses_early_teacher = begun
        losses, gradients = compile_toys.step(fast, number)
        expected, slopes = compile_toys.step(eager, number)
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(gradients, slopes, rtol=1e-3, atol=1e-5)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[-1] == graphs[3] and not counters["graph_break"]
    torch._dynamo.reset()


def one_network() -> dict:
    return official.vit(width=tiny.WIDTH, depth=2, hidden=24, patch=tiny.PATCH, grid=(4, 4))


def test_load_from__fills_the_early_teacher() -> None:
    torch.manual_seed(5)
    model = tiny.build(dict(gram(), type="mmrel.GramAnchoring"))
    found = continue_from(model, one_network(), "weights.pth")
    assert equal(held(found.state), snapshot(found.state))
    assert not any("early" in name for name in found.fresh)
    assert torch.equal(held(found.state)["cls_token"], found.state["backbone.cls_token"])


def test_load_from__of_an_anchored_run_takes_its_teacher() -> None:
    """Another run, another anchor: what it begins with."""
    model = tiny.build(dict(gram(), type="mmrel.GramAnchoring"))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["teacher.backbone.cls_token"] += 1
    found = continue_from(model, {"state_dict": state, "meta": {}}, "iter_9.pth")
    assert equal(held(found.state), snapshot(found.state)) and not found.fresh
    plain = tiny.build(tiny.ibot())
    found = continue_from(plain, {"state_dict": state, "meta": {}}, "iter_9.pth")
    assert found.state.keys() == plain.state_dict().keys() and "early_teacher" in found.report


@pytest.mark.parametrize(
    "options", [dict(begin=-1), dict(interval=-2), dict(max_renewals=-1)], ids=str
)
def test_hook__of_negative_numbers(options: dict) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        EarlyTeacherHook(**options)


def test_hook__for_a_model_without_one(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="ToyDINO has none; put mmrel.GramAnchoring"):
        run(settings(tmp_path, early()))


def test_hook__that_never_begins(tmp_path: Path) -> None:
    config = settings(tmp_path, early(begin=STEPS), model=gram())
    runner, _ = run(config)
    assert "nothing is anchored" in engine_toys.log_of(runner)
