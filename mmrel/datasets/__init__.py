"""Data sets, samplers and transforms; importing this package registers them."""

from mmrel.datasets.image_folder import ImageFolder
from mmrel.datasets.samplers import KeyedSampler
from mmrel.datasets.transforms import (
    BlockMask,
    DecodeImage,
    DrawColorAugmentation,
    DrawCorruption,
    DrawMegaPatches,
    DrawPatchAugmentation,
    MultiCrop,
    PackViews,
    PaddedCrop,
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
    "KeyedSampler",
    "MultiCrop",
    "PackViews",
    "PaddedCrop",
    "ShufflePatches",
]
