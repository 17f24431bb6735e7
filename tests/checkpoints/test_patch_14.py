"""All seven methods on from DINOv2's weights, with patches of 14 pixels and register tokens, and from scratch."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from beginnings import begin
from checkpoints import official
from torch import Tensor

from mmrel.structures import Geometry, ViewBatch

PATCH, GLOBAL, LOCAL = 14, 70, 42
ARCH = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
METHODS: dict[str, Callable[[], dict[str, Any]]] = {
    "sere": tiny.sere,
    "ibot": tiny.ibot,
    "dino": tiny.dino,
    "mocov3": tiny.mocov3,
    "selfpatch": tiny.selfpatch,
    "sit": tiny.sit,
    "relvit": tiny.relvit,
}


def model(method: str, registers: int) -> Any:
    settings = METHODS[method]()
    backbone = settings.get("base", settings)["backbone"]
    backbone.update(
        arch=ARCH,
        img_size=GLOBAL,
        patch_size=PATCH,
        num_registers=registers,
        layer_scale_init_value=1.0,
    )
    if method == "sit":
        settings["decoder"]["patch_size"] = PATCH
    if method == "relvit":
        settings["head"] = {k: dict(v, side=GLOBAL // PATCH) for k, v in settings["head"].items()}
    return tiny.build(settings)


def weights(registers: int) -> dict[str, Tensor]:
    """DINOv2's; SelfPatch leaves class token and final norm out."""
    state = official.vit(12, 2, 24, PATCH, (5, 5), scale="ls")
    if registers:
        state["register_tokens"] = official.draw((1, registers, 12))
    return state | {"mask_token": official.draw((1, 12))}


def views(method: str, batch: int = 2) -> ViewBatch:
    side, num_local = GLOBAL // PATCH, 0 if method in ("mocov3", "sit", "relvit") else 2
    boxes = torch.cat(
        [torch.rand(batch, 2 + num_local, 4) * 20 + 30, torch.zeros(batch, 2 + num_local, 1)], -1
    )
    masks = torch.rand(2 * batch, side * side) < 0.4
    given = ViewBatch(
        global_crops=torch.randn(2 * batch, 3, GLOBAL, GLOBAL),
        local_crops=torch.randn(num_local * batch, 3, LOCAL, LOCAL) if num_local else None,
        geometry=Geometry(boxes, 2),
        masks=masks,
        num_global=2,
        num_local=num_local,
        mask_indices=masks.flatten().nonzero().squeeze(1),
        mask_weights=(1 / masks.sum(1).clamp(min=1)).repeat_interleave(side * side)[
            masks.flatten()
        ],
    )
    if method != "sit":
        return given
    corruption = torch.rand(2 * batch, GLOBAL, GLOBAL) < 0.5
    dirty = given.global_crops * ~corruption[:, None]
    return replace(given, corrupted_crops=dirty, corruption=corruption)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("method", METHODS)
def test_methods__go_on_with_patches_of_14(method: str, registers: int, tmp_path: Path) -> None:
    network, given = model(method, registers), weights(registers)
    report = begin(network, given, tmp_path).report
    assert "resized" not in report
    kernel = given["patch_embed.proj.weight"]
    assert torch.equal(network.backbone.patch_embed.projection.weight, kernel)
    losses = network.loss(views(method))
    total = sum(value for name, value in losses.items() if name.startswith("loss"))
    assert torch.isfinite(total)
    total.backward()
    tokens = network.extract_tokens(torch.randn(1, 3, GLOBAL, LOCAL))
    assert tokens.patches.shape == (1, 15, 12) and tokens.grid == (5, 3)
    if registers:
        assert network.backbone.register_tokens.grad.abs().sum() > 0
        if hasattr(network, "teacher"):
            own, teacher = network.backbone, network.teacher.backbone
            assert torch.equal(own.register_tokens, teacher.register_tokens)
            assert not teacher.register_tokens.requires_grad


def test_crops__that_are_no_multiple_are_refused() -> None:
    network = model("dino", 0)
    with pytest.raises(ValueError, match="72x72 pixels is not a whole.* 14-pixel .* such as 70"):
        network.backbone(torch.randn(1, 3, 72, 72))
