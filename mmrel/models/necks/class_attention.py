"""Class attention: one query that summarises a set of tokens (CaiT, arXiv 2103.17239; SelfPatch, arXiv 2206.07990).

The form is SelfPatch's: two blocks, no layer scale, one learned query, attention over the query itself and the set.
What differs from the official code, with equal numbers:

- Where one query looks at a whole crop, keys and values of its patches are never formed. ``<W_q q, W_k x>`` is ``<W_k^T
  W_q q, x>``, so that the key's matrix is applied to the query; and the values' matrix to the attended mean of x.
- Where every patch has a query of its own, which looks at a few patches, LayerNorm, keys and values are
  computed once per patch and gathered. The official code copies each patch into every sequence that holds it, and
  computes them for every copy. In the first block all queries are the same: there scores are gathered, not keys.
- Under bfloat16 autocast LayerNorm of the tokens is that of the backbone's blocks, see :mod:`mmrel.ops.recompute`.
"""

from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional

from mmrel.ops.pieces import pieces
from mmrel.ops.recompute import layer_norm

EPS = 1e-6


class ClassAttention(nn.Module):
    """Multi-head attention of single queries, each over itself and its own set of tokens.

    Args:
        channels: C.
        num_heads: groups of C / heads channels.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(
                f"num_heads is {num_heads}, which does not divide the width {channels}; give the backbone's number"
            )
        self.num_heads = num_heads
        self.scale = (channels // num_heads) ** -0.5
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)

    def over_all(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Each query over all tokens of its crop.

        Args:
            query: ``(n, C)``.
            tokens: ``(n, M, C)``.

        Returns:
            ``(n, C)``.
        """
        q = self._heads(self.q(query)) * self.scale
        keyed = torch.einsum("nhd,hdc->nhc", q, self._heads(self.k.weight, dim=0))
        # The query attends to itself too. It is no row of the tokens, so its score and its value
        # are added by hand rather than by a concatenation, which would copy all tokens.
        own = keyed @ query[:, :, None]
        scores = torch.cat([own, keyed @ tokens.transpose(1, 2)], dim=2)
        # <q, W_k x + b_k>: the bias of the keys adds the same number to all scores of a head, so
        # softmax does not see it. It stays for the parameter's gradient (0), which DDP waits for.
        scores = scores + (q * self._heads(self.k.bias)).sum(dim=2, keepdim=True)
        attention = scores.softmax(dim=2)
        mean = attention[:, :, :1] * query[:, None] + attention[:, :, 1:] @ tokens
        values = torch.einsum("nhc,hdc->nhd", mean, self._heads(self.v.weight, dim=0))
        # The weights of a head sum to 1, hence the bias of the values comes through whole.
        return self.proj(values.flatten(1) + self.v.bias)

    def over_selected(self, query: Tensor, tokens: Tensor, indices: Tensor) -> Tensor:
        """Each query over the tokens that are selected for it.

        Args:
            query: ``(T, C)``, or ``(1, C)`` for the same query everywhere.
            tokens: ``(M, C)``.
            indices: long ``(T, k)``, rows of ``tokens``.

        Returns:
            ``(T, C)``.
        """
        q = self._heads(self.q(query)) * self.scale
        own_key, own_value = self._heads(self.k(query)), self._heads(self.v(query))
        values = self._heads(self.v(tokens)[indices])
        own = (q * own_key).sum(dim=-1)[:, None].expand(len(indices), -1, -1)
        scores = torch.cat([own, self._selected_scores(q, tokens, indices)], dim=1)
        # Under autocast softmax gives float32 and the values are in half precision; without this
        # the product would be promoted, with twice the memory of the largest tensor here.
        attention = scores.softmax(dim=1).to(values.dtype)[..., None]
        mean = attention[:, 0] * own_value + (attention[:, 1:] * values).sum(dim=1)
        return self.proj(mean.flatten(1))

    def _selected_scores(self, q: Tensor, tokens: Tensor, indices: Tensor) -> Tensor:
        """Queries ``(T, heads, d)``, or ``(1, heads, d)``, times keys of the selected tokens: ``(T, k, heads)``."""
        if len(q) > 1:
            return (q[:, None] * self._heads(self.k(tokens)[indices])).sum(dim=-1)
        keyed = torch.einsum("hd,hdc->hc", q[0], self._heads(self.k.weight, dim=0))
        bias = (q[0] * self._heads(self.k.bias)).sum(dim=-1)
        return functional.linear(tokens, keyed, bias)[indices]

    def _heads(self, x: Tensor, dim: int = -1) -> Tensor:
        return x.unflatten(dim, (self.num_heads, -1))


