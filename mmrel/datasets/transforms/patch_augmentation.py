"""Drawing RelViT's patch augmentation (arXiv 2206.00481); it is carried out later, on the device.

In the public code a sample's patches are cropped, coloured and put together one by one in the loader, which
takes some hundred times as long as decoding the image. Here the loader only draws numbers, for all patches at
once, and ``mmrel.PatchAugmentingPreprocessor`` does the work.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.transforms.block_mask import patch_grid
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.ops.color_table import JITTER_ORDERS, ColorColumn, neutral_table
from mmrel.ops.patches import draw_cuts, patch_window
from mmrel.registry import TRANSFORMS

DRAWS_PER_PATCH = 10
SEED_BITS = 62


class PatchTransform(BaseTransform):
    """What the transforms of this file share. Adds ``patch_size``, an array without axes.

    Args:
        patch_size: side of a patch in pixels; it must divide the global crops' sides.
    """

    def __init__(self, patch_size: int) -> None:
        self.patch_size = patch_size

    def grid(self, results: dict[str, Any]) -> tuple[int, int]:
        """Rows and columns of patches of the global crops, as the backbone will see them.

        Raises:
            ValueError: the patch size does not divide the crops' sides.
        """
        results["patch_size"] = np.array(self.patch_size)
        if "mega_cuts" in results:
            count = results["mega_cuts"].shape[-1] - 1
            return count, count
        view = results["views"][0]
        return patch_grid(view.shape[-2], view.shape[-1], self.patch_size)


@TRANSFORMS.register_module()
class DrawPatchAugmentation(PatchTransform):
    """Draw a crop window and colours for every patch of the global views, each independently.

    Adds, for V views and N patches, ``patch_offsets``: int64 ``(V, N, 2)``, the windows' distance from the upper
    and left border of their patches in pixels; ``patch_window``: their side, an array without axes;
    ``patch_colors``: float32 ``(V, N, 8)``, see :class:`mmrel.ops.color_table.ColorColumn`; and, if
    ``noise_prob > 0``, ``patch_noise``: bool ``(V, N)`` and ``noise_seed``: int64 ``(V,)``.

    Args:
        patch_size: see :class:`PatchTransform`.
        crop: ``'random'``, ``'center'`` or ``'none'``, see :func:`mmrel.ops.patches.patch_window`.
        jitter: strength of brightness, contrast, saturation and hue, as ``mmrel.DrawColorAugmentation``.
        jitter_prob: chance of the jitter (``colJitter`` of the public code, which has 0.8 whatever is asked for).
        grayscale_prob: chance of turning grey (``grayScale``, likewise 0.2).
        noise_prob: chance that a patch is replaced by standard normal noise (``randomNoise``, there 0.2).
    """

    def __init__(
        self,
        patch_size: int,
        crop: str = "random",
        jitter: Sequence[float] = (0.4, 0.4, 0.4, 0.1),
        jitter_prob: float = 0.8,
        grayscale_prob: float = 0.2,
        noise_prob: float = 0.0,
    ) -> None:
        super().__init__(patch_size)
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise ValueError(
                f"jitter is {tuple(jitter)}; give four strengths >= 0 (brightness, contrast, "
                "saturation, hue), the hue's at most 0.5"
            )
        chances = (jitter_prob, grayscale_prob, noise_prob)
        if min(chances) < 0 or max(chances) > 1:
            raise ValueError(
                f"jitter_prob, grayscale_prob and noise_prob are {chances}; give chances in [0, 1]"
            )
        self.window = patch_window(patch_size, crop)
        self.low = np.array([*(max(0.0, 1 - s) for s in jitter[:3]), -jitter[3]])
        self.high = np.array([*(1 + s for s in jitter[:3]), jitter[3]])
        self.jitter_prob, self.grayscale_prob, self.noise_prob = chances

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add what the class says."""
        views, (rows, cols) = results["num_global"], self.grid(results)
        rng = sample_generator(results["key"], Purpose.PATCHES)
        uniform = rng.random((views, rows * cols, DRAWS_PER_PATCH))
        offsets = self.window.first + (uniform[..., :2] * self.window.choices).astype(np.int64)
        results["patch_offsets"] = offsets
        results["patch_window"] = np.array(self.window.side)
        results["patch_colors"] = self._colors(uniform)
        if self.noise_prob:
            results["patch_noise"] = uniform[..., 9] < self.noise_prob
            results["noise_seed"] = rng.integers(1 << SEED_BITS, size=views)
        return results

    def _colors(self, uniform: NDArray[np.float64]) -> NDArray[np.float32]:
        """The table of colours ``(V, N, 8)`` from ten numbers in [0, 1) per patch, two of them used before."""
        views, patches = uniform.shape[:2]
        table = neutral_table(views * patches).reshape(views, patches, -1)
        drawn = self.low + (self.high - self.low) * uniform[..., 3:7]
        np.copyto(
            table[..., :4],
            drawn.astype(np.float32),
            where=uniform[..., 2:3] < self.jitter_prob,
        )
        table[..., ColorColumn.ORDER] = np.floor(uniform[..., 7] * len(JITTER_ORDERS))
        table[..., ColorColumn.GRAYSCALE] = uniform[..., 8] < self.grayscale_prob
        return table

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(patch_size={self.patch_size}, window={self.window}, "
            f"jitter_prob={self.jitter_prob}, grayscale_prob={self.grayscale_prob})"
        )


