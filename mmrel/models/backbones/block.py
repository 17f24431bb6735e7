"""The transformer block of mmrel's ViTs: mmpretrain's parameters and numbers, computed in fewer passes over memory.

Where mmpretrain indexes queries, keys and values one by one, the backward pass writes three gradients of the full size,
mostly zeros, and adds them; split at once, their gradients are joined in one copy. Stochastic depth is part of the
residual addition (:mod:`mmrel.ops.residual`).
"""

from mmcv.cnn.bricks import DropPath
from mmcv.cnn.bricks.transformer import FFN
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from mmrel.ops.residual import add_branch, drop_path_divisors


class Attention(MultiheadAttention):
    """Multi-head self-attention.

    Args:
        host: attention of an mmpretrain ViT, whose modules and settings this one takes over.
    """

    def __init__(self, host: MultiheadAttention) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(vars(host))

    def forward(self, x: Tensor) -> Tensor:
        """Attend as a branch of its own, stochastic depth included.

        Args:
            x: normalised tokens ``(n, T, C)``.

        Returns:
            ``(n, T, C)``.
        """
        return self.out_drop(self.attend(self.qkv(x)))

    def attend(self, qkv: Tensor) -> Tensor:
        """From projected tokens ``(n, T, 3 C)`` to the branch ``(n, T, C)`` before stochastic depth."""
        heads = qkv.unflatten(-1, (3, self.num_heads, self.head_dims))
        query, key, value = (part.transpose(1, 2) for part in heads.unbind(2))
        dropout = self.attn_drop if self.training else 0.0
        mixed = self.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.gamma1(self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2))))


class Block(TransformerEncoderLayer):
    """Pre-norm transformer block.

    Args:
        host: block of an mmpretrain ViT, whose modules and settings this one takes over.
    """

    def __init__(self, host: TransformerEncoderLayer) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(vars(host))
        self.attn = Attention(host.attn)
        for module in self.modules():
            if isinstance(module, DropPath):
                # mmpretrain gives a numpy scalar, which torch.compile does not trace.
                module.drop_prob = float(module.drop_prob)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, T, C)`` after this block."""
        branch = self.attn.attend(self.attn.qkv(self.ln1(x)))
        x = add_branch(x, branch, self._divisor(x, self.attn.out_drop))
        if not isinstance(self.ffn, FFN):
            return self.ffn(self.ln2(x), identity=x)
        branch = self.ffn.gamma2(self.ffn.layers(self.ln2(x)))
        return add_branch(x, branch, self._divisor(x, self.ffn.dropout_layer))

    def _divisor(self, tokens: Tensor, drop: DropPath) -> Tensor | None:
        if not drop.training or drop.drop_prob == 0:
            return None
        return drop_path_divisors(tokens, drop.drop_prob, 1)[0]
