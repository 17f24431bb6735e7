"""What may be written, and what is said when it cannot be."""

import errno
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine_toys
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmrel.engine.checkpointing.finite import infinite_buffers, nonfinite_state
from mmrel.engine.optimizers import NonFiniteGradientError, NonFiniteLossError, NonFiniteStateError

NAN, INF = float("nan"), float("inf")


@HOOKS.register_module()
class Spoil(Hook):
    """Puts a number into one tensor of the state after an iteration."""

    priority = "LOW"

    def __init__(self, what: str, value: float, iteration: int = 3) -> None:
        self.what, self.value, self.iteration = what, value, iteration

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        if runner.iter != self.iteration:
            return
        model, name = runner.model, self.what
        if name == "exp_avg":
            state = runner.optim_wrapper.optimizer.state[model.last_layer.weight]["exp_avg"]
        else:
            state = model.state_dict()[name]
        state.view(-1)[0] = self.value


def spoilt(work_dir: Path, what: str, value: float, **changes: Any) -> dict:
    config = engine_toys.config(work_dir, **changes)
    config["train_cfg"]["max_epochs"] = 1
    config["custom_hooks"].append(dict(type="Spoil", what=what, value=value))
    return config


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("exp_avg", "exp_avg of last_layer.weight"),
        ("backbone.0.weight", "backbone.0.weight"),
        ("teacher.last_layer.bias", "teacher.last_layer.bias"),
        ("center", "center"),
    ],
)
def test_save__state_that_is_not_finite(
    tmp_path: Path, what: str, named: str, value: float
) -> None:
    """The checkpoint of the fourth step is not written; that of the third stays, and resume takes it."""
    config = spoilt(tmp_path, what, value)
    config["default_hooks"]["checkpoint"]["max_keep_ckpts"] = 1
    with pytest.raises(NonFiniteStateError, match=rf"iter_4\.pth was not written.*{named}"):
        engine_toys.build(config).train()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_3.pth"]
    config["custom_hooks"].pop()
    runner = engine_toys.build({**config, "resume": True})
    runner.train()
    assert engine_toys.trace(runner).positions[0] == (0, 3)


def test_loss__the_message_says_if_an_earlier_step_spoilt_the_state(tmp_path: Path) -> None:
    config = spoilt(tmp_path, "backbone.0.weight", NAN)
    config["default_hooks"]["checkpoint"]["interval"] = 2
    config["default_hooks"]["checkpoint"] |= dict(interval=3)
    with pytest.raises(NonFiniteLossError, match=r"spoilt the state itself: backbone\.0\.weight"):
        engine_toys.build(config).train()


def test_finite__infinities_on_purpose() -> None:
    model = torch.nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([0.0, -INF]))
    optimizer = engine_toys.nn.Module()
    optimizer.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert nonfinite_state(model, optimizer) == ["mask"]
    assert nonfinite_state(model, optimizer, infinite_buffers(model)) == []
    model.mask[0] = NAN
    assert infinite_buffers(model) == set()


def test_fp16__an_overflow_storm_stops_the_run(tmp_path: Path) -> None:
    config = engine_toys.config(tmp_path)
    config["optim_wrapper"] |= dict(
        precision="fp16",
        loss_scale=dict(init_scale=2.0**120, backoff_factor=1.0 - 1e-9),
        max_skipped=5,
    )
    runner = engine_toys.build(config)
    with pytest.raises(NonFiniteGradientError, match="gradients of 5 updates in a row overflowed"):
        runner.train()
    assert runner.iter == 4
    assert runner.message_hub.get_scalar("train/skipped_steps").data[0].tolist() == [1, 2, 3, 4, 5]


def test_fp16__skipped_steps_are_counted_and_resumed(tmp_path: Path) -> None:
    """A scale that overflows until it is small enough: the run goes on, the count stays, also after a resume."""
    config = engine_toys.config(tmp_path)
    config["optim_wrapper"] |= dict(
        precision="fp16", loss_scale=dict(init_scale=2.0**40, backoff_factor=2.0**-8)
    )
    config["train_cfg"]["max_epochs"] = 1
    first = engine_toys.build(config)
    first.train()
    counts = first.message_hub.get_scalar("train/skipped_steps").data[0].tolist()
    assert 2 <= counts[-1] < 6 and counts[-1] == counts[-2]
    resumed = engine_toys.build(
        {**config, "resume": True, "load_from": str(tmp_path / "iter_2.pth")}
    )
    resumed.train()
    assert resumed.message_hub.get_scalar("train/skipped_steps").data[0].tolist() == counts


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may exceed 20 kB, as on a full disk; the system says EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_save__out_of_space(tmp_path: Path, small_files: None) -> None:
    config = engine_toys.config(tmp_path)
    config["custom_hooks"].append(dict(type="LimitFiles"))
    with pytest.raises(
        OSError,
        match=r"iter_4\.pth could not be written: .*needs about [\d,]+ bytes, and [\d,]+ bytes",
    ) as caught:
        engine_toys.build(config).train()
    assert caught.value.errno == errno.EFBIG
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == [
        f"iter_{i}.pth" for i in (1, 2, 3)
    ]
    assert not list(tmp_path.glob(".*.tmp"))


@HOOKS.register_module()
class LimitFiles(Hook):
    """From the fourth step on, no file may exceed 4 kB."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 3:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_step__out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def forward(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(engine_toys.ToyStudentTeacher, "forward", forward)
    message = r"iteration 0: .*allocate.*batch_size=2 optim_wrapper\.accumulative_counts=2.*precision=bf16"
    with pytest.raises(type(error), match=message):
        engine_toys.runner(tmp_path).train()
