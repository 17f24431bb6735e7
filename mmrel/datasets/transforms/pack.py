"""The last step of the loader: arrays become tensors that torch's ``default_collate`` stacks."""

from typing import Any

import torch
from mmcv.transforms import BaseTransform

from mmrel.datasets.transforms.block_mask import patch_grid
from mmrel.registry import TRANSFORMS

DRAWN = (
    *("color", "masks"),
    *("corruption", "corruption_source", "corruption_origin"),
    *("patch_size", "patch_window", "patch_offsets", "patch_colors", "patch_noise", "noise_seed"),
    *("mega_cuts", "patch_order"),
)
"""Arrays that a pipeline may draw for the device."""


@TRANSFORMS.register_module()
class PackViews(BaseTransform):
    """Keep what :class:`mmrel.ViewPreprocessor` reads, as tensors.

    Returns a dict: ``inputs``, a list of V + L uint8 ``(3, size, size)``; ``geometry``, float32
    ``(V+L, 5)``; ``num_global``; ``sample_index``, the position of the file that was used; and, if
    drawn, ``color`` float32 ``(V+L, 8)``, ``masks`` bool ``(V, N)`` and what ``mmrel.DrawCorruption`` and the
    transforms of patches (``mmrel.DrawPatchAugmentation``, ...) add.

    Args:
        patch_size: if given, every crop must be a whole number of patches of that side; a mistake
            is then found in the loader.
    """

    def __init__(self, patch_size: int | None = None) -> None:
        self.patch_size = patch_size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one sample."""
        if self.patch_size is not None:
            for view in results["views"]:
                patch_grid(view.shape[-2], view.shape[-1], self.patch_size)
        packed: dict[str, Any] = {
            "inputs": [torch.from_numpy(view) for view in results["views"]],
            "geometry": torch.from_numpy(results["geometry"]),
            "num_global": results["num_global"],
            "sample_index": results.get("sample_idx", results["key"].index),
        }
        for name in DRAWN:
            if name in results:
                packed[name] = torch.from_numpy(results[name])
        return packed

    def __repr__(self) -> str:
        return f"{type(self).__name__}(patch_size={self.patch_size})"
