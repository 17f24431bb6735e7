"""``compile`` of a configuration: one graph, the numbers of eager steps, no compiling anew, and what it refuses."""

import copy
import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from mmrel.engine.compilation import CompileOptions, compile_model, options_for, read_options
from mmrel.engine.compilation import model as module
from mmrel.engine.compilation.requirements import obstacle
from mmrel.structures import ViewBatch
from mmrel.utils import UsageError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
slow = pytest.mark.slow
LOGGER = logging.getLogger("test_compilation")


def sere(rate: float = 0.0) -> dict:
    return tiny.sere(tiny.ibot(drop_path_rate=rate))


METHODS: dict[str, Callable[[], dict]] = {
    "sere": sere,
    "ibot": tiny.ibot,
    "dino": tiny.dino,
    "selfpatch": tiny.selfpatch,
    "sit": tiny.sit,
    "mocov3": tiny.mocov3,
    "relvit": tiny.relvit,
}


def methods(*quick: str) -> list:
    """All of them; those that are not named are slow."""
    return [pytest.param(m, marks=() if m in quick else slow) for m in METHODS]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """No compiled code of another test, and torch's settings as they were."""
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(recompile_limit=8, optimize_ddp=True):
        yield
    torch._dynamo.reset()


def build(method: str, **kwargs: Any) -> nn.Module:
    config = METHODS[method](**kwargs)
    part = config["base"] if method == "sere" else config
    part["backbone"]["arch"] = {**part["backbone"]["arch"], "num_layers": 1}
    return tiny.build(config)


def batch(model: nn.Module, seed: int = 0) -> ViewBatch:
    """Crops of two sizes where the method takes them; the number of hidden patches depends on the seed."""
    views = tiny.view_batch(num_local=1 if model.local_crops else 0, seed=seed)
    dirty = torch.rand(4, tiny.GLOBAL, tiny.GLOBAL, generator=torch.Generator().manual_seed(seed))
    corruption = dirty < 0.3
    corrupted = torch.where(corruption[:, None], 0.0, views.global_crops)
    if "corruption" not in {need for head in model.head.values() for need in head.needs}:
        return views
    return dataclasses.replace(views, corruption=corruption, corrupted_crops=corrupted)


def step(model: nn.Module, seed: int, micro_batches: int = 1) -> tuple[dict[str, Tensor], dict]:
    """Losses of the last micro-batch and gradients of all; then a small step and the teacher's."""
    for part in range(micro_batches):
        losses = model(batch(model, seed + part), mode="loss")
        torch.stack([v for k, v in losses.items() if "loss" in k]).sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for name, gradient in gradients.items():
            model.get_parameter(name).sub_(gradient, alpha=1e-3)
    model.zero_grad()
    if hasattr(model, "commit"):
        model.commit(0.9, torch.tensor(True))
    return losses, gradients


def compiled(model: nn.Module, **options: Any) -> nn.Module:
    settings = {"enabled": True, "backend": "aot_eager", **options}
    assert compile_model(model, CompileOptions(**settings), LOGGER)
    return model


def assert_equal_steps(method: str, steps: int = 5, micro_batches: int = 1, **options: Any) -> None:
    """Compiled and eager steps agree; after the third, nothing is compiled any more."""
    eager = build(method)
    fast = compiled(copy.deepcopy(eager), **options)
    for number in range(steps):
        if number == 3:
            graphs = counters["stats"]["unique_graphs"]
        losses, gradients = step(fast, number, micro_batches)
        expected, slopes = step(eager, number, micro_batches)
        torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
        assert gradients.keys() == slopes.keys()
        largest = max(float(slope.abs().max()) for slope in slopes.values())
        for name, slope in slopes.items():
            close = dict(rtol=1e-5, atol=1e-5 * largest, msg=lambda m, name=name: f"{name}: {m}")
            torch.testing.assert_close(gradients[name], slope, **close)
    assert counters["stats"]["unique_graphs"] == graphs and not counters["graph_break"]
    assert list(fast.state_dict()) == list(eager.state_dict())
    torch.testing.assert_close(fast.state_dict(), eager.state_dict(), rtol=1e-4, atol=1e-4)


# SERE holds iBOT, which holds DINO.
@pytest.mark.parametrize("method", methods("sere", "relvit"))
def test_loss__is_one_graph(method: str) -> None:
    model = build(method)
    explained = torch._dynamo.explain(model.loss)(batch(model))
    reasons = [reason.reason for reason in explained.break_reasons]
    assert (explained.graph_count, explained.graph_break_count) == (1, 0), reasons


