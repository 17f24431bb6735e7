"""The transformer block of mmrel's ViTs: mmpretrain's parameters and numbers, in fewer passes over memory.

Where mmpretrain indexes queries, keys and values one by one, the backward pass writes three gradients of the full size,
mostly zeros, and adds them; split at once, their gradients are joined in one copy. Stochastic depth is part of the
residual addition (:mod:`mmrel.ops.residual`). What the backward pass needs is kept or computed again, as ``recompute``
says (:mod:`mmrel.ops.recompute`).
"""

import torch
from mmcv.cnn.bricks import DropPath
from mmcv.cnn.bricks.transformer import FFN
from mmcv.cnn.bricks.wrappers import Linear
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from mmrel.ops.half_attention import attend as half_attention
from mmrel.ops.half_attention import is_slow_backward
from mmrel.ops.recompute import layer_norm, norm_linear, norm_mlp
from mmrel.ops.residual import add_branch, drop_path_divisors

RECOMPUTE = ("none", "pointwise", "mlp", "block")
"""What is computed again in the backward pass, from nothing to everything but the block's input."""


class Attention(MultiheadAttention):
    """Multi-head self-attention; stochastic depth is left to the block.

    Args:
        host: attention of an mmpretrain ViT, whose modules and settings this one takes over.
    """

    def __init__(self, host: MultiheadAttention) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(vars(host))

    def forward(self, x: Tensor) -> Tensor:
        """The branch ``(n, T, C)`` of normalised tokens ``(n, T, C)``."""
        return self.attend(self.qkv(x))

    def attend(self, qkv: Tensor) -> Tensor:
        """The same from the joint projection ``(n, T, 3 C)`` on."""
        heads = qkv.unflatten(-1, (3, self.num_heads, self.head_dims))
        query, key, value = (part.transpose(1, 2) for part in heads.unbind(2))
        dropout = self.attn_drop if self.training else 0.0
        if is_slow_backward(query) and not dropout and self._is_plain():
            mixed = half_attention(query, key, value)
        else:
            mixed = self.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.gamma1(self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2))))

    def _is_plain(self) -> bool:
        return self.scaled_dot_product_attention is scaled_dot_product_attention


class FeedForward(FFN):
    """Two linear layers with GELU between; residual connection and stochastic depth are left to the block.

    Args:
        host: feed-forward network of an mmpretrain ViT, whose modules and settings this one takes over.
    """

    def __init__(self, host: FFN) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(vars(host))

    def forward(self, x: Tensor) -> Tensor:
        """The branch ``(n, T, C)`` of normalised tokens ``(n, T, C)``."""
        return self.gamma2(self.layers(x))


