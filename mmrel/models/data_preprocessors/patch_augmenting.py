"""RelViT's patch augmentation (arXiv 2206.00481), in batch and on the device, with the numbers that the loader drew."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmrel.models.data_preprocessors.augment import normalize
from mmrel.models.data_preprocessors.view_preprocessor import ViewPreprocessor, view_major
from mmrel.ops.counter_noise import counter_normal
from mmrel.ops.patches import cut_windows, mega_patches, merge_patches, permute_patches
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch
from mmrel.utils.transfer import send_together

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
        sent = self._send(data, "mega_cuts", "patch_order")
        if "mega_cuts" in sent:
            images = mega_patches(images, sent["mega_cuts"], size)
        if "patch_offsets" in data:
            images = self.augment_patches(images, size, data)
        if "patch_order" in sent:
            order = sent["patch_order"]
            images = permute_patches(images, order, size)
        return replace(views, global_crops=images, patch_order=order)

    def augment_patches(self, images: Tensor, size: int, data: dict[str, Any]) -> Tensor:
        """Images ``(V*B, 3, H, W)`` with every patch cropped and coloured."""
        sent = self._send(data, "patch_offsets", "patch_colors", "patch_noise", "noise_seed")
        patches = cut_windows(images, sent["patch_offsets"], size, int(data["patch_window"][0]))
        table = view_major(data["patch_colors"]).flatten(0, 1)
        patches = self._jitter(patches, table, sent["patch_colors"].flatten(0, 1))
        if "patch_noise" in sent:
            noise = self._noise(patches, sent["noise_seed"])
            chosen = sent["patch_noise"].flatten().view(-1, 1, 1, 1)
            patches = torch.where(chosen, noise, patches)
        return merge_patches(patches.unflatten(0, (len(images), -1)), images.shape[-2] // size)

    def _send(self, data: dict[str, Any], *names: str) -> dict[str, Tensor]:
        """What was drawn under these names, if it was, view-major on the device."""
        host = {name: view_major(data[name]) for name in names if name in data}
        return dict(zip(host, send_together(list(host.values()), self.device), strict=True))

    def _jitter(self, patches: Tensor, host_table: Tensor, table: Tensor) -> Tensor:
        normalized = self.jitter_space == "normalized"
        if not normalized:
            patches = (patches * self.std).add_(self.mean)
        if self.colorize.fuses(patches):
            normalization = None if normalized else (self.mean, self.std)
            return self.colorize.fused(patches, host_table, table, normalization)
        if normalized:
            return self.colorize.stepwise(patches, host_table, bounded=False)
        return normalize(self.colorize.stepwise(patches, host_table), self.mean, self.std)

    def _noise(self, patches: Tensor, seeds: Tensor) -> Tensor:
        """Standard normal noise like the patches: each crop's is a function of its seed and the kind of device."""
        shape = (len(patches) // len(seeds), *patches.shape[1:])
        if patches.is_cuda:
            # A generator would have to be seeded anew for each crop, which is a launch each.
            return counter_normal(seeds, math.prod(shape)).view_as(patches)
        generator = torch.Generator(patches.device)
        return torch.cat(
            [
                torch.randn(shape, generator=generator.manual_seed(seed), device=patches.device)
                for seed in seeds.tolist()
            ]
        )
