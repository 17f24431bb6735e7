"""Keep the prototypes still during the first epochs.

DINO's public code (arXiv 2104.14294): while ``epoch < epochs``, the gradients of every parameter whose name
contains ``last_layer`` are cancelled after clipping, so that neither weight decay nor Adam's moments move
it either.
"""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.engine.loops.resumable_epoch_loop import require_epochs
from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model


@HOOKS.register_module()
class LastLayerFreezeHook(Hook):
    """Sets the optimizer wrapper's ``frozen_parameters`` epoch by epoch.

    Args:
        epochs: the first epoch that trains the last layer, counted from 0 (``freeze_last_layer`` in the
            published code); 0 for a head without prototypes.
        pattern: part of the names of the parameters concerned.
    """

    def __init__(self, epochs: int, pattern: str = "last_layer") -> None:
        if epochs < 0:
            raise ValueError(
                f"epochs must be 0 or more, but is {epochs}; 0 trains the last layer from the start."
            )
        self.epochs = epochs
        self.pattern = pattern

    def before_train(self, runner: Runner) -> None:
        """Refuse a loop without epochs; say so if the last layer would never be trained."""
        if not self.epochs:
            return
        require_epochs(runner, "the freeze of the last layer")
        if self.epochs >= runner.max_epochs:
            runner.logger.warning(
                f"LastLayerFreezeHook.epochs is {self.epochs} and the run has {runner.max_epochs} epochs, so the last "
                "layer (the prototypes) keeps its random start to the end. Train longer, or lower "
                "default_hooks.last_layer_freeze.epochs."
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Freeze or release."""
        frozen = []
        if runner.epoch < self.epochs:
            frozen = [
                parameter
                for name, parameter in unwrap_model(runner).named_parameters()
                if self.pattern in name and parameter.requires_grad
            ]
            if not frozen:
                raise ValueError(
                    f"LastLayerFreezeHook finds no trained parameter whose name contains "
                    f"{self.pattern!r}; correct pattern, or set epochs=0 for a head without prototypes."
                )
        runner.optim_wrapper.frozen_parameters = frozen
