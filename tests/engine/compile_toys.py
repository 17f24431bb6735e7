"""Tiny models of all methods, their batches and steps, for the tests of compiling."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from mmrel.engine.compilation import CompileOptions, compile_model
from mmrel.structures import ViewBatch

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
    """Crops of two sizes where the method takes them; the number of hidden patches depends on the seed.

    Numbers are in torch's default dtype, as the models of :func:`build` are.
    """
    views = tiny.view_batch(num_local=1 if model.local_crops else 0, seed=seed)
    values = vars(views)
    views = dataclasses.replace(
        views,
        **{
            name: value.to(torch.get_default_dtype())
            for name, value in values.items()
            if isinstance(value, Tensor) and value.is_floating_point()
        },
    )
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
