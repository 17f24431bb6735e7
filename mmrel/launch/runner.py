"""The runner of ``tools/train.py`` and ``tools/test.py``, and how a configuration becomes one."""

from collections.abc import Callable
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrel.engine.automatic import settle_length
from mmrel.engine.compilation import compile_model, explain_compile_error, options_for
from mmrel.engine.fully_sharded import FullySharded
from mmrel.engine.hooks import AtomicCheckpointHook
from mmrel.engine.loops.memory import explain_out_of_memory
from mmrel.launch.processes import planned_processes, prepare_cpu_distributed, shards
from mmrel.launch.quiet_start import log_file, quieten
from mmrel.models.widths import WidthError
from mmrel.utils import UsageError
from mmrel.utils.checkpoint_file import trusted
from mmrel.utils.device import on_cpu, unwrap_model
from mmrel.utils.worker_signals import shield_workers


class LaunchedRunner(Runner):
    """MMEngine's runner that also trains several CPU processes where a model has torch's SyncBatchNorm.

    A checkpoint that it cannot load, for whatever reason, is a :class:`~mmrel.utils.errors.UsageError`.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As MMEngine's; environment, configuration and hooks go to its file, and the console says which that is."""
        logger = super().build_logger(*args, **kwargs)
        quieten(logger)
        if file := log_file(logger):
            logger.info(f"Log, with environment, configuration and hooks: {file}")
        return logger

    def train(self) -> nn.Module:
        """As MMEngine's; where memory runs out or a compiled step fails, the error says what helps."""
        with explain_compile_error(), explain_out_of_memory("training", self):
            return super().train()

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> Any:
        """As MMEngine's, with the errors of one paragraph."""
        return _told(
            lambda: super(LaunchedRunner, self).load_checkpoint(filename, *args, **kwargs), filename
        )

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """As MMEngine's, with the errors of one paragraph; a checkpoint to be shared out stays on the CPU."""
        if isinstance(self.model, FullySharded):
            kwargs.setdefault("map_location", "cpu")
        _told(lambda: super(LaunchedRunner, self).resume(filename, *args, **kwargs), filename)

    def _init_model_weights(self) -> None:
        # A sharded model has initialised its parts while they were whole.
        if not isinstance(self.model, FullySharded):
            _told(super()._init_model_weights, "init_cfg")

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        """As MMEngine's; a sharded model needs the hook that gathers it before it is saved."""
        super().register_hooks(*args, **kwargs)
        others = [
            type(hook).__name__
            for hook in self.hooks
            if isinstance(hook, CheckpointHook) and not isinstance(hook, AtomicCheckpointHook)
        ]
        if isinstance(self.model, FullySharded) and others:
            raise UsageError(
                f"model_wrapper_cfg is mmrel.FullySharded and the checkpoints are written by {others[0]}, which would "
                "save what the first process holds alone. Set default_hooks.checkpoint.type=mmrel.AtomicCheckpointHook."
            )

    def _maybe_compile(self, target: str) -> None:
        """``compile`` of the configuration, in mmrel's meaning for mmrel's models.

        For others it has MMEngine's: ``train_step`` as a whole, and only where the configuration has the key.
        """
        parts = getattr(self.optim_wrapper, "_accumulative_counts", 1)
        options = options_for(unwrap_model(self), self.cfg.get("compile"), parts)
        if options is None:
            super()._maybe_compile(target)
        else:
            compile_model(unwrap_model(self), options, self.logger)

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """As MMEngine's; a mistake in ``compile`` or in the widths is told before the data is looked at."""
        try:
            built = super().build_model(model)
        except WidthError as error:
            raise UsageError(str(error)) from error
        options_for(built, self.cfg.get("compile"))
        return built

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Wrap the model for distributed training.

        torch's SyncBatchNorm (mmdet's and mmseg's parts) refuses the CPU, so there each process normalises with its
        own batch; mmrel's works on both.
        """
        if shards(model_wrapper_cfg) and not self.distributed:
            self.logger.warning(
                "model_wrapper_cfg is mmrel.FullySharded, but this is one process, which holds the whole model."
            )
        synchronised = any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
        if self.distributed and on_cpu() and synchronised:
            self.logger.warning(
                "torch's SyncBatchNorm needs a GPU: on the CPU each process normalises with its own batch."
            )
            model = revert_sync_batchnorm(model)
        if not shards(model_wrapper_cfg):
            return super().wrap_model(model_wrapper_cfg, model)
        return _told(
            lambda: super(LaunchedRunner, self).wrap_model(model_wrapper_cfg, model), "init_cfg"
        )

    def build_train_loop(self, loop: Any) -> Any:
        """As MMEngine's; refuses data that fill no batch, of which schedules in epochs would make a riddle."""
        built = super().build_train_loop(loop)
        check_batches(built.dataloader)
        return built

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


def check_batches(loader: DataLoader) -> None:
    """Refuse a loader of training that gives no batch.

    Raises:
        UsageError: with the number of images, the batch, and what to set.
    """
    if len(loader):
        return
    sampler: Any = loader.sampler
    count = len(sampler)
    each = " for each process" if get_world_size() > 1 else ""
    batch = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    raise UsageError(
        f"The training set has {count} images{each}, fewer than a batch of {batch}, and drop_last=True leaves out what "
        "fills no batch: there would be no step. Give a batch that they fill, --cfg-options "
        f"train_dataloader.batch_size={max(count, 1)}, or keep smaller ones with train_dataloader.drop_last=False; "
        "tools/pretrain.py chooses the batch by the folder."
    )


def build_runner(config: Any) -> Any:
    """Build the runner; a distributed run without a GPU talks through gloo.

    First the configuration gets the numbers that follow from the length of the run, where it says ``"auto"``.
    """
    prepare_cpu_distributed(config)
    dataset, lines, warnings = settle_length(
        config, planned_processes(config.get("launcher", "none"))
    )
    own = "runner_type" not in config
    runner = LaunchedRunner.from_cfg(config) if own else RUNNERS.build(config)
    if dataset is not None:
        # Its images are listed already, which takes a while for millions.
        runner._train_dataloader = {**runner._train_dataloader, "dataset": dataset}
        runner.logger.info("\n".join(lines))
    for text in warnings:
        runner.logger.warning(text)
    if trusted():
        runner.logger.warning(
            "--trust-checkpoint: the checkpoints of this run may execute code as they are loaded."
        )
    return runner


def _told(load: Callable[[], Any], source: str) -> Any:
    """Load, and tell whatever the content of a file provokes in one paragraph."""
    try:
        return load()
    except (UsageError, MemoryError):
        raise
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    except Exception as error:
        raise UsageError(
            f"{source} cannot be loaded ({type(error).__name__}: {str(error)[:300]}): it does not hold what this "
            "configuration saves. Give a checkpoint of the same configuration."
        ) from error