@pytest.mark.parametrize("method", methods())
def test_parts__equal_eager_steps(method: str) -> None:
    assert_equal_steps(method, scope="parts")


@pytest.mark.parametrize("method", methods("mocov3"))
def test_whole__equals_eager_steps(method: str) -> None:
    assert_equal_steps(method, scope="whole")


def test_accumulation__compiles_once_and_counts_every_micro_batch() -> None:
    assert_equal_steps("dino", micro_batches=3, backend="eager")


@needs_compiler
@pytest.mark.parametrize("scope", ["parts", pytest.param("whole", marks=slow)])
@pytest.mark.parametrize("method", methods("relvit"))
def test_inductor__equals_eager_steps(method: str, scope: str) -> None:
    assert_equal_steps(method, scope=scope, backend="inductor")


def test_blocks__share_code_whatever_their_drop_rates() -> None:
    """A form per crop size, with and without a rate, and the teacher's: not one per block."""
    config = tiny.dino(drop_path_rate=0.5)
    config["backbone"]["arch"] = {**config["backbone"]["arch"], "num_layers": 5}
    model = compiled(tiny.build(config), backend="eager")
    for seed in range(2):
        step(model, seed)
    assert counters["stats"]["unique_graphs"] == 5 + 1


def test_blocks__of_many_sizes_have_general_code() -> None:
    model = compiled(build("relvit"), backend="eager")
    for rows in range(2, 12):
        model.backbone(torch.randn(2, 3, tiny.PATCH * rows, tiny.GLOBAL))
    assert counters["stats"]["unique_graphs"] <= module.FIXED_SIZES + 2
    assert model.backbone.layers[0].forward(torch.randn(3, 5, tiny.WIDTH)).shape[1] == 5


def test_temperature__that_rises_per_epoch_compiles_once_more() -> None:
    config = tiny.dino()
    config["head"]["teacher_temperature"] = dict(start=0.04, end=0.07, warmup_epochs=9)
    model = compiled(tiny.build(config), backend="eager")
    graphs = []
    for epoch in range(5):
        model.set_epoch(epoch)
        step(model, epoch)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] < graphs[1] == graphs[-1] == graphs[0] + 1


def test_evaluation__of_other_sizes_compiles_nothing() -> None:
    model = compiled(build("dino"), backend="eager")
    step(model, 0)
    graphs = dict(counters["stats"])
    plain = copy.deepcopy(model)
    for block in (*plain.backbone.layers, *plain.teacher.backbone.layers):
        del block.forward
    for images in (torch.randn(3, 3, 24, 24), torch.randn(2, 3, 32, 16)):
        with torch.no_grad():
            expected = plain.eval().extract_feat(images)
            assert torch.equal(model.eval().extract_feat(images), expected)
    assert dict(counters["stats"]) == graphs
    step(model.train(), 1)
    assert dict(counters["stats"]) == graphs


def test_compiled_model__keeps_its_names_and_is_copied_whole() -> None:
    model = build("relvit")
    names = list(model.state_dict())
    copied = copy.deepcopy(compiled(model))
    for one in (model, copied):
        assert list(one.state_dict()) == names and "_orig_mod" not in str(one)
        assert one.compare.__self__ is one
        assert all(block.forward.__self__ is block for block in one.backbone.layers)


def test_classifier__of_relvit_compiles_blocks_and_pretext_heads() -> None:
    config = dict(
        type="mmrel.RelViTClassifier",
        backbone=tiny.vit(),
        pretext=dict(relation=tiny.patch_head("PatchRelationHead")),
        neck=dict(type="mmrel.TokenFeature"),
        head=dict(type="mmpretrain.LinearClsHead", num_classes=2, in_channels=tiny.WIDTH),
    )
    model = tiny.build(config)
    units = {(unit.name, unit.method) for unit in module.units_of(model)}
    blocks = {(f"backbone.layers.{i}", "forward") for i in range(2)}
    assert units == {("", "pretext_losses"), *blocks}
    with pytest.raises(UsageError, match=r"scope='whole'.*RelViTClassifier.*scope='parts'"):
        compile_model(model, CompileOptions(enabled=True, scope="whole"), LOGGER)


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
        monkeypatch.setitem(__import__("sys").modules, "triton", None)
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
