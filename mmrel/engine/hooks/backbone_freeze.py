"""Warm fresh necks and heads while the backbone rests.

Going on from released weights, necks and heads (projections, predictors, prototypes) often begin anew. Their first
gradients come from random weights, and would spoil the backbone before they teach it anything. So for the first epoch
the backbone's weights stay, to the last bit: no gradient, no weight decay, no optimizer state, in the teacher neither.
Its gradients are not computed at all, which leaves out more than half of the operations of these steps.

What goes on as in training: hidden patches and stochastic depth, so that necks learn from the tokens that they will get
afterwards. Batch norms of a backbone (no ViT has any) use their stored statistics and leave them as they are.
"""

from itertools import chain
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from mmrel.engine.loops.resumable_epoch_loop import require_epochs
from mmrel.engine.optimizers.selfsup_optim_wrapper import SelfSupOptimWrapper
from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Keeps the backbone still during the first epochs.

    It follows the epoch alone, so that a resumed run is in the same phase. A new value on resume holds at once.

    Args:
        epochs: the first epoch that trains the backbone, counted from 0; 0 trains it from the start.
    """

    def __init__(self, epochs: int = 1) -> None:
        if epochs < 0:
            raise ValueError(
                f"epochs must be 0 or more, but is {epochs}; 0 trains the backbone from the start."
            )
        self.epochs = epochs
        self._parameters: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        """Refuse models and loops that this cannot work with; say so if the backbone would never be trained.

        Raises:
            TypeError: a model of other packages, a loop without epochs, or DistributedDataParallel with another
                optimizer wrapper.
        """
        if not self.epochs:
            return
        model = unwrap_model(runner)
        if not hasattr(model, "backbone_frozen"):
            raise TypeError(
                f"FreezeBackboneHook is for mmrel's pretraining algorithms, but the model is a {type(model).__name__}; "
                "remove the hook, or freeze parts of the backbone with its frozen_stages."
            )
        require_epochs(runner, "the rest of the backbone")
        self._parameters = [p for p in model.backbone.parameters() if p.requires_grad]
        networks = [network.backbone for network in model.networks.values()]
        parts = chain.from_iterable(network.modules() for network in networks)
        self._norms = [part for part in parts if isinstance(part, _BatchNorm)]
        self._satisfy_reducer(runner)
        if self.epochs >= runner.max_epochs:
            runner.logger.warning(
                f"FreezeBackboneHook.epochs is {self.epochs} and the run has {runner.max_epochs} epochs, so the "
                "backbone keeps its weights to the end, and only necks and heads are trained. Train longer, or lower "
                "default_hooks.freeze_backbone.epochs."
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Freeze or release."""
        if not self.epochs:
            return
        model, resting = unwrap_model(runner), runner.epoch < self.epochs
        if resting != model.backbone_frozen:
            runner.logger.info(
                f"The backbone rests up to epoch {self.epochs}; necks and heads are trained."
                if resting
                else "The backbone is trained from now on."
            )
        model.backbone_frozen = resting
        if isinstance(runner.optim_wrapper, SelfSupOptimWrapper):
            runner.optim_wrapper.idle_parameters = self._parameters if resting else []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Batch norms leave their statistics alone; the loop sets training mode after :meth:`before_train_epoch`."""
        if self._norms and unwrap_model(runner).backbone_frozen:
            for norm in self._norms:
                norm.eval()

    def after_train(self, runner: Runner) -> None:
        """Leave nothing frozen behind."""
        if self.epochs:
            unwrap_model(runner).backbone_frozen = False

    def _satisfy_reducer(self, runner: Runner) -> None:
        """DistributedDataParallel waits for a gradient of every parameter: give it zeros, which are dropped later.

        ``find_unused_parameters`` would do too, at the price of a search through every later step's graph.
        """
        wrapper = runner.model
        if not is_model_wrapper(wrapper) or not isinstance(wrapper, DistributedDataParallel):
            return
        if not isinstance(runner.optim_wrapper, SelfSupOptimWrapper):
            raise TypeError(
                "FreezeBackboneHook under DistributedDataParallel needs optim_wrapper.type="
                f"'mmrel.SelfSupOptimWrapper', but it is {type(runner.optim_wrapper).__name__}; others would step with "
                "gradients of zero, and so decay the backbone's weights."
            )
        wrapper.register_forward_hook(self._reach_all)

    def _reach_all(self, wrapper: Any, inputs: Any, losses: Any) -> Any:
        if not wrapper.module.backbone_frozen or not isinstance(losses, dict):
            return losses
        name = next((key for key, value in losses.items() if _is_loss(key, value)), None)
        if name is None:
            return losses
        # One element of each: its gradient is a tensor of zeros all the same.
        reached = sum(parameter.flatten()[0] * 0 for parameter in self._parameters)
        return {**losses, name: losses[name] + reached}


def _is_loss(name: str, value: Any) -> bool:
    return "loss" in name and isinstance(value, Tensor) and value.requires_grad
