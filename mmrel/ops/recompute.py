"""A layer norm and the linear layers behind it, whose inputs are computed again in the backward pass.

Autograd keeps what each operation read: the normalised tokens for one matrix product, GELU's result, four times as
wide, for another. Both are cheap to compute again beside the products (selective recomputation: Korthikanti et al.,
MLSys 2023, arXiv 2205.05198). Kept here are the tokens as the norm reads them, two numbers per token and, if wanted,
the first product of a feed-forward network. The operations, forward and backward, are those that autograd runs, so that
values and gradients are equal bit for bit.

Under bfloat16 autocast torch computes layer norms in float32 and casts the result for the product. Here the norm reads
a bfloat16 copy of the residual stream and writes bfloat16, with statistics in float32 inside the kernel: the product
would round its input to the same precision anyway. The stream itself stays float32. Under float16 autocast, whose
range a scaled gradient may leave, the norm stays float32.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmrel.ops.precision import has_autocast, without_autocast


class Precision(NamedTuple):
    """In which precision a norm and the product behind it are computed."""

    norm: torch.dtype
    product: torch.dtype

    @classmethod
    def of(cls, tokens: Tensor) -> "Precision":
        """What autocast, if it is on, makes of these tokens."""
        device = tokens.device.type
        # Of a device without autocast, such as meta, torch refuses to say whether it is on.
        autocast = has_autocast(device) and torch.is_autocast_enabled(device)
        if tokens.dtype == torch.float64 or not autocast:
            return cls(tokens.dtype, tokens.dtype)
        product = torch.get_autocast_dtype(device)
        return cls(torch.bfloat16 if product == torch.bfloat16 else torch.float32, product)


def layer_norm(tokens: Tensor, norm: nn.LayerNorm) -> Tensor:
    """The norm as the module's text describes it; nothing is recomputed.

    Args:
        tokens: ``(..., C)``.
        norm: over C channels, with weight and bias.

    Returns:
        ``(..., C)``, in bfloat16 under bfloat16 autocast.
    """
    dtype = Precision.of(tokens).norm
    with without_autocast(tokens):
        scale, shift = norm.weight.to(dtype), norm.bias.to(dtype)
        return F.layer_norm(tokens.to(dtype), norm.normalized_shape, scale, shift, norm.eps)


def norm_linear(
    tokens: Tensor, norm: nn.LayerNorm, linear: nn.Linear, keep_normed: bool = False
) -> tuple[Tensor, Tensor]:
    """``linear(norm(tokens))``, keeping the tokens and, if wanted, the result of the norm.

    Args:
        tokens: the residual stream ``(n, T, C)``.
        norm: over C channels, with weight and bias.
        linear: from C to D channels.
        keep_normed: whether the normed tokens are kept, or computed again.

    Returns:
        The stream to add the branch to, which is ``tokens``, and the product ``(n, T, D)``. Taking the stream from here
        lets its two gradients meet in one pass.
    """
    return _NormLinear.apply(
        tokens, norm.weight, norm.bias, linear.weight, linear.bias, norm.eps, keep_normed
    )


def norm_mlp(
    tokens: Tensor, norm: nn.LayerNorm, first: nn.Linear, second: nn.Linear, keep_hidden: bool
) -> tuple[Tensor, Tensor]:
    """``second(gelu(first(norm(tokens))))``, keeping the tokens and, if wanted, the result of ``first``.

    Args:
        tokens: the residual stream ``(n, T, C)``.
        norm: over C channels, with weight and bias.
        first: from C to H channels.
        second: from H to D channels.
        keep_hidden: whether the first product is kept, ``n T H`` numbers, or computed again.

    Returns:
        The stream, see :func:`norm_linear`, and the result ``(n, T, D)``.
    """
    return _NormMLP.apply(
        tokens,
        norm.weight,
        norm.bias,
        first.weight,
        first.bias,
        second.weight,
        second.bias,
        norm.eps,
        keep_hidden,
    )


class _Norm(NamedTuple):
    """What the backward pass of a norm needs: the tokens as it read them, their statistics and its parameters."""

    tokens: Tensor
    mean: Tensor
    rstd: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def apply(
        cls, tokens: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, "_Norm"]:
        tokens, weight, bias = tokens.to(dtype), weight.to(dtype), bias.to(dtype)
        shape = weight.shape
        normed, mean, rstd = torch.native_layer_norm(tokens, shape, weight, bias, eps)
        return normed, cls(tokens, mean, rstd, weight, bias)

    def again(self, eps: float) -> Tensor:
        return torch.native_layer_norm(self.tokens, self.weight.shape, self.weight, self.bias, eps)[
            0
        ]

    def gradients(
        self, upstream: Tensor, stream: Tensor | None, wanted: list[bool]
    ) -> tuple[Tensor | None, ...]:
        """Of the stream, which ``stream`` has reached along the residual connection, weight and bias."""
        tokens, weight, bias = torch.ops.aten.native_layer_norm_backward(
            upstream.view_as(self.tokens).to(self.tokens.dtype),
            self.tokens,
            self.weight.shape,
            self.mean,
            self.rstd,
            self.weight,
            self.bias,
            wanted,
        )
        if tokens is None or stream is None:
            return tokens if stream is None else stream, weight, bias
        return stream + tokens, weight, bias


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        eps: float,
        keep_normed: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.eps, precision = eps, Precision.of(tokens)
        with without_autocast(tokens):
            normed, norm = _Norm.apply(tokens, scale, shift, eps, precision.norm)
            weight, normed = weight.to(precision.product), normed.to(precision.product)
            product = _linear(normed, weight, bias)
        ctx.save_for_backward(*norm, weight, normed if keep_normed else None)
        return tokens.view_as(tokens), product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, stream: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *parts, weight, normed = ctx.saved_tensors
        norm, wanted = _Norm(*parts), ctx.needs_input_grad
        with without_autocast(upstream):
            slope = upstream.reshape(-1, weight.shape[0])
            normed = norm.again(ctx.eps).to(weight.dtype) if normed is None else normed
            bias = _bias_gradient(slope, wanted[4])
            own = _weight_gradient(slope, normed, wanted[3]), bias
            return *norm.gradients(slope @ weight, stream, list(wanted[:3])), *own, None, None


class _NormMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight1: Tensor,
        bias1: Tensor | None,
        weight2: Tensor,
        bias2: Tensor | None,
        eps: float,
        keep_hidden: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.eps, precision = eps, Precision.of(tokens)
        with without_autocast(tokens):
            normed, norm = _Norm.apply(tokens, scale, shift, eps, precision.norm)
            weight1, weight2 = weight1.to(precision.product), weight2.to(precision.product)
            hidden = _linear(normed, weight1, bias1)
            product = _linear(F.gelu(hidden), weight2, bias2)
        kept = hidden if keep_hidden else None
        ctx.save_for_backward(*norm, weight1, bias1, weight2, kept)
        return tokens.view_as(tokens), product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, stream: Tensor | None, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *parts, weight1, bias1, weight2, hidden = ctx.saved_tensors
        norm, wanted = _Norm(*parts), ctx.needs_input_grad
        with without_autocast(upstream):
            # The sum stands beside what made its terms, for a compiler that reads them once for both.
            slope2 = upstream.reshape(-1, weight2.shape[0])
            bias2_slope = _bias_gradient(slope2, wanted[6])
            normed = norm.again(ctx.eps).to(weight1.dtype)
            hidden = _linear(normed, weight1, bias1) if hidden is None else hidden
            slope = slope2 @ weight2
            # Side by side, GELU and its gradient read the first product once in a compiler's kernel.
            active = F.gelu(hidden)
            slope = torch.ops.aten.gelu_backward(slope.view_as(hidden), hidden)
            slope = slope.view(-1, weight1.shape[0])
            bias1_slope = _bias_gradient(slope, wanted[4])
            weight1_slope = _weight_gradient(slope, normed, wanted[3])
            weight2_slope = _weight_gradient(slope2, active, wanted[5])
            del hidden, active
            own = norm.gradients(slope @ weight1, stream, list(wanted[:3]))
        return *own, weight1_slope, bias1_slope, weight2_slope, bias2_slope, None, None


def _linear(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(
        tokens.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)
    )


def _weight_gradient(upstream: Tensor, tokens: Tensor, wanted: bool) -> Tensor | None:
    """Of a linear layer's weight, from the gradient ``(n T, D)`` of its result."""
    return upstream.t() @ tokens.reshape(len(upstream), -1) if wanted else None


def _bias_gradient(upstream: Tensor, wanted: bool) -> Tensor | None:
    return upstream.sum(0) if wanted else None
