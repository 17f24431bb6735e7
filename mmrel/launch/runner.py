"""The runner of ``tools/train.py`` and ``tools/test.py``, and how a configuration becomes one."""

from typing import Any

from mmengine.model import revert_sync_batchnorm
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from mmrel.launch.processes import prepare_cpu_distributed
from mmrel.utils.device import on_cpu


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


def build_runner(config: Any) -> Any:
    """Build the runner; a distributed run without a GPU talks through gloo."""
    prepare_cpu_distributed(config)
    if "runner_type" in config:
        return RUNNERS.build(config)
    return LaunchedRunner.from_cfg(config)
