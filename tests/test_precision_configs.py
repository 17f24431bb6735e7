"""Every pretraining recipe: ``optim_wrapper.precision`` chooses the precision; float32 products use TensorFloat32."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

import mmrel  # noqa: F401
from mmrel.engine.optimizers import SelfSupOptimWrapper

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS = ("dino", "evidence", "ibot", "mocov3", "quickstart", "relvit", "selfpatch", "sere", "sit")
RECIPES = sorted(path for method in METHODS for path in CONFIGS.glob(f"{method}/*.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe__understands_precision(path: Path) -> None:
    config = Config.fromfile(path)
    if config.optim_wrapper.optimizer.lr == "auto":
        config.optim_wrapper.optimizer.lr = 1e-4
    for precision in ("bf16", "fp16", "fp32"):
        config.merge_from_dict({"optim_wrapper.precision": precision})
        wrapper = build_optim_wrapper(
            nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), config.optim_wrapper
        )
        assert isinstance(wrapper, SelfSupOptimWrapper) and wrapper.precision == precision
    assert config.default_hooks.arithmetic == dict(
        type="mmrel.ArithmeticHook", float32_matmul="high"
    )


def test_relvit__survives_an_overflow() -> None:
    """fp16 gradients of infinity skip a step and halve the scale; clipping by the global norm raises nothing."""
    (path,) = CONFIGS.glob("relvit/relvit_vit-small-p4_1xb256-100e_cifar10.py")
    config = Config.fromfile(path)
    config.optim_wrapper.precision = "fp16"
    model = nn.Linear(2, 2)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    scale = wrapper.loss_scaler.get_scale()
    # A finite loss whose gradient is not: what an overflow in half precision looks like.
    for parameter in model.parameters():
        parameter.register_hook(lambda grad: grad / 0)
    wrapper.update_params(model(torch.ones(4, 2)).sum())
    assert not wrapper.step_ok and wrapper.loss_scaler.get_scale() == scale / 2
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
