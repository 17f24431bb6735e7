"""SelfPatch as its formulas stand: one patch, one sequence of a query and its patches, one pair of views at a time."""

import torch
from reference.dino import cls_loss, cross_entropy
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

Parts = dict[str, Tensor]


def neighbour_table(rows: int, cols: int, wrap: bool = True) -> list[list[int]]:
    """Patches within one row and one column of each patch, in ascending order."""
    table = []
    for row in range(rows):
        for col in range(cols):
            found = set()
            for i in (row - 1, row, row + 1):
                for j in (col - 1, col, col + 1):
                    if wrap or (0 <= i < rows and 0 <= j < cols):
                        found.add(i % rows * cols + j % cols)
            table.append(sorted(found - {row * cols + col}))
    return table


def select_neighbours(tokens: Tensor, table: list[list[int]], k: int) -> list[list[int]]:
    """The k candidates of each patch with the highest cosine similarity, for ``(N, C)``."""
    selected = []
    for patch, candidates in enumerate(table):
        x, others = tokens[patch].detach(), tokens.detach()
        cosines = {
            other: float(x @ others[other] / (x.norm() * others[other].norm()))
            for other in candidates
        }
        selected.append(sorted(candidates, key=lambda other: -cosines[other])[:k])
    return selected


def linear(x: Tensor, parts: Parts, name: str) -> Tensor:
    """A linear layer."""
    return x @ parts[f"{name}.weight"].T + parts[f"{name}.bias"]


def norm(x: Tensor, parts: Parts, name: str) -> Tensor:
    """A LayerNorm."""
    return layer_norm(x, x.shape[-1:], parts[f"{name}.weight"], parts[f"{name}.bias"], 1e-6)


def attention(query: Tensor, patches: Tensor, parts: Parts, block: str, heads: int) -> Tensor:
    """Weights ``(heads, 1 + M)`` of a query ``(C,)`` over itself and its patches ``(M, C)``."""
    u = norm(torch.cat([query[None], patches]), parts, f"{block}.norm1")
    q = linear(u[0], parts, f"{block}.attn.q").unflatten(0, (heads, -1))
    k = linear(u, parts, f"{block}.attn.k").unflatten(1, (heads, -1))
    scores = [(q[h] * k[:, h]).sum(1) * q.shape[1] ** -0.5 for h in range(heads)]
    return torch.stack([score.softmax(0) for score in scores])


def class_attention_block(
    query: Tensor, patches: Tensor, parts: Parts, block: str, heads: int
) -> Tensor:
    """The query ``(C,)`` after a block."""
    weights = attention(query, patches, parts, block, heads)
    u = norm(torch.cat([query[None], patches]), parts, f"{block}.norm1")
    v = linear(u, parts, f"{block}.attn.v").unflatten(1, (heads, -1))
    mixed = torch.cat([weights[h] @ v[:, h] for h in range(heads)])
    query = query + linear(mixed, parts, f"{block}.attn.proj")
    hidden = gelu(linear(norm(query, parts, f"{block}.norm2"), parts, f"{block}.mlp.fc1"))
    return query + linear(hidden, parts, f"{block}.mlp.fc2")


def aggregate(patches: Tensor, parts: Parts, heads: int) -> Tensor:
    """The learned query after all blocks on ``(M, C)``, not normed; names as in the aggregator's state dict."""
    query = parts["cls_token"][0, 0]
    for i in range(sum(name.endswith("norm1.weight") for name in parts)):
        query = class_attention_block(query, patches, parts, f"blocks.{i}", heads)
    return query


def project(x: Tensor, parts: Parts, prefix: str) -> Tensor:
    """DINO's head on ``(..., C)``."""
    for i in (0, 2):
        x = gelu(linear(x, parts, f"{prefix}.mlp.{i}"))
    x = linear(x, parts, f"{prefix}.mlp.4")
    x = x / x.norm(dim=-1, keepdim=True)
    v = parts[f"{prefix}.last_layer.weight_v"]
    return x @ (parts[f"{prefix}.last_layer.weight_g"] * v / v.norm(dim=1, keepdim=True)).T


def network(
    crops: list[tuple[Tensor, tuple[int, int]]], parts: Parts, heads: int, k: int | None
) -> tuple[Tensor, list[Tensor]]:
    """Image logits ``(n, K)`` and patch logits ``(N, K2)`` of single crops ``(N, C)``.

    Args:
        crops: raw tokens of each crop, and their grid.
        parts: the neck's state dict or parameters.
        heads: attention heads.
        k: neighbours that stand for a patch (teacher); ``None``: the patches themselves (student).
    """
    inner = {n.removeprefix("aggregator."): p for n, p in parts.items() if "aggregator" in n}
    image, patches = [], []
    for tokens, grid in crops:
        image.append(norm(aggregate(tokens, inner, heads), inner, "norm"))
        own = tokens
        if k is not None:
            chosen = select_neighbours(tokens, neighbour_table(*grid), k)
            own = torch.stack([aggregate(tokens[near], inner, heads) for near in chosen])
        patches.append(project(norm(own, inner, "norm"), parts, "patch_projector"))
    return project(torch.stack(image), parts, "cls_projector"), patches


def patch_loss(
    student: list[Tensor],
    teacher: list[Tensor],
    center: Tensor,
    batch: int,
    student_t: float,
    teacher_t: float,
) -> tuple[Tensor, int]:
    """Mean over views of the mean over images and patches, and the number of views; logits ``(N, K2)`` per crop."""
    terms = []
    for view in range(len(student) // batch):
        losses = [
            cross_entropy(s, t, center, student_t, teacher_t)
            for crop in range(view * batch, (view + 1) * batch)
            for s, t in zip(student[crop], teacher[crop], strict=True)
        ]
        terms.append(sum(losses) / len(losses))
    return sum(terms) / len(terms), len(terms)


__all__ = [
    "aggregate",
    "attention",
    "cls_loss",
    "neighbour_table",
    "network",
    "patch_loss",
    "select_neighbours",
]