class Mlp(nn.Module):
    """Two linear layers with GELU, of four times the width.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., C)`` of ``(..., C)``."""
        return self.fc2(self.act(self.fc1(x)))


class ClassAttentionBlock(nn.Module):
    """A query learns from tokens, which stay as they are.

    ``q <- q + attn(norm1(q), norm1(x))``, then ``q <- q + mlp(norm2(q))``.

    Args:
        channels: C.
        num_heads: attention heads.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attn = ClassAttention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.mlp = Mlp(channels)

    def over_all(self, query: Tensor, tokens: Tensor) -> Tensor:
        """New queries ``(n, C)`` from queries ``(n, C)`` and all tokens ``(n, M, C)`` of their crops."""
        query = query + self.attn.over_all(self.norm1(query), layer_norm(tokens, self.norm1))
        return query + self.mlp(self.norm2(query))

    def over_selected(self, query: Tensor, tokens: Tensor, indices: Tensor) -> Tensor:
        """New queries ``(T, C)`` from queries ``(T, C)`` or one ``(1, C)``, and the rows ``(T, k)`` of ``(M, C)``."""
        normed = layer_norm(tokens, self.norm1)
        query = query + self.attn.over_selected(self.norm1(query), normed, indices)
        return query + self.mlp(self.norm2(query))


class Aggregator(BaseModule):
    """Blocks of class attention in sequence on the same tokens, with one learned query, and a final norm.

    Args:
        channels: C.
        num_heads: attention heads.
        depth: number of blocks.
        init_cfg: MMEngine's initialisation config; without one, linear layers have truncated normal weights of std
            0.02 and biases 0.
    """

    def __init__(
        self, channels: int, num_heads: int, depth: int = 2, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg or dict(type="TruncNormal", layer="Linear", std=0.02))
        if depth < 1:
            raise ValueError(
                f"depth is {depth}; the aggregation needs at least 1 block (2 is usual)"
            )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.blocks: Any = nn.ModuleList(
            ClassAttentionBlock(channels, num_heads) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def init_weights(self) -> None:
        """Truncated normal of std 0.02 for the query too."""
        super().init_weights()
        trunc_normal_(self.cls_token, std=0.02)

    def over_crops(self, tokens: Tensor) -> Tensor:
        """One vector ``(n, C)`` per crop, of all its tokens ``(n, M, C)``; not normed."""
        query = self.cls_token[0].expand(len(tokens), -1)
        for block in self.blocks:
            query = block.over_all(query, tokens)
        return query

    def over_neighbours(self, tokens: Tensor, indices: Tensor) -> Tensor:
        """One vector per patch, of the patches that are selected for it; not normed.

        Args:
            tokens: ``(n, N, C)``.
            indices: long ``(n, N, k)``, patches of the same crop.

        Returns:
            ``(n, N, C)``.
        """
        # What a crop's gathered keys or values take: k rows per patch, and the patch's own query.
        entries = tokens[0].numel() * (indices.shape[2] + 1)
        crops = pieces(len(tokens), entries, tokens.device)
        parts = [self._over_neighbours(tokens[i], indices[i]) for i in crops]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _over_neighbours(self, tokens: Tensor, indices: Tensor) -> Tensor:
        # Indices count within a crop; one table of all crops needs them counted through.
        first = torch.arange(len(tokens), device=tokens.device) * tokens.shape[1]
        rows = (indices + first[:, None, None]).flatten(0, 1)
        query = self.cls_token[0]
        for block in self.blocks:
            query = block.over_selected(query, tokens.flatten(0, 1), rows)
        return query.view_as(tokens)
