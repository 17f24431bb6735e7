"""Optimizer wrappers and their constructors."""

from mmrel.engine.optimizers.layer_decay import LayerDecayOptimWrapperConstructor
from mmrel.engine.optimizers.nonfinite import (
    NonFiniteError,
    NonFiniteGradientError,
    NonFiniteGuard,
    NonFiniteLossError,
    NonFiniteStateError,
)
from mmrel.engine.optimizers.selfsup_constructor import SelfSupOptimWrapperConstructor
from mmrel.engine.optimizers.selfsup_optim_wrapper import SelfSupOptimWrapper

__all__ = [
    "LayerDecayOptimWrapperConstructor",
    "NonFiniteError",
    "NonFiniteGradientError",
    "NonFiniteGuard",
    "NonFiniteLossError",
    "NonFiniteStateError",
    "SelfSupOptimWrapper",
    "SelfSupOptimWrapperConstructor",
]