@TRANSFORMS.register_module()
class DrawMegaPatches(PatchTransform):
    """Draw where each global view is cut into m x m unequal rectangles, every one of which becomes a patch.

    Adds ``mega_cuts``: int64 ``(V, 2, m + 1)``, the lines between rows and between columns, in pixels. It must
    come before other transforms of patches.

    Args:
        patch_size: see :class:`PatchTransform`; rectangles are whole numbers of patches before they are resized.
        count: m, at most the patches per side of a crop.
        independent_cuts: cut columns elsewhere than rows. The public code draws both and then uses the rows' cuts
            for the columns too.
    """

    def __init__(self, patch_size: int, count: int = 5, independent_cuts: bool = False) -> None:
        super().__init__(patch_size)
        self.count = count
        self.independent_cuts = independent_cuts

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``mega_cuts``."""
        rows, cols = self.grid(results)
        if rows != cols:
            raise ValueError(
                f"mega-patches need square crops, but there are {rows} x {cols} patches; cut square crops"
            )
        rng = sample_generator(results["key"], Purpose.MEGA_PATCHES)
        cuts = np.stack([self._cuts(rows, rng) for _ in range(results["num_global"])])
        results["mega_cuts"] = cuts * self.patch_size
        return results

    def _cuts(self, cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
        rows, cols = (draw_cuts(self.count, cells, rng) for _ in range(2))
        return np.stack([rows, cols if self.independent_cuts else rows])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(patch_size={self.patch_size}, count={self.count}, "
            f"independent_cuts={self.independent_cuts})"
        )


@TRANSFORMS.register_module()
class ShufflePatches(PatchTransform):
    """Draw an order in which the patches of each global view are shown (``shuffle`` of the public code).

    Adds ``patch_order``: int64 ``(V, N)``: slot i shows patch ``patch_order[i]``. Without position embedding a
    ViT learns the same with and without it; a backbone that always knows positions would otherwise read them off.

    Args:
        patch_size: see :class:`PatchTransform`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``patch_order``."""
        rows, cols = self.grid(results)
        rng = sample_generator(results["key"], Purpose.PATCH_ORDER)
        orders = [rng.permutation(rows * cols) for _ in range(results["num_global"])]
        results["patch_order"] = np.stack(orders)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(patch_size={self.patch_size})"
