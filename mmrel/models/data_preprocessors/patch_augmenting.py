"""RelViT's patch augmentation (arXiv 2206.00481), in batch and on the device, with the numbers that the loader drew."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmrel.models.data_preprocessors.augment import normalize
from mmrel.models.data_preprocessors.color_plan import ColorPlan
from mmrel.models.data_preprocessors.view_preprocessor import ViewPreprocessor, view_major
from mmrel.ops.patches import cut_windows, mega_patches, merge_patches, permute_patches
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch

JITTER_SPACES = ("normalized", "pixel")


@MODELS.register_module()
class PatchAugmentingPreprocessor(ViewPreprocessor):
    """:class:`ViewPreprocessor` that then works on every patch of the global crops by itself.

    What is done, and how, is what ``mmrel.DrawMegaPatches``, ``mmrel.DrawPatchAugmentation`` and
    ``mmrel.ShufflePatches`` have drawn; the order is theirs in this list. Patches are processed after
    normalisation, as in the public code.

    Args:
        jitter_space: values that the colour operations work on. ``'normalized'``: the normalised ones, as in
            the public code; its operations limit what they touch to [0, 1], so that a jittered patch keeps only the
            tones between the data set's mean and one standard deviation above it. ``'pixel'``: ordinary ones.
        **kwargs: as :class:`ViewPreprocessor`.
    """

    def __init__(self, jitter_space: str = "normalized", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if jitter_space not in JITTER_SPACES:
            raise ValueError(f"jitter_space is {jitter_space!r}; choose one of {JITTER_SPACES}")
        self.jitter_space = jitter_space

    def _views(self, data: dict[str, Any]) -> ViewBatch:
        views = super()._views(data)
        if "patch_size" not in data:
            return views
        size, images, order = int(data["patch_size"][0]), views.global_crops, None
        if "mega_cuts" in data:
            images = mega_patches(images, self.cast_data(view_major(data["mega_cuts"])), size)
        if "patch_offsets" in data:
            images = self.augment_patches(images, size, data)
        if "patch_order" in data:
            order = self.cast_data(view_major(data["patch_order"]))
            images = permute_patches(images, order, size)
        return replace(views, global_crops=images, patch_order=order)

    def augment_patches(self, images: Tensor, size: int, data: dict[str, Any]) -> Tensor:
        """Images ``(V*B, 3, H, W)`` with every patch cropped and coloured."""
        offsets = self.cast_data(view_major(data["patch_offsets"]))
        patches = cut_windows(images, offsets, size, int(data["patch_window"][0]))
        table = view_major(data["patch_colors"]).flatten(0, 1)
        patches = self._jitter(patches, ColorPlan.from_table(table, patches.device))
        if "patch_noise" in data:
            patches = self._replace_by_noise(patches, data)
        return merge_patches(patches.unflatten(0, (len(images), -1)), images.shape[-2] // size)

    def _jitter(self, patches: Tensor, plan: ColorPlan) -> Tensor:
        if self.jitter_space == "normalized":
            return plan.apply(patches, self.blur_kernel, bounded=False)
        pixels = (patches * self.std).add_(self.mean)
        return normalize(plan.apply(pixels, self.blur_kernel), self.mean, self.std)

    def _replace_by_noise(self, patches: Tensor, data: dict[str, Any]) -> Tensor:
        """The chosen patches become standard normal noise, a function of the crop's seed and the kind of device."""
        seeds = view_major(data["noise_seed"]).tolist()
        generator = torch.Generator(patches.device)
        shape = (len(patches) // len(seeds), *patches.shape[1:])
        noise = [
            torch.randn(shape, generator=generator.manual_seed(seed), device=patches.device)
            for seed in seeds
        ]
        chosen = self.cast_data(view_major(data["patch_noise"]).flatten())
        return torch.where(chosen.view(-1, 1, 1, 1), torch.cat(noise), patches)
