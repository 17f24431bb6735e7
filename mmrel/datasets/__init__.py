"""Data sets, samplers and transforms. The registries import the modules that register them on first use."""

from typing import TYPE_CHECKING

from mmrel.utils.lazy import lazy_attributes

if TYPE_CHECKING:
    from mmrel.datasets.image_folder import ImageFolder
    from mmrel.datasets.imagenet_s import ImageNetSDataset
    from mmrel.datasets.mask_list import MaskListDataset
    from mmrel.datasets.samplers import KeyedSampler
    from mmrel.datasets.transforms import (
        BlockMask,
        DecodeImage,
        DrawColorAugmentation,
        DrawCorruption,
        DrawMegaPatches,
        DrawPatchAugmentation,
        JitterChannels,
        LoadImageNetSAnnotations,
        MultiCrop,
        PackViews,
        PaddedCrop,
        RandomResizedCropWithLabels,
        ShufflePatches,
    )

__all__ = [
    "BlockMask",
    "DecodeImage",
    "DrawColorAugmentation",
    "DrawCorruption",
    "DrawMegaPatches",
    "DrawPatchAugmentation",
    "ImageFolder",
    "ImageNetSDataset",
    "JitterChannels",
    "KeyedSampler",
    "LoadImageNetSAnnotations",
    "MaskListDataset",
    "MultiCrop",
    "PackViews",
    "PaddedCrop",
    "RandomResizedCropWithLabels",
    "ShufflePatches",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        **dict.fromkeys(__all__, "mmrel.datasets.transforms"),
        "ImageFolder": "mmrel.datasets.image_folder",
        "ImageNetSDataset": "mmrel.datasets.imagenet_s",
        "KeyedSampler": "mmrel.datasets.samplers",
        "MaskListDataset": "mmrel.datasets.mask_list",
    },
)
