"""Time and memory of SERE's losses, forward and backward, against the direct form; the cost of SERE's step.

    python benchmarks/relation_loss.py [--batch 16] [--local 10] [--device cpu] [--repeats 5] [--step-batch 4]

The direct form follows the formulas as they stand (SERE, arXiv 2206.05184): every N x N relation map is
resampled bilinearly on both of its axes, and every (teacher view, student view) pair has its relation maps,
softmax and cross-entropy of its own. Both forms get the same tokens and boxes, of ViT-S/16; losses and gradients must
agree, otherwise the benchmark fails. Memory is the peak of what is allocated above the inputs. A table is printed and
``benchmarks/results/relation_loss_<device>.json`` is written. Last comes what SERE adds to a step of iBOT.
On one CPU thread, times are processor time, so that other programs disturb them little.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measure import compare, print_table, save_results
from sere_step import print_step_costs, step_costs
from torch import Tensor

from mmrel.models.heads import ChannelRelationHead, SpatialRelationHead
from mmrel.models.outputs import RelationTokens
from mmrel.ops.overlap import overlap_lattice
from mmrel.structures import Geometry, ViewBatch

WIDTH, HEADS, GLOBAL_GRID, LOCAL_GRID = 384, 6, 14, 6
SIDE, LOCAL_SIDE = 13, 6

Loss = Callable[[RelationTokens, RelationTokens, ViewBatch], Tensor]


def resampled_spatial(tokens: Tensor, grid: int, lattice: Tensor) -> Tensor:
    """The map ``(B, heads, N, N)`` of spatial relations, resampled on its key axis, then on its query axis."""
    heads = tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)
    relation = heads @ heads.transpose(2, 3) * heads.shape[-1] ** -0.5
    keys = F.grid_sample(
        relation.flatten(1, 2).unflatten(2, (grid, grid)), lattice, align_corners=False
    )
    keys = keys.flatten(2).unflatten(1, relation.shape[1:3])
    queries = F.grid_sample(
        keys.transpose(2, 3).flatten(1, 2).unflatten(2, (grid, grid)), lattice, align_corners=False
    )
    return queries.flatten(2).unflatten(1, (HEADS, -1)).transpose(2, 3)


def cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean over rows of the cross-entropy between relation maps."""
    target = (teacher / temperature).softmax(dim=-1)
    return -(target * student.log_softmax(dim=-1)).sum(dim=-1).mean()


def direct_spatial(student: RelationTokens, teacher: RelationTokens, views: ViewBatch) -> Tensor:
    """The spatial loss as its formula stands."""
    assert views.geometry is not None
    global_views = student.global_tokens.chunk(views.num_global)
    local_views = (
        () if student.local_tokens is None else student.local_tokens.chunk(views.num_local)
    )
    losses = []
    for q, target in enumerate(teacher.global_tokens.chunk(views.num_global)):
        for v, tokens in enumerate((*global_views, *local_views)):
            if v == q:
                continue
            is_global = v < views.num_global
            teacher_lattice, student_lattice = overlap_lattice(
                views.geometry.view(q), views.geometry.view(v), SIDE if is_global else LOCAL_SIDE
            )
            with torch.no_grad():
                teacher_map = resampled_spatial(target, GLOBAL_GRID, teacher_lattice)
            grid = GLOBAL_GRID if is_global else LOCAL_GRID
            student_map = resampled_spatial(tokens, grid, student_lattice)
            losses.append(cross_entropy(student_map, teacher_map, 0.5))
    return torch.stack(losses).mean()


