"""SiT's optimisation (public code of arXiv 2104.03602): schedules, clipping and parameter groups."""

import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper

from mmrel.engine.optimizers.selfsup_optim_wrapper import clip_per_tensor
from mmrel.ops.schedules import cosine_schedule


@pytest.mark.parametrize(
    ("step", "lr", "decay", "momentum"),
    [
        (0, 0.0, 0.04, 0.996),
        (1, 5.05050505e-6, 0.04000370, 0.99600025),
        (50, 2.52525253e-4, 0.04878680, 0.99658579),
        (99, 5e-4, 0.06952878, 0.99796859),
        (100, 5e-4, 0.07, 0.998),
        (150, 2.505e-4, 0.09121320, 0.99941421),
        (199, 1.12311319e-6, 0.09999630, 0.99999975),
    ],
)
def test_schedules__values(step: int, lr: float, decay: float, momentum: float) -> None:
    """20 epochs of 10 iterations, 10 of them warm-up."""
    assert cosine_schedule(step, 200, 5e-4, 1e-6, 100) == pytest.approx(lr, rel=1e-8, abs=1e-13)
    assert cosine_schedule(step, 200, 0.04, 0.1) == pytest.approx(decay, abs=6e-9)
    assert cosine_schedule(step, 200, 0.996, 1.0) == pytest.approx(momentum, abs=6e-9)


def test_clip__per_tensor() -> None:
    gradients = [torch.tensor([3.0, 4.0], dtype=torch.float64), torch.tensor([0.0, 2.0])]
    clip_per_tensor(gradients[:1], 3.0)
    clip_per_tensor(gradients[1:], 3.0)
    assert gradients[0].tolist() == pytest.approx([1.79999964, 2.39999952], abs=5e-9)
    assert gradients[1].tolist() == [0.0, 2.0]


def test_groups__what_decays() -> None:
    """Biases and the norms' parameters are not decayed; class token and positions are."""
    model = tiny.build(tiny.sit())
    names = {id(p): name for name, p in model.named_parameters()}
    wrapper = build_optim_wrapper(
        model,
        dict(
            type="mmrel.SelfSupOptimWrapper",
            constructor="mmrel.SelfSupOptimWrapperConstructor",
            optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.04),
        ),
    )
    decayed, plain = (
        {names[id(p)] for p in group["params"]} for group in wrapper.optimizer.param_groups
    )
    assert {"backbone.cls_token", "backbone.pos_embed"} <= decayed
    assert {"neck.decoder.to_pixels.weight", "neck.projection.mlp.6.weight"} <= decayed
    assert not any(name.endswith("bias") or ".ln" in name for name in decayed)
    assert {"neck.projection.mlp.1.weight", "neck.projection.mlp.4.weight"} <= plain
    assert {"backbone.ln1.weight", "backbone.layers.0.ln1.bias"} <= plain
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert decayed | plain == trained
