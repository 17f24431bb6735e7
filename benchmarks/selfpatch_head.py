"""Time and memory of SelfPatch's head, forward and backward, against the direct form; ViT-S/16 with 2 + 8 crops.

    python benchmarks/selfpatch_head.py [--batch 4] [--local 8] [--device cpu] [--repeats 5]

The head is everything above the two backbones: aggregation, projection and both losses (SelfPatch, arXiv 2206.07990).
The direct form does what the official code does: one resolution after the other; neighbours from 8 gathered copies of
the map; one sequence of the query and its k neighbours for every patch, so that a patch's LayerNorm, key and value are
computed for each sequence that holds it; all image tokens onto all prototypes, and a softmax over them for all
crops; a log-softmax for each pair of views; all patch logits at once. Both forms have the same weights and tokens;
loss and gradients (tokens and every weight) must agree, otherwise the benchmark fails. Rows of the table:

- ``aggregation``: image tokens of both networks and the targets of the teacher's patches (``SelfPatchHead`` there);
- ``losses``: prototypes, both losses and the means for the centres, from given bottlenecks;
- ``head``: all of it, with the two MLPs of the projections, which are the same work in both forms.

Memory is the peak of what is allocated above inputs and weights. A table is printed and
``benchmarks/results/selfpatch_head_<device>.json`` is written. On one CPU thread, times are processor time.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from measure import compare, print_table, save_results
from torch import Tensor, nn

from mmrel.models.heads import DistillationHead, PatchDistillationHead
from mmrel.models.necks import NeighbourAggregation
from mmrel.models.necks.class_attention import Aggregator, ClassAttention
from mmrel.models.necks.neighbour_aggregation import _groups
from mmrel.models.outputs import AggregatedTokens, PatchLogits
from mmrel.ops.neighbours import neighbour_indices
from mmrel.ops.prototypes import mean_logits
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

WIDTH, HEADS, SIDES, NEIGHBOURS = 384, 6, (14, 6), 4
PROTOTYPES, PATCH_PROTOTYPES, BOTTLENECK = 65536, 4096, 256
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, LAMBDA = 0.1, 0.04, 0.1


@dataclass
class Inputs:
    """Tokens of both networks, by crop size, and the parts that read them."""

    student_tokens: list[Tensor]
    teacher_tokens: list[Tensor]
    student: NeighbourAggregation
    teacher: NeighbourAggregation
    head: DistillationHead
    patch_head: PatchDistillationHead
    views: ViewBatch

    def network_tokens(self, tokens: Sequence[Tensor]) -> NetworkTokens:
        """As a backbone without class token and final norm gives them."""
        groups = [
            TokenViews(None, t, t, (side, side)) for t, side in zip(tokens, SIDES, strict=True)
        ]
        return NetworkTokens(*groups)


def make_inputs(batch: int, num_local: int, device: str) -> Inputs:
    """Random tokens that resemble their neighbours, and initialised networks, from a fixed seed."""
    torch.manual_seed(0)

    def tokens() -> list[Tensor]:
        crops = zip((2 * batch, num_local * batch), SIDES, strict=True)
        maps = [torch.randn(n, WIDTH, side, side) for n, side in crops]
        smooth = [m + 2 * F.avg_pool2d(m, 3, stride=1, padding=1) for m in maps]
        return [m.flatten(2).transpose(1, 2).contiguous().to(device) for m in smooth]

    logging.disable()
    student = NeighbourAggregation(WIDTH, HEADS, k=NEIGHBOURS).to(device)
    student.init_weights()
    teacher = student.teacher_copy().requires_grad_(False)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(
                torch.randn_like(parameter), alpha=0.1 * float(parameter.std().nan_to_num(0))
            )
    heads = DistillationHead(PROTOTYPES), PatchDistillationHead(PATCH_PROTOTYPES)
    for head in heads:
        head.to(device).center.value.normal_(std=0.01)
    views = ViewBatch(torch.empty(2 * batch, 0), None, None, None, 2, num_local)
    own = [t.requires_grad_() for t in tokens()]
    return Inputs(own, tokens(), student, teacher, *heads, views)


def mmrel_head(inputs: Inputs) -> Tensor:
    """The whole head as mmrel computes it."""
    with torch.no_grad():
        teacher = inputs.teacher.teacher(inputs.network_tokens(inputs.teacher_tokens), inputs.views)
    student = inputs.student.student(inputs.network_tokens(inputs.student_tokens), inputs.views)
    return mmrel_losses_of(inputs, student, teacher)


def mmrel_losses_of(inputs: Inputs, student: AggregatedTokens, teacher: AggregatedTokens) -> Tensor:
    """Both losses of projected tokens."""
    cls = inputs.head(student, teacher, inputs.views)["loss_cls"]
    patch = inputs.patch_head(student, teacher, inputs.views)["loss_patch"]
    for head in (inputs.head, inputs.patch_head):
        head.center._pending.clear()
    return cls + LAMBDA * patch


def direct_neighbours(tokens: Tensor, side: int) -> Tensor:
    """The k most similar neighbours' tokens ``(b*N, k, C)``."""
    table = neighbour_indices(side, side).to(tokens.device)
    unit = F.normalize(tokens, dim=-1)
    similarities = (unit[:, table] @ unit[..., None]).squeeze(-1)
    slots = similarities.topk(NEIGHBOURS, dim=-1).indices.flatten(0, 1)
    candidates = tokens[:, table].flatten(0, 1)
    return candidates.gather(1, slots[..., None].expand(-1, -1, WIDTH))


