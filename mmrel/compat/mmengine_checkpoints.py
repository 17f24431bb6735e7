"""OpenMMLab's own MMEngine under torch 2.6 and newer: reading a checkpoint that it wrote itself.

Since 2.6 ``torch.load`` reads tensors and listed classes alone. MMEngine's checkpoints hold log buffers besides.
onedl's MMEngine lists their classes around each of its reads; OpenMMLab's 0.10.7 does not, and its ``--resume`` fails.
"""

from pathlib import Path
from types import ModuleType
from typing import Any


def read_own_checkpoints(module: ModuleType) -> None:
    """Read local files with mmrel's reader, if MMEngine does not know how to read its own.

    The reader leaves tensors on the CPU; models and optimizers copy them to where they are.

    Args:
        module (ModuleType): ``mmengine.runner.checkpoint``.
    """
    import torch

    if hasattr(module, "get_torch_safe_globals") or not _weights_only(torch.__version__):
        return
    from mmrel.utils.checkpoint_file import read_checkpoint

    def load_from_local(filename: str, map_location: Any) -> Any:
        return read_checkpoint(Path(filename).expanduser())

    module.CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)


def _weights_only(torch_version: str) -> bool:
    """Whether this torch reads tensors alone unless told otherwise."""
    major, minor = torch_version.split(".")[:2]
    return (int(major), int(minor)) >= (2, 6)
