"""What SERE adds to a training step of iBOT at ViT-S/16.

A step is forward, backward, optimiser and teacher update on random crops that are already on the device, in
float32 on a CPU and under bfloat16 autocast on a GPU. Run by ``benchmarks/relation_loss.py``.
"""

from typing import Any

import torch
from measure import clock, wait
from torch import Tensor, nn

import mmrel.models  # noqa: F401  registers the algorithms
from mmrel.registry import MODELS
from mmrel.structures import Geometry, ViewBatch

PROTOTYPES, MASK_RATIO = 8192, 0.15


def algorithms(num_local: int) -> dict[str, dict[str, Any]]:
    """Configs of iBOT and of SERE on it, as in the 100-epoch ViT-S recipes."""
    ibot = dict(
        type="mmrel.IBOT",
        backbone=dict(type="mmrel.ViT", arch="deit-small", drop_path_rate=0.1, mask_token=True),
        neck=dict(
            type="mmrel.PrototypeProjection",
            in_channels=384,
            out_channels=PROTOTYPES,
            patches=True,
            norm_last_layer=False,
        ),
        head=dict(type="mmrel.DistillationHead", out_channels=PROTOTYPES),
        patch_head=dict(type="mmrel.MaskedDistillationHead", out_channels=PROTOTYPES),
        data_preprocessor=dict(type="mmengine.BaseDataPreprocessor"),
    )
    sere = dict(type="mmrel.SERE", base=ibot, local=num_local > 0)
    sere["data_preprocessor"] = ibot["data_preprocessor"]
    return {"iBOT": ibot, "SERE": sere}


def random_views(batch: int, num_local: int, device: str) -> ViewBatch:
    """Random crops of 224 and 96 pixels, boxes, and masks that hide 15 % of the patches (the recipes' mean)."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    corner, size = noise(batch, 2 + num_local, 2) * 100, noise(batch, 2 + num_local, 2) * 200 + 100
    boxes = torch.cat([corner, size, (noise(batch, 2 + num_local, 1) < 0.5).float()], dim=-1)
    masks = noise(2 * batch, 196) < MASK_RATIO
    indices = masks.flatten().nonzero().flatten()
    weights = (1 / masks.sum(1).clamp(min=1)).repeat_interleave(196)[indices]
    return ViewBatch(
        global_crops=noise(2 * batch, 3, 224, 224).to(device),
        local_crops=noise(num_local * batch, 3, 96, 96).to(device) if num_local else None,
        geometry=Geometry(boxes.to(device), 2),
        masks=masks.to(device),
        num_global=2,
        num_local=num_local,
        mask_indices=indices.to(device),
        mask_weights=weights.to(device),
    )


class Step:
    """One training step of an algorithm, timed."""

    def __init__(self, config: dict[str, Any], device: str) -> None:
        self.device = torch.device(device)
        self.model = _build(config).to(self.device)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
        self.ok = torch.ones((), dtype=torch.bool, device=self.device)

    def __call__(self, views: ViewBatch) -> float:
        """Run a step and return its seconds."""
        wait(self.device.type)
        start = clock()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            losses = self.model(views, mode="loss")
        torch.stack([v for k, v in losses.items() if "loss" in k]).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.commit(0.996, self.ok)
        wait(self.device.type)
        return clock() - start


def step_costs(batch: int, num_local: int, device: str, repeats: int) -> dict[str, float]:
    """Best seconds per step of iBOT and of SERE on it, measured in turns."""
    views = random_views(batch, num_local, device)
    steps = {name: Step(config, device) for name, config in algorithms(num_local).items()}
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(repeats + 1):
        for name, step in steps.items():
            duration = step(views)
            best[name] = min(best[name], duration) if turn else best[name]
    return {
        "batch": batch,
        "ibot_seconds": best["iBOT"],
        "sere_seconds": best["SERE"],
        "added": best["SERE"] / best["iBOT"] - 1,
    }


def print_step_costs(costs: dict[str, float]) -> None:
    """One line."""
    print(
        f"a step at ViT-S, batch {costs['batch']}: iBOT {costs['ibot_seconds'] * 1e3:.0f} ms, "
        f"SERE {costs['sere_seconds'] * 1e3:.0f} ms, {costs['added']:+.1%}"
    )


def _build(config: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(config).train()
