"""Convolutions with the channels innermost, as their fast kernels want them."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Stores the weights of convolutions in PyTorch's ``channels_last`` format before training.

    A convolution then keeps its maps in that format too. Results change by rounding alone; checkpoints hold the same
    tensors. On a CPU, Mask R-CNN's transposed convolution is some three times as fast.
    """

    priority = "VERY_LOW"
    """After whatever loads the weights."""

    def before_train(self, runner: Runner) -> None:
        """Convert the model."""
        runner.model.to(memory_format=torch.channels_last)
