"""Compiled steps: one graph, the numbers of eager steps, and nothing compiled anew."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from compile_toys import (  # noqa: F401
    LOGGER,
    METHODS,
    batch,
    build,
    compiled,
    fresh_compiler,
    step,
)
from mmengine.model import MMDistributedDataParallel
from processes import join_processes, run_processes
from torch import distributed, nn
from torch._dynamo.utils import counters

from mmrel.engine.compilation import CompileOptions, compile_model
from mmrel.engine.compilation import model as module
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch
from mmrel.utils import UsageError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
slow = pytest.mark.slow

CANCELLING = ("sit", "mocov3")
"""Batch norm over class tokens takes out what all crops share; in float32 what is left are few digits."""


def methods(*quick: str) -> list:
    """All of them; those that are not named are slow."""
    return [pytest.param(m, marks=() if m in quick else slow) for m in METHODS]


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
    assert_one_graph(model, batch(model))


@slow
@pytest.mark.parametrize(
    "backbone",
    [
        dict(
            type="mmrel.Swin",
            arch=dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2]),
            img_size=64,
            window_size=2,
        ),
        dict(
            type="mmrel.T2TViT",
            img_size=64,
            embed_dims=12,
            num_layers=2,
            drop_path_rate=0.2,
            layer_cfgs=dict(num_heads=2, feedforward_channels=24),
            t2t_cfg=dict(token_dims=4),
        ),
    ],
    ids=["swin", "t2t"],
)
def test_loss__of_other_backbones_is_one_graph(backbone: dict) -> None:
    network = MODELS.build(backbone)
    sizes = dict(in_channels=network.token_channels, side=network.token_grid[0])
    head = dict(relation=dict(type="mmrel.PatchRelationHead", **sizes))
    model = tiny.build(dict(type="mmrel.RelViT", backbone=network, head=head))
    images = torch.randn(2, 3, 64, 64)
    assert_one_graph(model, ViewBatch(images, None, None, None, num_global=1, num_local=0))
    blocks = [unit for unit in module.units_of(model) if unit.method == "forward"]
    assert len(blocks) >= 4, "what is a block is known for this backbone"


def assert_one_graph(model: nn.Module, views: ViewBatch) -> None:
    explained = torch._dynamo.explain(model.loss)(views)
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
@pytest.mark.parametrize("method", methods("relvit", "sit"))
def test_inductor__equals_eager_steps(method: str, scope: str) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if method in CANCELLING else before)
    try:
        assert_equal_steps(method, scope=scope, backend="inductor")
    finally:
        torch.set_default_dtype(before)


def equal_wrapped_steps(rank: int, size: int, folder: str, method: str) -> None:
    """In one process of several: compiled and eager gradients of the wrapped model agree, after few compilations."""
    join_processes(rank, size, folder)
    try:
        eager = build(method)
        fast = compiled(copy.deepcopy(eager))
        pair = [
            MMDistributedDataParallel(model, broadcast_buffers=False) for model in (fast, eager)
        ]
        for number in range(3):
            if number == 2:
                graphs = counters["stats"]["unique_graphs"]
            for model in pair:
                model.zero_grad()
                losses = model(batch(eager, 10 * number + rank), mode="loss")
                torch.stack([v for k, v in losses.items() if "loss" in k]).sum().backward()
            for name, parameter in eager.named_parameters():
                torch.testing.assert_close(fast.get_parameter(name).grad, parameter.grad)
        assert counters["stats"]["unique_graphs"] == graphs and not counters["graph_break"]
    finally:
        distributed.destroy_process_group()


def test_distributed__wrapper_reduces_compiled_gradients(tmp_path: Path) -> None:
    equal_wrapped_steps(0, 1, str(tmp_path), "relvit")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sere", "mocov3"])
def test_distributed__two_processes_compile_the_same(tmp_path: Path, method: str) -> None:
    run_processes(equal_wrapped_steps, 2, 2, str(tmp_path), method, timeout=500)


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
