"""An epoch loop that continues in the middle of an epoch.

MMEngine's ``EpochBasedTrainLoop`` starts the epoch again after a resume, and the sampler keeps the seed
that the process was started with. Here both follow the checkpoint: the sampler passes over what the
epoch has already used, without decoding any of it.
"""

from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn

from mmrel.datasets.loader_watch import watched_batches
from mmrel.engine.loops.memory import explain_out_of_memory
from mmrel.engine.preemption import release_signals
from mmrel.registry import LOOPS
from mmrel.utils.errors import UsageError

VALIDATED = "validated_epoch"


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` whose resume is exact at any iteration.

    The sampler must have ``seed``, ``set_epoch`` and, to resume within an epoch, ``skip(num_samples)``:
    ``mmrel.KeyedSampler``. The validation of an epoch that was saved before it ended is made up for.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(self.dataloader) == 0:
            images, batch = len(self.dataloader.dataset), self.dataloader.batch_sampler.batch_size
            raise UsageError(
                f"The data set has {images} images, fewer than a batch of {batch} in each process, and drop_last=True "
                "leaves out the incomplete batch, so that nothing is left: set train_dataloader.drop_last=False, or a "
                "smaller train_dataloader.batch_size."
            )

    def run(self) -> nn.Module:
        """Train from where the checkpoint, if any, left off."""
        self._adopt_seed()
        self._check_epoch_length()
        try:
            self.runner.call_hook("before_loop")
            self.runner.call_hook("before_train")
            if self._iter and self._iter == self._epoch * len(self.dataloader):
                self._validate_if_due()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._decide_current_val_interval()
                self._validate_if_due()
            self.runner.call_hook("after_train")
        finally:
            release_signals()
        return self.runner.model

    def run_epoch(self) -> None:
        """One epoch, or what is left of it."""
        sampler = self._sampler()
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self._epoch)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        # A checkpoint of an epoch's last iteration: nothing is left, but the hooks of its end have
        # not run yet.
        if done < len(self.dataloader):
            if done:
                self._skip(sampler, done)
            with watched_batches(self.dataloader) as batches:
                for batch_idx, data_batch in enumerate(batches, start=done):
                    with explain_out_of_memory(f"iteration {self._iter}", self.runner, data_batch):
                        self.run_iter(batch_idx, data_batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _validate_if_due(self) -> None:
        """MMEngine's rule, once per epoch: what a checkpoint has noted is not repeated after a resume."""
        hub, loop = self.runner.message_hub, self.runner.val_loop
        if loop is None or self._epoch < self.val_begin:
            return
        if self._epoch % self.val_interval and self._epoch != self._max_epochs:
            return
        if hub.get_info(VALIDATED, 0) != self._epoch:
            hub.update_info(VALIDATED, self._epoch)
            loop.run()

    def _sampler(self) -> Any:
        """The sampler of indices, also behind a batch sampler."""
        batch_sampler = self.dataloader.batch_sampler
        return getattr(batch_sampler, "sampler", None) or self.dataloader.sampler

    def _skip(self, sampler: Any, iterations: int) -> None:
        if not hasattr(sampler, "skip"):
            raise TypeError(
                f"This run resumes {iterations} iterations into epoch {self._epoch + 1}, but the sampler "
                f"{type(sampler).__name__} cannot skip what was used; set train_dataloader.sampler.type="
                "'mmrel.KeyedSampler', or resume from a checkpoint that was saved at the end of an epoch."
            )
        sampler.skip(iterations * self.dataloader.batch_sampler.batch_size)

    def _adopt_seed(self) -> None:
        """Give the sampler rank 0's seed, the one that a checkpoint restores."""
        sampler = self._sampler()
        if hasattr(sampler, "seed"):
            # Every process draws a seed of its own if none is configured; the samplers must agree,
            # or ranks see images twice.
            seed = torch.tensor([self.runner.seed], dtype=torch.int64)
            broadcast(seed)
            sampler.seed = int(seed)

    def _check_epoch_length(self) -> None:
        """Refuse to resume with another number of iterations per epoch."""
        hub, length = self.runner.message_hub, len(self.dataloader)
        saved = hub.get_info("epoch_length", length) if self._iter else length
        done = self._iter - self._epoch * length
        if saved != length or not 0 <= done <= length:
            raise ValueError(
                f"The checkpoint comes from a run with {saved} iterations per epoch, but this one has "
                f"{length}, so its schedules and its position in the data do not fit; resume with the "
                "same data set, batch size and number of processes, or start a new run with load_from."
            )
        hub.update_info("epoch_length", length)


def require_epochs(runner: Runner, what: str) -> None:
    """Refuse a loop that never begins a second epoch, for something that changes from epoch to epoch.

    Args:
        runner: about to train.
        what: its name, for the message.
    """
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        raise TypeError(
            f"train_cfg is {type(runner.train_loop).__name__}, which counts the whole run as one epoch, so that {what} "
            "would keep its first value; set train_cfg=dict(type='mmrel.ResumableEpochLoop', max_epochs=...)."
        )
