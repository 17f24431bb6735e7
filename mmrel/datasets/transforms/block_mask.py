"""iBOT's masks of the global views, drawn in the loader, where the host time is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.ops.masking import DEFAULT_ASPECT, block_mask, check_ratios, random_mask, sample_ratio
from mmrel.registry import TRANSFORMS

SHAPES = ("block", "rand")


def patch_grid(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Rows and columns of patches of a crop.

    Raises:
        ValueError: if the crop is not a whole number of patches.
    """
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(
            f"a crop of {height} x {width} pixels is not a whole number of patches of "
            f"{patch_size}; change global_size or local_size of mmrel.MultiCrop, or patch_size, so "
            "that it divides them"
        )
    return height // patch_size, width // patch_size


@TRANSFORMS.register_module()
class BlockMask(BaseTransform):
    """Draw one mask per global view (iBOT, arXiv 2111.07832).

    ``ratios`` and ``spreads`` are ``pred_ratio`` and ``pred_ratio_var`` of iBOT's code.

    Adds ``masks``: bool ``(V, N)``, row-major, true where the student's patch is hidden.

    Args:
        patch_size: in pixels; it must divide the global crops' side.
        ratios: centres of the mask ratio; one is chosen with equal chances.
        spreads: half widths, one per ratio.
        shape: ``'block'`` or ``'rand'``.
        aspect: range of a block's height / width.
        start_epoch: before this epoch (from 0) nothing is hidden.
    """

    def __init__(
        self,
        patch_size: int = 16,
        ratios: Sequence[float] = (0.0, 0.3),
        spreads: Sequence[float] = (0.0, 0.2),
        shape: str = "block",
        aspect: tuple[float, float] = DEFAULT_ASPECT,
        start_epoch: int = 0,
    ) -> None:
        check_ratios(ratios, spreads)
        if shape not in SHAPES:
            raise ValueError(f"mask shape is {shape!r}; choose one of {SHAPES}")
        self.patch_size = patch_size
        self.ratios = tuple(ratios)
        self.spreads = tuple(spreads)
        self.shape = shape
        self.aspect = aspect
        self.start_epoch = start_epoch

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``masks``."""
        key, views = results["key"], results["views"][: results["num_global"]]
        rng = sample_generator(key, Purpose.MASKS)
        active = key.epoch >= self.start_epoch
        results["masks"] = np.stack([self._mask(view, rng, active).ravel() for view in views])
        return results

    def _mask(self, view: np.ndarray, rng: np.random.Generator, active: bool) -> np.ndarray:
        rows, cols = patch_grid(view.shape[-2], view.shape[-1], self.patch_size)
        ratio = sample_ratio(self.ratios, self.spreads, rng) if active else 0.0
        if self.shape == "rand":
            return random_mask(rows, cols, ratio, rng)
        return block_mask(rows, cols, ratio, rng, self.aspect)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(ratios={self.ratios}, spreads={self.spreads}, {self.shape!r})"
        )
