"""Out of memory: what takes it and what helps, whatever torch calls the error and whichever process meets it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_toys
import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from mmrel.engine.loops.memory import StepOutOfMemoryError, explain_out_of_memory
from mmrel.engine.loops.memory_groups import KEPT, crop_sizes, memory_groups
from mmrel.engine.optimizers.selfsup_optim_wrapper import PRECISIONS
from mmrel.launch.runner import build_runner
from mmrel.registry import MODELS
from mmrel.utils import UsageError, reports_usage_errors

ERRORS = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore text"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


def running(recompute: str | None = None, precision: str = "bf16") -> Any:
    """What the message asks of a runner, of a tiny SERE with 4 images per step."""
    model = tiny.build(tiny.sere())
    for layer in model.backbone.layers:
        layer.recompute = recompute  # None: as a backbone that cannot
    constructor = "mmrel.SelfSupOptimWrapperConstructor"
    settings = dict(
        type="mmrel.SelfSupOptimWrapper",
        optimizer=dict(type="AdamW", lr=0.1),
        constructor=constructor,
        precision=precision,
        accumulative_counts=2,
    )
    config = Config(
        dict(model=tiny.sere(), train_dataloader=dict(batch_size=4), optim_wrapper=settings)
    )
    return SimpleNamespace(
        model=model, optim_wrapper=build_optim_wrapper(model, settings), cfg=config
    )


def loaded() -> dict[str, Any]:
    """What a loader gives: 2 global crops of 16 pixels and 3 local ones of 8 of each of 4 images."""
    crops = [torch.zeros(4, 3, size, size, dtype=torch.uint8) for size in (16, 16, 8, 8, 8)]
    return {"inputs": crops, "geometry": torch.zeros(4, 5, 5), "num_global": torch.tensor([2] * 4)}


def message(runner: Any, error: BaseException) -> str:
    with (
        pytest.raises(StepOutOfMemoryError) as caught,
        explain_out_of_memory("iteration 7", runner, loaded()),
    ):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_message__is_one_paragraph_with_both_settings(error: BaseException) -> None:
    text = message(running("none"), error)
    assert text.startswith("Out of memory in iteration 7: ") and "\n" not in text
    assert "activations of 8 crops of 16x16 " in text and "activations of 12 crops of 8x8 " in text
    assert "(estimate)" in text and "the teacher " in text
    assert "train_dataloader.batch_size=2 optim_wrapper.accumulative_counts=4" in text
    assert "--cfg-options model.base.backbone.recompute=block (it is 'none')" in text
    assert "precision" not in text


def test_message__names_no_setting_that_would_not_help() -> None:
    """Everything is recomputed already; a backbone that cannot is wrapped by MMEngine; float32 has a half."""
    assert "recompute" not in message(running("block"), ERRORS[0])
    text = message(running(precision="fp32"), ERRORS[0])
    assert "activation_checkpointing=\"['backbone']\"" in text
    assert "optim_wrapper.precision=bf16" in text


def test_other_errors__pass() -> None:
    with (
        pytest.raises(RuntimeError, match=r"^shapes differ$"),
        explain_out_of_memory("iteration 7", running(), loaded()),
    ):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("recompute", [*KEPT["bf16"], None])
def test_groups__are_counted(recompute: str | None) -> None:
    """Against the sums written out; the moments are foreseen before the first step and counted after it."""
    runner = running(recompute)
    groups = memory_groups(runner, loaded())
    assert [g.bytes for g in groups] == sorted((g.bytes for g in groups), reverse=True)
    sizes = {group.name: group.bytes for group in groups}
    own = 4 * sum(p.numel() for p in runner.model.parameters() if p.requires_grad)
    assert sizes["parameters"] == sizes["their gradients"] == own
    assert sizes["the optimizer's moments"] == 2 * own
    assert sizes["the teacher"] == 4 * sum(p.numel() for p in runner.model.teacher.parameters())
    each = 2 * tiny.WIDTH * KEPT["bf16"][recompute or "none"]  # two blocks
    assert sizes["activations of 8 crops of 16x16"] == 8 * 17 * each
    assert sizes["activations of 12 crops of 8x8"] == 12 * 5 * each
    for parameter in runner.optim_wrapper.optimizer.param_groups[0]["params"]:
        parameter.grad = torch.zeros_like(parameter)
    runner.optim_wrapper.optimizer.step()
    moments = next(g for g in memory_groups(runner) if "moments" in g.name)
    assert own < moments.bytes < 2 * own + 4000 and not moments.estimated


def kept_bytes(num_layers: int, precision: str, recompute: str) -> int:
    """Bytes of activations that the graph of a forward pass holds."""
    arch = dict(embed_dims=64, num_layers=num_layers, num_heads=1, feedforward_channels=256)
    vit = dict(type="mmrel.ViT", arch=arch, img_size=64, drop_path_rate=0.1, recompute=recompute)
    network = MODELS.build(vit).train()
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    held: dict[int, Tensor] = {}

    def hold(tensor: Tensor) -> Tensor:
        of_tokens = tensor.numel() % (16 * 17) == 0  # copies of weights in half precision are not
        if of_tokens and tensor.untyped_storage().data_ptr() not in parameters:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor)
    autocast = torch.autocast("cpu", PRECISIONS[precision], enabled=precision != "fp32")
    with hooks, autocast:
        network(torch.randn(16, 3, 64, 64))
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


@pytest.mark.parametrize("precision", KEPT)
@pytest.mark.parametrize("recompute", KEPT["bf16"])
def test_kept__is_what_autograd_holds(precision: str, recompute: str) -> None:
    """Per block, from networks of two and of four: 16 images of 17 tokens of 64 channels."""
    small, large = (kept_bytes(blocks, precision, recompute) for blocks in (2, 4))
    each = (large - small) / 2 / (16 * 17 * 64)
    assert each == pytest.approx(KEPT[precision][recompute], rel=0.05)


def test_crop_sizes__in_any_structure() -> None:
    stacked = torch.zeros(2, 5, 3, 16, 12)
    assert crop_sizes(
        {"inputs": [stacked, (torch.zeros(3, 8, 8),)], "n": 1, "x": torch.ones(3)}
    ) == {
        (16, 12): 10,
        (8, 8): 1,
    }


def test_runner__tells_it_in_loops_of_mmengine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*args: Any, **kwargs: Any) -> None:
        raise ERRORS[0]

    monkeypatch.setattr(engine_toys.ToyPlain, "forward", forward)
    settings = engine_toys.config(tmp_path, model=dict(type="ToyPlain"), param_scheduler=None)
    settings["train_cfg"] = dict(by_epoch=True, max_epochs=1)
    settings["optim_wrapper"] = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1))
    settings["custom_hooks"] = []
    runner = build_runner(Config(dict(settings, experiment_name="memory")))
    with pytest.raises(
        StepOutOfMemoryError, match=r"^Out of memory in training: CUDA.*batch_size=2"
    ):
        runner.train()


@pytest.mark.parametrize("error", [StepOutOfMemoryError("no room"), UsageError("no room")])
def test_tools__any_process_tells_what_it_alone_may_meet(
    error: UsageError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @reports_usage_errors
    def main() -> None:
        raise error

    monkeypatch.setenv("RANK", "3")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told == ("error (process 3): no room\n" if error.of_one_process else "")