def direct_channel(student: RelationTokens, teacher: RelationTokens, views: ViewBatch) -> Tensor:
    """The channel loss as its formula stands."""
    global_views = student.global_tokens.chunk(views.num_global)
    local_views = (
        () if student.local_tokens is None else student.local_tokens.chunk(views.num_local)
    )
    losses = []
    for q, target in enumerate(teacher.global_tokens.chunk(views.num_global)):
        for v, tokens in enumerate((*global_views, *local_views)):
            if v == q:
                continue
            with torch.no_grad():
                teacher_map = target.transpose(1, 2) @ target / target.shape[1]
            student_map = tokens.transpose(1, 2) @ tokens / tokens.shape[1]
            losses.append(cross_entropy(student_map, teacher_map, 0.1))
    return torch.stack(losses).mean()


def fast_losses() -> dict[str, Loss]:
    """The losses as mmrel computes them."""
    spatial = SpatialRelationHead(HEADS, SIDE, LOCAL_SIDE)
    channel = ChannelRelationHead()
    return {
        "spatial": lambda *args: spatial(*args)["loss_spatial"],
        "channel": lambda *args: channel(*args)["loss_channel"],
        "both": lambda *args: spatial(*args)["loss_spatial"] + channel(*args)["loss_channel"],
    }


def direct_losses() -> dict[str, Loss]:
    """The losses in the direct form."""
    return {
        "spatial": direct_spatial,
        "channel": direct_channel,
        "both": lambda *args: direct_spatial(*args) + direct_channel(*args),
    }


def make_inputs(
    batch: int, num_local: int, device: str
) -> tuple[RelationTokens, RelationTokens, ViewBatch]:
    """Tokens after batch norm and ReLU, and boxes that mostly overlap, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)

    def tokens(views: int, side: int, requires_grad: bool) -> Tensor:
        values = torch.randn(views * batch, side * side, WIDTH, generator=generator).relu()
        return values.to(device).requires_grad_(requires_grad)

    def boxes(views: int, low: float, high: float) -> Tensor:
        size = low + (high - low) * torch.rand(batch, views, 2, generator=generator)
        corner = (1 - size) * torch.rand(batch, views, 2, generator=generator)
        flip = torch.rand(batch, views, 1, generator=generator) < 0.5
        return torch.cat([corner * 400, size * 400, flip.float()], dim=-1)

    grids = (GLOBAL_GRID, GLOBAL_GRID), (LOCAL_GRID, LOCAL_GRID)
    student = RelationTokens(
        tokens(2, GLOBAL_GRID, True),
        grids[0],
        tokens(num_local, LOCAL_GRID, True) if num_local else None,
        grids[1] if num_local else None,
    )
    teacher = RelationTokens(tokens(2, GLOBAL_GRID, False), grids[0])
    geometry = Geometry(torch.cat([boxes(2, 0.6, 1), boxes(num_local, 0.2, 0.6)], 1).to(device), 2)
    views = ViewBatch(torch.empty(2 * batch, 0), None, geometry, None, 2, num_local)
    return student, teacher, views


def gradients(loss: Loss, inputs: tuple) -> tuple[Tensor, ...]:
    """The loss and its gradients with respect to the student's tokens."""
    student = inputs[0]
    leaves = [t for t in (student.global_tokens, student.local_tokens) if t is not None]
    value = loss(*inputs)
    return (value.detach(), *torch.autograd.grad(value, leaves))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--local", type=int, default=10, help="local crops per image")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many is taken")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--step-batch", type=int, default=4, help="images of the step; 0: no step")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    inputs = make_inputs(args.batch, args.local, args.device)
    direct = direct_losses()
    rows = {
        name: compare(
            name,
            partial(gradients, loss, inputs),
            partial(gradients, direct[name], inputs),
            args.device,
            args.repeats,
        )
        for name, loss in fast_losses().items()
    }
    print(f"SERE's losses, forward and backward: ViT-S, batch {args.batch}, 2+{args.local} crops")
    print_table(rows, "loss")
    results = {"batch": args.batch, "local_crops": args.local, "losses": rows}
    if args.step_batch:
        results["step"] = step_costs(args.step_batch, args.local, args.device, args.repeats)
        print_step_costs(results["step"])
    save_results("relation_loss", args.device, results)


if __name__ == "__main__":
    main()
