"""The runner of ``tools/train.py`` and ``tools/test.py``, and how a configuration becomes one."""

from typing import Any

from mmengine.model import revert_sync_batchnorm
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrel.launch.processes import prepare_cpu_distributed
from mmrel.utils.device import on_cpu
from mmrel.utils.worker_signals import shield_workers


class LaunchedRunner(Runner):
    """MMEngine's runner that also trains several CPU processes where a model has SyncBatchNorm."""

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Wrap the model for distributed training.

        torch's SyncBatchNorm refuses the CPU, so there each process normalises with its own batch.
        """
        synchronised = any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
        if self.distributed and on_cpu() and synchronised:
            self.logger.warning(
                "SyncBatchNorm needs a GPU: on the CPU each process normalises with its own batch."
            )
            model = revert_sync_batchnorm(model)
        return super().wrap_model(model_wrapper_cfg, model)

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """MMEngine's loader, whose workers leave signals to this process."""
        loader = Runner.build_dataloader(*args, **kwargs)
        shield_workers(loader)
        return loader

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict[str, Any] | None = None) -> None:
        """MMEngine's rule for the images of a whole update: it forgets those of accumulated micro-batches."""
        parts = getattr(optim_wrapper, "_accumulative_counts", 1)
        if auto_scale_lr and auto_scale_lr.get("enable", False) and parts > 1:
            base = auto_scale_lr["base_batch_size"] / parts
            self.logger.info(
                f"Each update has {parts} micro-batches (accumulative_counts), so the batch size that the learning "
                f"rate is for, {auto_scale_lr['base_batch_size']}, means {base:g} images per micro-batch."
            )
            auto_scale_lr = {**auto_scale_lr, "base_batch_size": base}
        super().scale_lr(optim_wrapper, auto_scale_lr)


def build_runner(config: Any) -> Any:
    """Build the runner; a distributed run without a GPU talks through gloo."""
    prepare_cpu_distributed(config)
    if "runner_type" in config:
        return RUNNERS.build(config)
    return LaunchedRunner.from_cfg(config)
