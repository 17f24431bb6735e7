"""Batch norm with the statistics of all processes, one all-reduce in each direction.

Numbers, arguments and state are those of ``torch.nn.SyncBatchNorm``. Different from it: the host never waits for the
device (torch's looks at the counts in every layer, to leave out processes whose batch is empty), it runs on the CPU
with gloo, and ``torch.compile`` traces it without a break.
"""

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from mmrel.ops.batch_norm import (
    Statistics,
    combine_moments,
    gradient_sums,
    input_gradient,
    local_moments,
    normalize,
    unbiased_variance,
)
from mmrel.registry import MODELS


# Not a child of torch's SyncBatchNorm, which DistributedDataParallel refuses on the CPU and MMEngine takes out of
# models that train on one device.
@MODELS.register_module(name="SyncBN")
class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over ``(n, C, ...)`` of all processes; n may differ between them, and be 0 in some.

    In evaluation, or with one process, it is torch's batch norm. The all-reduce is an operation of its own, in forward
    and in backward: all processes must call their layers in the same order.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics; ``None``: the mean of all batches.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics, for evaluation.
        process_group: the processes that share statistics; ``None``: all of them.
        **kwargs: ``device`` and ``dtype``.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, **kwargs)
        self.process_group = process_group

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(n, C, ...)``; the result has its shape and dtype."""
        if not self.training or num_processes(self.process_group) == 1:
            return super().forward(input)
        self._check_input_dim(input)
        with torch.no_grad():
            statistics = combine_moments(gather_rows(local_moments(input), self.process_group))
            self._track(statistics)
        return _Normalize.apply(
            input, self.weight, self.bias, *statistics, self.eps, self.process_group
        )

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"a batch norm of {self.num_features} channels got {tuple(input.shape)}; it wants "
                f"(n, {self.num_features}, ...)"
            )

    def _track(self, statistics: Statistics) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        newest: Any = self.momentum
        if newest is None:
            newest = self.num_batches_tracked.to(self.running_mean.dtype).reciprocal()
        self.running_mean.lerp_(statistics.mean.to(self.running_mean.dtype), newest)
        variance = unbiased_variance(statistics)
        self.running_var.lerp_(variance.to(self.running_var.dtype), newest)


def build_norm(config: dict[str, Any], channels: int) -> nn.Module:
    """A norm layer of mmcv's kinds; ``type='SyncBN'`` is :class:`SyncBatchNorm`, not torch's."""
    if config.get("type") == "SyncBN":
        config = {**config, "type": "mmrel.SyncBN"}
    return build_norm_layer(config, channels)[1]


def num_processes(group: Any = None) -> int:
    """Processes of a group; 1 without ``torch.distributed``."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size(group)


def gather_rows(row: Tensor, group: Any = None) -> Tensor:
    """The rows ``(K,)`` of all processes as one tensor ``(R, K)``, in the order of their ranks."""
    # Sums with zeros are exact, so that this all-reduce is a gather; unlike a gather, it has one name in all versions
    # of torch, and every backend and torch.compile know it.
    rank, size = distributed.get_rank(group), distributed.get_world_size(group)
    table = pad(row[None], (0, 0, rank, size - 1 - rank))
    distributed.all_reduce(table, group=group)
    return table


class _Normalize(Function):
    """Normalises with given statistics; the gradient knows that they came from the input of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        counts: Tensor,
        eps: float,
        group: Any,
    ) -> Tensor:
        statistics = Statistics(mean, variance, counts)
        ctx.save_for_backward(x, weight, *statistics)
        ctx.eps, ctx.group = eps, group
        return normalize(x, statistics, weight, bias, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *saved = ctx.saved_tensors
        statistics = Statistics(*saved)
        inverse = (statistics.variance + ctx.eps).rsqrt()
        sums = gradient_sums(grad, x, statistics.mean, inverse)
        # Weight and bias have the sums of this process alone, which whoever averages gradients adds up.
        first, second = sums.clone().chunk(2)
        by_weight = (second * inverse).to(weight.dtype) if ctx.needs_input_grad[1] else None
        by_bias = first.to(weight.dtype) if ctx.needs_input_grad[2] else None
        by_input = None
        if ctx.needs_input_grad[0]:
            distributed.all_reduce(sums, group=ctx.group)
            by_input = input_gradient(grad, x, weight, inverse, statistics, sums)
        return by_input, by_weight, by_bias, None, None, None, None, None