class Block(TransformerEncoderLayer):
    """Pre-norm transformer block.

    Args:
        host: block of an mmpretrain ViT, whose modules and settings this one takes over.
        recompute: one of :data:`RECOMPUTE`.
    """

    def __init__(self, host: TransformerEncoderLayer, recompute: str = "none") -> None:
        nn.Module.__init__(self)
        self.__dict__.update(vars(host))
        self.recompute = recompute
        self.attn = Attention(host.attn)
        if isinstance(host.ffn, FFN):
            self.ffn = FeedForward(host.ffn)
        for module in self.modules():
            if isinstance(module, DropPath):
                # mmpretrain gives a numpy scalar, which torch.compile does not trace.
                module.drop_prob = float(module.drop_prob)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, T, C)`` after this block."""
        recompute = self.recompute if torch.is_grad_enabled() else "none"
        dropout = self.training and self._has_dropout()
        # Dropout draws between the two branches; without it, stochastic depth is drawn ahead, for both at once.
        divisors = None if dropout else _draw(x, self._drops())
        if recompute != "block":
            return self._run(x, recompute, divisors)
        return checkpoint(
            self._run, x, "none", divisors, use_reentrant=False, preserve_rng_state=dropout
        )

    def _run(self, x: Tensor, recompute: str, divisors: tuple[Tensor | None, ...] | None) -> Tensor:
        x, branch = self._attention_branch(x, recompute)
        x = add_branch(x, branch, self._divisor(0, x, divisors))
        if not isinstance(self.ffn, FeedForward):
            return self.ffn(_norm(x, self.ln2), identity=x)
        x, branch = self._feed_forward_branch(x, recompute)
        return add_branch(x, branch, self._divisor(1, x, divisors))

    def _attention_branch(self, x: Tensor, recompute: str) -> tuple[Tensor, Tensor]:
        """The stream and the branch to add to it."""
        if recompute == "none" or not _are_plain(self.ln1, self.attn.qkv):
            return x, self.attn(_norm(x, self.ln1))
        x, qkv = norm_linear(x, self.ln1, self.attn.qkv, recompute == "pointwise")
        return x, self.attn.attend(qkv)

    def _feed_forward_branch(self, x: Tensor, recompute: str) -> tuple[Tensor, Tensor]:
        """The stream and the branch to add to it."""
        if recompute == "none" or not _are_plain(self.ln2, *_linear_layers(self.ffn)):
            return x, self.ffn(_norm(x, self.ln2))
        (first, gelu, dropout), second, last_dropout = self.ffn.layers
        if dropout.training and dropout.p:
            x, hidden = norm_linear(x, self.ln2, first)
            branch = second(dropout(gelu(hidden)))
        else:
            x, branch = norm_mlp(x, self.ln2, first, second, recompute == "pointwise")
        return x, self.ffn.gamma2(last_dropout(branch))

    def _has_dropout(self) -> bool:
        rates = [self.attn.attn_drop, self.attn.proj_drop.p]
        if isinstance(self.ffn, FeedForward):
            # A slice would build a new module, which torch.compile before 2.14 does not trace.
            *inner, _, last = self.ffn.layers
            rates += [part[-1].p for part in inner] + [last.p]
        return any(rates)

    def _drops(self) -> list[DropPath]:
        own = [self.attn.out_drop]
        return [*own, self.ffn.dropout_layer] if isinstance(self.ffn, FeedForward) else own

    def _divisor(
        self, index: int, x: Tensor, drawn: tuple[Tensor | None, ...] | None
    ) -> Tensor | None:
        return _draw(x, self._drops()[index : index + 1])[0] if drawn is None else drawn[index]


def check_recompute(recompute: str, block: TransformerEncoderLayer) -> None:
    """Raise ``ValueError`` for an unknown setting, or one that would do nothing for such a block of mmpretrain's."""
    if recompute not in RECOMPUTE:
        raise ValueError(
            f"recompute is {recompute!r}; allowed: {', '.join(RECOMPUTE)}. Change it in the backbone's config."
        )
    if recompute in ("none", "block"):
        return
    linear = _linear_layers(block.ffn)
    if len(linear) != 2 or not _are_plain(block.ln1, block.ln2, *linear):
        raise ValueError(
            f"recompute={recompute!r} is for blocks of two layer norms and two linear layers with GELU between, but "
            f"this backbone has {type(block.ln1).__name__} and {type(block.ffn).__name__}; set recompute='block', "
            "which is for any block, or 'none'"
        )


def _norm(tokens: Tensor, norm: nn.Module) -> Tensor:
    if isinstance(norm, nn.LayerNorm) and _are_plain(norm):
        return layer_norm(tokens, norm)
    return norm(tokens)


def _are_plain(*modules: nn.Module) -> bool:
    """Whether the modules compute nothing but what torch's classes do; an adapter such as LoRA's takes their place."""
    return all(
        type(module) in (nn.Linear, Linear)
        or (type(module) is nn.LayerNorm and module.bias is not None)
        for module in modules
    )


def _linear_layers(ffn: nn.Module) -> tuple[nn.Module, ...]:
    """The linear layers of a network of two with GELU between; none if it is another."""
    if not isinstance(ffn, FFN) or len(ffn.layers) != 3:
        return ()
    (first, act, _), second, _ = ffn.layers
    return (first, second) if type(act) is nn.GELU and act.approximate == "none" else ()


def _draw(tokens: Tensor, drops: list[DropPath]) -> tuple[Tensor | None, ...]:
    """Divisors of successive branches."""
    rates = [drop.drop_prob if drop.training else 0.0 for drop in drops]
    if rates[0] and rates[0] == rates[-1]:
        return drop_path_divisors(tokens, rates[0], len(rates))
    return tuple(drop_path_divisors(tokens, rate, 1)[0] if rate else None for rate in rates)
