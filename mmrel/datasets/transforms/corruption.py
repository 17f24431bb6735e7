"""Drawing SiT's corruption of every global view; it is carried out later, on the device."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.ops.corruption import (
    BLOCK,
    Material,
    check_blocks,
    draw_group,
    pack_mask,
    parse_materials,
    self_origin,
)
from mmrel.registry import TRANSFORMS
from mmrel.structures import SampleKey

Arrays = dict[str, NDArray[Any]]
NUMBER_BITS = 62


@TRANSFORMS.register_module()
class DrawCorruption(BaseTransform):
    """Draw which pixels of each global view are overwritten, and with what (SiT, arXiv 2104.03602).

    A view is either overwritten with ``material`` in about ``drop_area`` of its pixels or, with chance ``rho``,
    with another image's crop of the same view in about ``replace_area`` of them; never both.

    Adds ``corruption``: uint8 ``(V, H, ceil(W / 8))``, eight pixels in a byte; ``corruption_source``: int64
    ``(V, 2)``, the :class:`mmrel.ops.corruption.Material` and a random number that chooses the other image or seeds
    the noise; and, if ``'self'`` is among the materials, ``corruption_origin``: int32 ``(V, H, W)``, the flat
    position that each pixel is copied from.

    Args:
        material: ``'zeros'``, ``'noise'``, ``'self'`` or ``'other'``; of several joined by ``'-'`` one is chosen
            with equal chances.
        drop_area: largest share that is overwritten with ``material``; above 0.5, the share is drawn from U(0.5, it).
        replace_area: the same for another image's crop.
        align: blocks start and end at multiples of so many pixels: 1 anywhere, the patch size for whole patches.
        rho: chance that another image's crop takes the place of ``material``. The official code has 1/2 whatever
            the materials.
        block: bound of a block's sides as a share of the crop's.
    """

    def __init__(
        self,
        material: str = "zeros",
        drop_area: float = 0.5,
        replace_area: float = 0.3,
        align: int = 1,
        rho: float = 0.5,
        block: float = BLOCK,
    ) -> None:
        if not 0 <= rho <= 1:
            raise ValueError(f"rho is {rho}; it is a chance and must be between 0 and 1")
        self.materials = parse_materials(material)
        self.drop_area = drop_area
        self.replace_area = replace_area
        self.align = align
        self.rho = rho
        self.block = block

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``corruption``, ``corruption_source`` and perhaps ``corruption_origin``."""
        view = results["views"][0]
        results |= self.draw(results["key"], results["num_global"], view.shape[-2], view.shape[-1])
        return results

    def draw(self, key: SampleKey, num_global: int, height: int, width: int) -> Arrays:
        """What ``transform`` adds for this key.

        Raises:
            ValueError: crops too small for the blocks.
        """
        for area in (self.drop_area, self.replace_area):
            check_blocks(height, width, area, self.align, self.block)
        rng = sample_generator(key, Purpose.CORRUPTION)
        views = [self._draw_view(rng, height, width) for _ in range(num_global)]
        return {name: np.stack([view[name] for view in views]) for name in views[0]}

    def _draw_view(self, rng: np.random.Generator, height: int, width: int) -> Arrays:
        coin, choice = rng.random(2).tolist()
        replaced = coin < self.rho
        material = self.materials[int(choice * len(self.materials))]
        source = (
            Material.OTHER if replaced else material,
            int(rng.integers(1 << NUMBER_BITS)),
        )
        area = self.replace_area if replaced else self.drop_area
        mask, blocks = draw_group(height, width, area, self.align, rng, self.block)
        drawn: Arrays = {
            "corruption": pack_mask(mask),
            "corruption_source": np.array(source, dtype=np.int64),
        }
        if Material.SELF in self.materials:
            drawn["corruption_origin"] = self_origin(height, width, blocks, self.align, rng)
        return drawn

    def __repr__(self) -> str:
        names = "-".join(material.name.lower() for material in self.materials)
        return (
            f"{type(self).__name__}({names!r}, drop_area={self.drop_area}, "
            f"replace_area={self.replace_area}, align={self.align}, rho={self.rho})"
        )
