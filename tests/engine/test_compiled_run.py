"""A compiled run of the real thing: image folder, multi-crop, masks, SERE on iBOT, k-NN, checkpoints, resume."""

import copy
import itertools
import shutil
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import tiny
import torch
from compile_toys import fresh_compiler  # noqa: F401
from mmengine.config import Config
from mmengine.hooks import Hook
from test_knn_hook import make_images
from test_resume_pipeline import settings
from torch._dynamo.exc import BackendCompilerFailed
from torch._dynamo.utils import counters

from mmrel.launch.runner import LaunchedRunner
from mmrel.utils import UsageError
from mmrel.utils.checkpoint_file import read_checkpoint

_COUNT = itertools.count()
BACKENDS = [
    "aot_eager",
    pytest.param(
        "inductor",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
        ],
    ),
]


class GraphCount(Hook):
    """Keeps how many graphs have been compiled by the end of each iteration."""

    def __init__(self) -> None:
        self.graphs: list[int] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.graphs.append(counters["stats"]["unique_graphs"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


def launched(config: dict, **changes: Any) -> LaunchedRunner:
    config = {**copy.deepcopy(config), **changes, "experiment_name": f"compiled{next(_COUNT)}"}
    return LaunchedRunner.from_cfg(Config(config))


def train(config: dict, **changes: Any) -> tuple[list[float], list[int], LaunchedRunner]:
    """Losses, and numbers of graphs, by iteration."""
    runner, count = launched(config, **changes), GraphCount()
    runner.register_hook(count)
    try:
        runner.train()
    finally:
        engine_toys.close(runner)
    return engine_toys.trace(runner).losses, count.graphs, runner


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_run__equals_the_eager_one_and_resumes(
    images: Path, tmp_path: Path, backend: str
) -> None:
    config = settings(images, tmp_path / "eager", 0)
    config["optim_wrapper"]["accumulative_counts"] = 2
    # inductor draws its own random numbers
    drawn = dict(drop_path_rate=0.2 if backend == "aot_eager" else 0.0)
    config["model"] = tiny.sere(tiny.ibot(**drawn))
    config["model"]["base"]["backbone"]["arch"]["num_layers"] = 1
    eager, graphs, runner = train(config, compile=False)
    assert set(graphs) == {0}
    asked = dict(backend=backend)
    own = dict(work_dir=str(tmp_path / "fast"), log_level="INFO")
    losses, graphs, fast = train(config, compile=asked, **own)
    assert losses == pytest.approx(eager, rel=1e-5)
    assert graphs[2] == graphs[-1] > 0, "compiled anew after the third step"
    text = engine_toys.log_of(fast)
    assert text.count(f"Compiled by {backend}: 2 transformer blocks, SERE.compare") == 1
    assert "Epoch(knn) [2]" in text, "the log ended early"

    accuracy = [r.message_hub.get_scalar("knn/top1_k3").data[0] for r in (runner, fast)]
    assert accuracy[0].tolist() == pytest.approx(accuracy[1].tolist())
    for name, value in runner.model.teacher.state_dict().items():
        torch.testing.assert_close(
            fast.model.teacher.state_dict()[name], value, rtol=1e-4, atol=1e-4
        )

    saved = [read_checkpoint(tmp_path / run / "iter_4.pth") for run in ("eager", "fast")]
    assert list(saved[0]["state_dict"]) == list(saved[1]["state_dict"])
    (tmp_path / "fast" / "iter_4.pth").rename(tmp_path / "resumed.pth")
    again = dict(work_dir=str(tmp_path / "again"), load_from=str(tmp_path / "resumed.pth"))
    resumed, _, _ = train(config, compile=asked, resume=True, **again)
    assert resumed == (losses[4:] if backend == "aot_eager" else pytest.approx(losses[4:]))


def test_option__that_does_not_exist_is_told_before_the_data_is_read(tmp_path: Path) -> None:
    config = engine_toys.config(tmp_path, model=tiny.dino(), compile=dict(fast=True))
    with pytest.raises(UsageError, match=r"compile has the option 'fast', which does not exist"):
        launched(config)


def test_other_models__have_the_hosts_meaning(tmp_path: Path) -> None:
    config = engine_toys.config(tmp_path, compile=dict(scope="whole"))
    with pytest.raises(UsageError, match=r"the model is a ToyStudentTeacher.*MMEngine's"):
        launched(config)
    config["compile"] = dict(backend="eager")
    config["train_cfg"]["max_epochs"] = 1
    runner = launched(config)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner._maybe_compile("train_step")
    assert "train_step" in vars(runner.model)


def test_failure__in_the_backward_pass_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = launched(engine_toys.config(tmp_path, model=tiny.dino()))
    failure = BackendCompilerFailed(len, RuntimeError("no space left"), None)

    def fail(*args: Any) -> None:
        raise failure

    monkeypatch.setattr("mmengine.runner.Runner.train", fail)
    with pytest.raises(UsageError, match=r"compiled step failed.*no space left.*compile=False"):
        runner.train()
    failure = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        runner.train()
