"""``load_from`` in a run of mmrel's runner: the weights are there before the first step, or the run does not begin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import test_resume_pipeline
import test_resume_relvit
import tiny
import torch
from checkpoints import official
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from test_knn_hook import make_images
from torch import Tensor

from mmrel.launch.runner import build_runner
from mmrel.utils import UsageError

State = dict[str, Tensor]


@HOOKS.register_module()
class FirstWeights(Hook):
    """Keeps what the model holds before the first step."""

    def before_train(self, runner: Any) -> None:
        self.state = {k: v.clone() for k, v in runner.model.state_dict().items()}


def vit(**changes: Any) -> State:
    """An official backbone of the tiny models' size."""
    settings = dict(width=tiny.WIDTH, depth=2, hidden=24, patch=tiny.PATCH, grid=(4, 4))
    return official.vit(**{**settings, **changes})


def training() -> dict[str, Any]:
    """A full official checkpoint, whose heads are of another size."""
    loss = {"center": torch.ones(1, 11)}
    student, teacher = vit(), vit()
    return official.training(
        official.network(student, official.dino_head("head"), True),
        official.network(teacher, official.dino_head("head"), False),
        dino_loss=loss,
    )


def exported() -> dict[str, Any]:
    backbone = tiny.build(tiny.dino(), seed=3).teacher.backbone.state_dict()
    state = {f"backbone.{key}": value for key, value in backbone.items()}
    return {"state_dict": state, "meta": {"num_heads": tiny.HEADS, "network": "teacher"}}


def own(config: dict[str, Any]) -> dict[str, Any]:
    return {"state_dict": tiny.build(config, seed=3).state_dict(), "meta": {}}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"), 2)


def run(root: Path, folder: Path, model: dict[str, Any], content: Any) -> Any:
    """One epoch of one iteration; the runner, afterwards."""
    relvit = model["type"] == "mmrel.RelViT"
    module = test_resume_relvit if relvit else test_resume_pipeline
    config = module.settings(root, folder / "run", 0)
    hooks = [hook for hook in config["custom_hooks"] if hook["type"] != "mmrel.KNNHook"]
    path = official.save(content, folder / "weights.pth")
    config |= dict(
        model=model, load_from=str(path), custom_hooks=[*hooks, dict(type="FirstWeights")]
    )
    config["train_cfg"]["max_epochs"] = 1
    config["default_hooks"]["checkpoint"]["interval"] = 1
    config["experiment_name"] = folder.name
    runner = build_runner(Config(config))
    try:
        runner.train()
    finally:
        engine_toys.close(runner)
    return runner


def first(runner: Any) -> State:
    return next(h for h in runner.hooks if isinstance(h, FirstWeights)).state


@pytest.mark.parametrize(
    ("model", "content", "fresh"),
    [
        (tiny.dino(), training, "neck.projection"),
        (tiny.ibot(), vit, "neck.projection"),
        (tiny.sere(), vit, "neck.projection"),
        (tiny.dino(), exported, "neck.projection"),
        (tiny.dino(), lambda: own(tiny.dino()), ""),
        (tiny.sere(), lambda: own(tiny.ibot()), "neck.spatial_relation"),
        (tiny.relvit(), training, "head.relation"),
        (tiny.relvit(), lambda: own(tiny.relvit()), ""),
    ],
    ids=["full", "ibot", "sere", "exported", "own", "sere over ibot", "relvit", "own relvit"],
)
def test_run__begins_with_the_file(
    images: Path,
    tmp_path: Path,
    model: dict[str, Any],
    content: Callable[[], Any],
    fresh: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.manual_seed(5)
    given = content()
    state = first(run(images, tmp_path, model, given))
    teacher = "teacher.backbone." if "teacher.backbone.cls_token" in state else "backbone."
    flat = given.get("teacher", given.get("state_dict", given))
    wanted = next(v for k, v in flat.items() if k.endswith("cls_token") and "teacher" not in k)
    if "teacher.backbone.cls_token" in flat:
        wanted = flat["teacher.backbone.cls_token"]
    assert torch.equal(state[f"{teacher}cls_token"], wanted)
    student = given["student"] if "student" in given and teacher != "backbone." else flat
    own_token = next(
        v for k, v in student.items() if k.endswith("cls_token") and "teacher" not in k
    )
    assert torch.equal(state["backbone.cls_token"], own_token)
    log = next((tmp_path / "run").rglob("*.log")).read_text()
    assert (f"Begins anew: {fresh}" in log) if fresh else "Begins anew" not in log


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: vit(depth=1), "missing: layers.1"),
        (lambda: {"state_dict": {"conv1.weight": torch.zeros(2)}}, "no backbone of a known layout"),
    ],
)
def test_run__does_not_begin_with_what_does_not_fit(
    images: Path, tmp_path: Path, content: Callable[[], Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(images, tmp_path, tiny.dino(), content())


def test_run__resumed_reads_no_weights(images: Path, tmp_path: Path) -> None:
    """A run that goes on from DINO and is resumed continues from its own checkpoint."""
    torch.manual_seed(5)
    runner = run(images, tmp_path, tiny.dino(), vit())
    state = {k: v.clone() for k, v in runner.model.state_dict().items()}
    config = Config(dict(runner.cfg, resume=True, load_from=None, experiment_name="again"))
    config.train_cfg.max_epochs = 2
    again = build_runner(config)
    again.train()
    engine_toys.close(again)
    assert all(torch.equal(first(again)[key], value) for key, value in state.items())
