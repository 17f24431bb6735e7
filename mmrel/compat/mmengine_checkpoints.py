"""OpenMMLab's own MMEngine under torch 2.6 and newer: resuming from a checkpoint that it wrote.

Since 2.6 ``torch.load`` reads tensors and listed classes alone. MMEngine's checkpoints hold log buffers of NumPy arrays.
onedl's MMEngine lists these classes around each of its reads; OpenMMLab's 0.10.7 does not, and its ``--resume`` fails.
"""

from types import ModuleType
from typing import Any


def read_own_checkpoints(module: ModuleType) -> None:
    """Let MMEngine read what it wrote to a local file, if it does not see to it itself.

    Args:
        module (ModuleType): ``mmengine.runner.checkpoint``.
    """
    if hasattr(module, "get_torch_safe_globals"):
        return
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer

    from mmrel.compat.numpy_names import multiarray

    if not hasattr(torch.serialization, "safe_globals"):
        return
    arrays = [np.ndarray, np.dtype, multiarray()._reconstruct, multiarray().scalar]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.int64, np.uint32)]
    read_local = module.load_from_local

    def load_from_local(filename: str, map_location: Any) -> Any:
        with torch.serialization.safe_globals([HistoryBuffer, *arrays, *kinds]):
            return read_local(filename, map_location)

    module.CheckpointLoader.register_scheme(prefixes="", loader=load_from_local, force=True)
