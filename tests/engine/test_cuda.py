"""On a GPU: a training step does not make the host wait, and a bad loss is stopped all the same."""

import copy
from dataclasses import replace

import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper

from mmrel.engine.optimizers import NonFiniteLossError, SelfSupOptimWrapper
from mmrel.structures import Geometry, ViewBatch

pytestmark = pytest.mark.gpu
CONFIGS = {
    "dino": tiny.dino(),
    "ibot": tiny.ibot(),
    "sere": tiny.sere(),
    "mocov3": tiny.mocov3(),
    "selfpatch": tiny.selfpatch(),
}


def on_gpu(views: ViewBatch) -> ViewBatch:
    tensors = {
        name: getattr(views, name).cuda()
        for name in ("global_crops", "local_crops", "masks", "mask_indices", "mask_weights")
        if getattr(views, name) is not None
    }
    return replace(views, geometry=Geometry(views.geometry.boxes.cuda(), 2), **tensors)


def build(name: str, precision: str) -> tuple[torch.nn.Module, SelfSupOptimWrapper]:
    model = tiny.build(CONFIGS[name]).cuda()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type="mmrel.SelfSupOptimWrapper",
            constructor="mmrel.SelfSupOptimWrapperConstructor",
            optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.04),
            clip_grad=dict(max_norm=0.3),
            precision=precision,
        ),
    )
    assert wrapper.guard.deferred
    return model, wrapper


def step(model: torch.nn.Module, wrapper: SelfSupOptimWrapper, views: ViewBatch) -> None:
    """``train_step`` without the data preprocessor, then the commit."""
    with wrapper.optim_context(model):
        losses = model(views, mode="loss")
    loss, _ = model.parse_losses(losses)
    wrapper.update_params(loss)
    model.commit(0.99, ok=wrapper.step_ok)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_step__no_host_synchronisation(name: str, precision: str) -> None:
    model, wrapper = build(name, precision)
    views = on_gpu(tiny.view_batch(num_local=3 if model.local_crops else 0))
    for _ in range(3):
        step(model, wrapper, views)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step(model, wrapper, views)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wrapper.check_finite(wait=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_nonfinite__stops_one_iteration_later_with_nothing_changed(precision: str) -> None:
    model, wrapper = build("ibot", precision)
    views = on_gpu(tiny.view_batch())
    step(model, wrapper, views)
    before = copy.deepcopy(model.state_dict())
    bad = replace(views, global_crops=views.global_crops * float("nan"))
    step(model, wrapper, bad)
    with pytest.raises(NonFiniteLossError, match="iteration 1 "):
        step(model, wrapper, views)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