def direct_attention(attn: ClassAttention, u: Tensor) -> Tensor:
    """Attention of the first of the tokens ``(b, 1+M, C)`` over all of them."""

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(2, (HEADS, -1)).transpose(1, 2)

    q, k, v = heads(attn.q(u[:, :1])), heads(attn.k(u)), heads(attn.v(u))
    attention = (q * attn.scale @ k.transpose(2, 3)).softmax(dim=-1)
    return attn.proj((attention @ v).transpose(1, 2).flatten(2))


def direct_aggregation(aggregator: Aggregator, sequences: Tensor) -> Tensor:
    """The query ``(b, 1, C)`` after both blocks on ``(b, M, C)``."""
    query = aggregator.cls_token.expand(len(sequences), -1, -1)
    for block in aggregator.blocks:
        u = block.norm1(torch.cat([query, sequences], dim=1))
        query = query + direct_attention(block.attn, u)
        query = query + block.mlp(block.norm2(query))
    return query


def direct_tokens(neck: NeighbourAggregation, tokens: Tensor, side: int, local: bool) -> Tensor:
    """Image token and patch tokens ``(b, 1+N, C)`` of one resolution, normed."""
    image = direct_aggregation(neck.aggregator, tokens)
    if local:
        patches = direct_aggregation(neck.aggregator, direct_neighbours(tokens, side))
        tokens = patches.view(len(tokens), -1, WIDTH)
    return neck.aggregator.norm(torch.cat([image, tokens], dim=1))


