"""FSDP2: parameters, gradients and optimizer moments shared out among the processes.

The gradients are those of DistributedDataParallel; each process holds one of n parts of every tensor and gathers a
block's parameters while that block computes (ZeRO, arXiv 1910.02054, stage 3). It is torch's ``fully_shard``, applied
to each block of student and teacher and then to the rest. The same processes share both networks in the same way, so
that the teacher's update adds parts to parts and sends nothing.

Different from MMEngine's ``FSDPStrategy``, which belongs to ``FlexibleRunner`` and wraps torch's older
``FullyShardedDataParallel``: that one flattens a block's parameters into one, so that clipping tensor by tensor, the
frozen last layer and checkpoints would need ways of their own. This wrapper serves MMEngine's ordinary
``Runner`` by ``model_wrapper_cfg``, as DDP does, with the same hooks and the same checkpoints.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size
from torch import Tensor, nn

from mmrel.engine.optimizers.selfsup_optim_wrapper import SelfSupOptimWrapper
from mmrel.registry import MODEL_WRAPPERS
from mmrel.utils.errors import UsageError
from mmrel.utils.sharding import root_gathered, shard_like


@MODEL_WRAPPERS.register_module()
class FullySharded(nn.Module):
    """A model whose parameters, gradients and moments are shared out among all processes.

    ``model_wrapper_cfg=dict(type='mmrel.FullySharded')``. The weights are initialised here, while they are whole, if
    they are not yet. Checkpoints have the layout of any other run, so that a run
    may go on with DDP or on one process, and the other way round. With gradient accumulation the parts of the
    gradients are summed up: each micro-batch sends its gradients, and no process ever holds all of them.

    Args:
        module: the model, whole, on its device.
        reshard_after_forward: give a block's gathered parameters back after the forward pass and gather them again
            for the backward pass; ``False`` keeps them, which saves a third of the communication and costs the memory
            of all parameters.
    """

    def __init__(self, module: nn.Module, reshard_after_forward: bool = True) -> None:
        super().__init__()
        shard = _fully_shard()
        blocks = list(blocks_of(module))
        if not blocks:
            raise UsageError(
                f"model_wrapper_cfg is mmrel.FullySharded, but the backbone of {type(module).__name__} has no list of "
                "blocks to share out one by one. Use MMDistributedDataParallel, or a backbone such as mmrel.ViT."
            )
        _initialize(module)
        mesh = _mesh(next(module.parameters()).device.type)
        for block in blocks:
            shard(block, mesh=mesh, reshard_after_forward=reshard_after_forward)
        shard(module, mesh=mesh, reshard_after_forward=False)
        # By default the module that is called first becomes the root; an evaluation before the first step calls the
        # backbone alone.
        shard.state(module)._lazy_init()  # type: ignore[attr-defined]
        # The memory that parameters are gathered in is made at the first gathering, and for good; made in an
        # evaluation, which runs in inference mode, it could not be trained with.
        for unit in (*blocks, module):
            unit.unshard()  # type: ignore[operator]
            unit.reshard()  # type: ignore[operator]
        module.register_load_state_dict_pre_hook(_share_out)
        self.module: Any = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """That of the model."""
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: SelfSupOptimWrapper) -> dict[str, Tensor]:
        """One micro-batch: preprocess, losses, backward and, at the end of an update, the step."""
        if not isinstance(optim_wrapper, SelfSupOptimWrapper):
            raise UsageError(
                f"model_wrapper_cfg is mmrel.FullySharded and optim_wrapper {type(optim_wrapper).__name__}, which "
                "clips and checks whole gradients. Set optim_wrapper.type=mmrel.SelfSupOptimWrapper, or use "
                "MMDistributedDataParallel."
            )
        with optim_wrapper.optim_context(self):
            batch = self.module.data_preprocessor(data, training=True)
            losses = self.module._run_forward(batch, mode="loss")
        total, logged = self.module.parse_losses(losses)
        optim_wrapper.update_params(total)
        return logged

    def val_step(self, data: Any) -> Any:
        """Predictions."""
        with root_gathered(self.module):
            return self.module.val_step(data)

    def test_step(self, data: Any) -> Any:
        """Predictions."""
        with root_gathered(self.module):
            return self.module.test_step(data)


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """The blocks of every backbone in a model: the entries of its lists of modules."""
    for module in model.modules():
        backbone = getattr(module, "backbone", None)
        for part in backbone.children() if isinstance(backbone, nn.Module) else ():
            if isinstance(part, nn.ModuleList):
                yield from part


def _initialize(module: Any) -> None:
    """Weights as in a run that is not sharded, the first process's on all of them."""
    if hasattr(module, "init_weights") and not module.is_init:
        module.init_weights()
    for tensor in chain(module.parameters(), module.buffers()):
        broadcast(tensor.data)


def _share_out(module: nn.Module, state_dict: dict[str, Tensor], *args: Any) -> None:
    """Before loading: this process's parts in the place of a checkpoint's whole tensors."""
    for name, own in module.state_dict().items():
        given = state_dict.get(name)
        if given is not None and given.shape == own.shape:
            state_dict[name] = shard_like(given, own)


def _mesh(device: str) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device, (get_world_size(),))


def _fully_shard() -> Callable[..., Any]:
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise UsageError(
            f"model_wrapper_cfg is mmrel.FullySharded, which needs torch 2.6 or newer (FSDP2), and this is torch "
            f"{torch.__version__}. Update torch, or use MMDistributedDataParallel."
        ) from error
    return fully_shard
