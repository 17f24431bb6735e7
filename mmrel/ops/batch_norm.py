"""Batch norm whose statistics come from several parts of a batch (Ioffe and Szegedy, arXiv 1502.03167).

Each part gives its own mean and variance; they are combined by the rule of Chan, Golub and LeVeque (1979), in which
all terms are positive. Adding up sums of squares instead would lose the variance of a channel whose mean is large.
No function here reads a number on the host, and none talks to other processes.

Statistics have the dtype of the arithmetic, float32 or better, whatever the input's is. An eager pass over a CUDA
tensor is one of torch's own kernels; everything else is plain operations, which a compiler fuses.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from mmrel.ops.precision import upcast

SMALL = 1e-12
"""Added to a variance by a kernel that wants an epsilon, and taken off again."""


class Statistics(NamedTuple):
    """Statistics of a whole batch.

    Attributes:
        mean: ``(C,)``.
        variance: ``(C,)``, the mean squared deviation.
        counts: ``(R,)``, values per channel in each part.
    """

    mean: Tensor
    variance: Tensor
    counts: Tensor


def local_moments(x: Tensor) -> Tensor:
    """Mean, variance and count of one part, to be sent to the others in one piece.

    Args:
        x: ``(n, C, ...)``; n may be 0.

    Returns:
        ``(2 C + 1,)``: C means, C mean squared deviations, the number of values per channel.
    """
    channels = x.shape[1]
    if not x.numel():
        return upcast(x.new_zeros(2 * channels + 1))
    if _has_kernels(x):
        # For an epsilon of 0 the kernel gives 0 as the inverse deviation of a constant channel.
        mean, inverse = torch.batch_norm_stats(_dense(x, x), SMALL)
        variance = (inverse**-2 - SMALL).clamp(min=0)
    else:
        variance, mean = torch.var_mean(upcast(x), _all_but_channels(x), correction=0)
    return torch.cat([mean, variance, mean.new_full((1,), x.numel() // channels)])


def combine_moments(parts: Tensor) -> Statistics:
    """Statistics of all parts together.

    Args:
        parts: ``(R, 2 C + 1)``, one row of :func:`local_moments` per part; at least one is not empty.
    """
    channels = parts.shape[1] // 2
    means, variances, counts = parts.split([channels, channels, 1], dim=1)
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return Statistics(mean, variance, counts[:, 0])


def unbiased_variance(statistics: Statistics) -> Tensor:
    """``(C,)``, the estimate for the population, which running statistics keep."""
    count = statistics.counts.sum()
    return statistics.variance * (count / (count - 1).clamp(min=1))


def normalize(
    x: Tensor, statistics: Statistics, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` in the dtype of ``x``."""
    if not x.numel():
        return torch.empty_like(x)
    mean, variance, _ = statistics
    scale, shift = (None if p is None else p.to(mean.dtype) for p in (weight, bias))
    return batch_norm(x, mean, variance, scale, shift, training=False, eps=eps)


def gradient_sums(grad: Tensor, x: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """What the gradient of the input needs of all parts: sums, to be added over the parts.

    Args:
        grad: gradient of :func:`normalize`'s result, like ``x``.
        x: ``(n, C, ...)``.
        mean: ``(C,)``, of the whole batch.
        inverse: ``(C,)``, ``(variance + eps) ** -0.5``.

    Returns:
        ``(2 C,)``: per channel the sum of ``grad``, then that of ``grad * (x - mean)``.
    """
    if _has_kernels(x) and _sums_in_float32(x):
        sums = torch.batch_norm_backward_reduce(
            _dense(grad, x), _dense(x, x), mean, inverse, None, True, False, False
        )
        return torch.cat(sums[:2])
    grad, axes = upcast(grad), _all_but_channels(x)
    centered = upcast(x) - _over_channels(mean, x)
    return torch.cat([grad.sum(axes), (grad * centered).sum(axes)])


def input_gradient(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    inverse: Tensor,
    statistics: Statistics,
    sums: Tensor,
) -> Tensor:
    """Gradient of ``x``.

    Args:
        grad: see :func:`gradient_sums`.
        x: see :func:`gradient_sums`.
        weight: ``(C,)``.
        inverse: see :func:`gradient_sums`.
        statistics: of the whole batch.
        sums: ``(2 C,)``, :func:`gradient_sums` added over all parts.
    """
    first, second = sums.chunk(2)
    mean, _, counts = statistics
    if _has_kernels(x):
        whole = counts.to(torch.int32)
        scale = None if weight is None else weight.to(mean.dtype)
        return torch.batch_norm_backward_elemt(
            _dense(grad, x), _dense(x, x), mean, inverse, scale, first, second, whole
        )
    count = counts.sum()
    scale = inverse if weight is None else inverse * weight
    slope = _over_channels(inverse.square() * second / count, x)
    centered = upcast(x) - _over_channels(mean, x)
    result = upcast(grad) - _over_channels(first / count, x) - centered * slope
    return (result * _over_channels(scale, x)).to(x.dtype)


def _has_kernels(x: Tensor) -> bool:
    return x.is_cuda and x.numel() > 0 and not torch.compiler.is_compiling()


def _sums_in_float32(x: Tensor) -> bool:
    """Whether torch's kernel does; for contiguous maps it rounds partial sums of the gradient to the maps' dtype."""
    return x.dtype.itemsize >= 4 or x.ndim == 2 or _channels_last(x)


def _channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _dense(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor with channels last if ``like`` has them so, otherwise contiguous; kernels take nothing else."""
    form = torch.channels_last if _channels_last(like) else torch.contiguous_format
    return tensor.contiguous(memory_format=form)


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _over_channels(values: Tensor, x: Tensor) -> Tensor:
    """``(C,)`` in a shape that broadcasts over ``x``."""
    return values.view(-1, *[1] * (x.ndim - 2))