def direct_projection(
    neck: NeighbourAggregation, groups: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Image logits of all crops and patch logits by resolution."""
    image = torch.cat([neck.cls_projector(group[:, 0]) for group in groups])
    return image, [neck.patch_projector(group[:, 1:]) for group in groups]


def direct_groups(inputs: Inputs) -> tuple[list[Tensor], list[Tensor]]:
    """Normed tokens of the student and of the teacher, by resolution."""
    with torch.no_grad():
        teacher = [
            direct_tokens(inputs.teacher, tokens, side, local=True)
            for tokens, side in zip(inputs.teacher_tokens, SIDES, strict=True)
        ]
    student = [
        direct_tokens(inputs.student, tokens, side, local=False)
        for tokens, side in zip(inputs.student_tokens, SIDES, strict=True)
    ]
    return student, teacher


def direct_cls_loss(
    student: Tensor, teacher: Tensor, head: DistillationHead, views: ViewBatch
) -> Tensor:
    """The mean over pairs of different views."""
    num_views = views.num_global + views.num_local
    students = student.chunk(num_views)
    with torch.no_grad():
        targets = ((teacher - head.center.value) / TEACHER_TEMPERATURE).softmax(-1).chunk(num_views)
        teacher.mean(dim=0, keepdim=True)
    terms = [
        -(targets[q] * (students[v] / STUDENT_TEMPERATURE).log_softmax(-1)).sum(-1).mean()
        for q in range(views.num_global)
        for v in range(num_views)
        if v != q
    ]
    return torch.stack(terms).mean()


def direct_patch_loss(
    student: list[Tensor], teacher: list[Tensor], head: PatchDistillationHead, views: ViewBatch
) -> Tensor:
    """The mean over views of the mean over their patches."""
    terms = []
    with torch.no_grad():
        torch.cat([t.flatten(0, 1) for t in teacher]).mean(dim=0, keepdim=True)
        targets = [((t - head.center.value) / TEACHER_TEMPERATURE).softmax(-1) for t in teacher]
    for s, q, count in zip(student, targets, (views.num_global, views.num_local), strict=True):
        scaled = (s / STUDENT_TEMPERATURE).chunk(count)
        for view, target in zip(scaled, q.chunk(count), strict=True):
            terms.append(-(target * view.log_softmax(-1)).sum(-1).mean())
    return torch.stack(terms).mean()


def direct_losses_of(
    inputs: Inputs,
    student: tuple[Tensor, list[Tensor]],
    teacher: tuple[Tensor, list[Tensor]],
) -> Tensor:
    """Both losses of logits."""
    cls = direct_cls_loss(student[0], teacher[0], inputs.head, inputs.views)
    return cls + LAMBDA * direct_patch_loss(student[1], teacher[1], inputs.patch_head, inputs.views)


def direct_head(inputs: Inputs) -> Tensor:
    """The whole head in the direct form."""
    student, teacher = direct_groups(inputs)
    with torch.no_grad():
        targets = direct_projection(inputs.teacher, teacher)
    return direct_losses_of(inputs, direct_projection(inputs.student, student), targets)


def summary(image: Tensor, targets: Tensor) -> Tensor:
    """A number that depends on everything an aggregation gives."""
    return (
        image * torch.linspace(-1, 1, WIDTH, device=image.device)
    ).sum() + targets.square().mean()


def mmrel_aggregation(inputs: Inputs) -> Tensor:
    """Aggregation alone, as mmrel computes it."""
    with torch.no_grad():
        groups = _groups(inputs.network_tokens(inputs.teacher_tokens))
        image = [inputs.teacher.image_token(group) for group in groups]
        flat = [inputs.teacher.neighbour_tokens(group).flatten(0, 1) for group in groups]
        targets = inputs.teacher.aggregator.norm(torch.cat(flat))
    groups = _groups(inputs.network_tokens(inputs.student_tokens))
    own = [inputs.student.image_token(group) for group in groups]
    return summary(torch.cat(own + image), targets)


def direct_aggregation_of(inputs: Inputs) -> Tensor:
    """Aggregation alone, in the direct form."""
    student, teacher = direct_groups(inputs)
    image = torch.cat([group[:, 0] for group in student + teacher])
    return summary(image, torch.cat([group[:, 1:].flatten(0, 1) for group in teacher]))


def bottlenecks(inputs: Inputs) -> list[Tensor]:
    """Unit vectors of the student's image tokens and patches, then of the teacher's."""
    crops = inputs.views.batch_size * (2 + inputs.views.num_local)
    patches = sum(t.shape[0] * t.shape[1] for t in inputs.student_tokens)
    generator = torch.Generator().manual_seed(1)
    made = [
        F.normalize(torch.randn(n, BOTTLENECK, generator=generator), dim=-1)
        for n in (crops, patches) * 2
    ]
    device = inputs.student_tokens[0].device
    return [m.to(device).requires_grad_(i < 2) for i, m in enumerate(made)]


def mmrel_losses(inputs: Inputs, vectors: list[Tensor]) -> Tensor:
    """Losses of given bottlenecks, as mmrel computes them."""
    counts = tuple(
        t.shape[1] for t in inputs.student_tokens for _ in range(len(t) // inputs.views.batch_size)
    )
    own, other = inputs.student, inputs.teacher
    student = AggregatedTokens(
        own.cls_projector.last_layer(vectors[0]),
        PatchLogits(vectors[1], own.patch_projector.last_layer.weight, counts),
    )
    with torch.no_grad():
        prototypes = other.cls_projector.last_layer.weight
        teacher = AggregatedTokens(
            vectors[2][: len(inputs.student_tokens[0])] @ prototypes.T,
            PatchLogits(vectors[3], other.patch_projector.last_layer.weight, counts),
            cls_mean=mean_logits(vectors[2], prototypes),
        )
    return mmrel_losses_of(inputs, student, teacher)


def direct_losses(inputs: Inputs, vectors: list[Tensor]) -> Tensor:
    """Losses of given bottlenecks, in the direct form."""
    shapes = [t.shape[:2] for t in inputs.student_tokens]

    def logits(
        neck: NeighbourAggregation, image: Tensor, flat: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        parts = flat.split([shape.numel() for shape in shapes])
        groups = [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]
        layer = neck.patch_projector.last_layer
        crops = image.split([len(group) for group in groups])
        return torch.cat([neck.cls_projector.last_layer(part) for part in crops]), [
            layer(group) for group in groups
        ]

    with torch.no_grad():
        targets = logits(inputs.teacher, *vectors[2:])
    return direct_losses_of(inputs, logits(inputs.student, *vectors[:2]), targets)


def gradients(loss: Callable[[], Tensor], leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The loss and its gradients."""
    value = loss()
    return (value.detach(), *torch.autograd.grad(value, leaves))


def trained(module: nn.Module) -> list[Tensor]:
    """Parameters that are trained, without the keys' biases, whose gradient is 0 in exact arithmetic."""
    named = module.named_parameters()
    return [p for name, p in named if p.requires_grad and not name.endswith("attn.k.bias")]


def rows(inputs: Inputs, device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The comparisons, by name."""
    vectors = bottlenecks(inputs)
    student = inputs.student
    layers = [student.cls_projector.last_layer, student.patch_projector.last_layer]
    cases = {
        "aggregation": (
            partial(mmrel_aggregation, inputs),
            partial(direct_aggregation_of, inputs),
            [*inputs.student_tokens, *trained(student.aggregator)],
        ),
        "losses": (
            partial(mmrel_losses, inputs, vectors),
            partial(direct_losses, inputs, vectors),
            [*vectors[:2], *(layer.weight_v for layer in layers)],
        ),
        "head": (
            partial(mmrel_head, inputs),
            partial(direct_head, inputs),
            [*inputs.student_tokens, *trained(student)],
        ),
    }
    return {
        name: compare(
            name,
            partial(gradients, fast, leaves),
            partial(gradients, direct, leaves),
            device,
            repeats,
        )
        for name, (fast, direct, leaves) in cases.items()
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--local", type=int, default=8, help="local crops per image")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many is taken")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    inputs = make_inputs(args.batch, args.local, args.device)
    table = rows(inputs, args.device, args.repeats)
    print(
        f"SelfPatch's head, forward and backward: ViT-S, batch {args.batch}, 2+{args.local} crops"
    )
    print_table(table, "part")
    results = {"batch": args.batch, "local_crops": args.local, "parts": table}
    save_results("selfpatch_head", args.device, results)


if __name__ == "__main__":
    main()
