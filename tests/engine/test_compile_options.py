"""What ``compile`` of a configuration refuses, what it needs, and what happens where torch cannot compile."""

import copy
import logging
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch
from compile_toys import LOGGER, build, compiled, fresh_compiler, step  # noqa: F401
from torch import nn

from mmrel.engine.compilation import CompileOptions, compile_model, options_for, read_options
from mmrel.engine.compilation import model as module
from mmrel.engine.compilation.requirements import obstacle
from mmrel.utils import UsageError


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yes", r"compile is 'yes'; it must be True, False, None .* enabled, scope, backend"),
        (dict(bakend="eager"), r"'bakend', which does not exist \(is 'backend' meant\?\).*scope"),
        (dict(scope="all"), r"compile\.scope is 'all'; allowed are 'parts', 'whole'"),
        (dict(enabled="yes"), r"compile\.enabled is 'yes'; allowed are True, False, 'auto'"),
        (dict(dynamic=1), r"compile\.dynamic is 1; allowed are None, True, False"),
        (dict(backend="inducter"), r"compile\.backend is 'inducter'; allowed are .*'inductor'"),
        (dict(mode="fast"), r"compile\.mode is 'fast'; allowed are .*'reduce-overhead'"),
        (dict(mode="default", backend="eager"), r"mode, which inductor alone.*backend='eager'"),
        (dict(mode="default", options=dict(max_autotune=True)), r"both mode and options"),
        (dict(mode="reduce-overhead"), r"CUDA graphs.*scope='whole'"),
        (dict(options={"triton.cudagraphs": True}), r"CUDA graphs.*scope='whole'"),
        (dict(options=dict(max_autotun=True)), r"'max_autotun'.*is 'max_autotune' meant"),
    ],
)
def test_options__mistakes_are_told(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_options(value)


@pytest.mark.parametrize(
    ("value", "enabled"),
    [(None, "auto"), (True, True), (False, False), ({}, True), (dict(enabled="auto"), "auto")],
)
def test_options__say_whether_to_compile(value: Any, enabled: bool | str) -> None:
    assert read_options(value, scope="whole") == CompileOptions(enabled=enabled, scope="whole")


def test_options__of_other_models_are_the_hosts() -> None:
    assert options_for(nn.Linear(2, 2), dict(mode="default")) is None
    with pytest.raises(UsageError, match=r"compile has scope, .* model is a Linear.*MMEngine's"):
        options_for(nn.Linear(2, 2), dict(scope="whole"))


def without(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == "triton":
        monkeypatch.setitem(sys.modules, "triton", None)
    elif what == "compiler":
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif what == "header":
        monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": "/nowhere"})
        monkeypatch.setattr(shutil, "which", lambda name: name)
    elif what == "torch":
        monkeypatch.setattr(torch, "__version__", "2.4.1+cpu")
    else:
        error = RuntimeError("Python 9.9+ not yet supported for torch.compile")
        monkeypatch.setattr(
            "torch._dynamo.eval_frame.check_if_dynamo_supported",
            lambda: (_ for _ in ()).throw(error),
        )


@pytest.mark.parametrize(
    ("what", "device", "message"),
    [
        ("triton", "cuda", r"Triton.*cannot be imported.*pip install triton"),
        ("compiler", "cpu", r"no C\+\+ compiler \(g\+\+\); install one.*CXX"),
        ("header", "cpu", r"/nowhere/Python\.h is missing.*python3-dev"),
        ("torch", "cpu", r"torch is 2\.4\.1; install 2\.6 or newer"),
        ("python", "cpu", r"Python 9\.9\+ not yet supported.*another Python or a newer torch"),
    ],
)
def test_missing__is_an_error_if_asked_for_and_a_line_otherwise(
    what: str,
    device: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = build("relvit")
    without(monkeypatch, what)
    monkeypatch.setattr(module, "device_of", lambda model: device)
    with pytest.raises(UsageError, match=rf"torch cannot compile here: .*{message}.*compile=False"):
        compile_model(model, CompileOptions(enabled=True), LOGGER)
    monkeypatch.setattr(module, "device_of", lambda model: "cuda")
    monkeypatch.setattr(module, "obstacle", lambda _, backend: obstacle(device, backend))
    assert not compile_model(model, CompileOptions(), LOGGER)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.text.count("Not compiled, so the steps take longer") == 1
    assert "forward" not in vars(model.backbone.layers[0])


def test_missing_compiler__that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++ -O2")
    assert "CXX=/nowhere/c++ -O2" in str(obstacle("cpu", "inductor"))
    assert obstacle("cpu", "aot_eager") is None


def test_cpu__is_not_compiled_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = build("relvit")
    assert not compile_model(model, CompileOptions(enabled=False), LOGGER)
    assert not caplog.records
    assert not compile_model(model, CompileOptions(), LOGGER)
    assert len(caplog.records) == 1 and "--cfg-options compile=True" in caplog.text


def failing(graph: torch.fx.GraphModule, inputs: list) -> Callable:
    raise OSError("no space left on device")


def test_failure__of_the_compiler_is_a_line_or_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "device_of", lambda model: "cuda")
    eager = build("relvit")
    fast, strict = copy.deepcopy(eager), copy.deepcopy(eager)
    torch._dynamo.register_backend(failing, name="failing")
    compile_model(fast, CompileOptions(backend="failing", scope="whole"), LOGGER)
    for seed in range(2):
        torch.testing.assert_close(step(fast, seed), step(eager, seed), rtol=0, atol=0)
    assert caplog.text.count("cannot be compiled") == 1 and "no space left" in caplog.text
    compile_model(strict, CompileOptions(enabled=True, backend="failing"), LOGGER)
    with pytest.raises(UsageError, match=r"cannot be compiled.*no space left.*compile=False"):
        step(strict, 0)


def test_failure__of_the_model_itself_keeps_its_own_words() -> None:
    model = compiled(build("mocov3"), backend="eager")
    views = tiny.view_batch(batch=1, num_local=0)
    with pytest.raises(ValueError, match=r"the batch has 1 image"):
        model(views, mode="loss")


def test_cuda_graphs__losses_have_memory_of_their_own() -> None:
    """The next replay writes where a graph's results are, and losses are logged later."""
    losses = {"loss": torch.ones(()), "tokens": torch.ones(2, 2)}
    owned = module._own(losses)
    losses["loss"].zero_()
    assert owned["loss"] == 1 and owned["tokens"] is losses["tokens"]
    assert CompileOptions(scope="whole", mode="reduce-overhead").uses_cuda_graphs
    assert not CompileOptions(mode="max-autotune-no-cudagraphs").uses_cuda_graphs


def test_cuda_graphs__do_not_accumulate_gradients() -> None:
    options = CompileOptions(scope="whole", mode="reduce-overhead")
    options.check_accumulation(1)
    with pytest.raises(UsageError, match=r"mode='reduce-overhead'.*accumulative_counts is 2"):
        options.check_accumulation(2)


def test_cuda_graphs__are_relvits_own_choice_where_they_work() -> None:
    relvit = tiny.build(tiny.relvit())
    own = module.options_for(relvit, None)
    assert own is not None and own.scope == "whole" and own.uses_cuda_graphs
    for value, parts in ((None, 2), (dict(scope="parts"), 1), (dict(backend="eager"), 1)):
        other = module.options_for(relvit, value, parts)
        assert other is not None and not other.uses_cuda_graphs
    with pytest.raises(UsageError, match="accumulative_counts is 2"):
        module.options_for(relvit, dict(mode="reduce-overhead"), 2)
    sere = module.options_for(tiny.build(tiny.sere()), None)
    assert sere is not None and sere.scope == "parts" and sere.mode is None
