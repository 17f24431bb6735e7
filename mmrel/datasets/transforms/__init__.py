"""The loader's transforms, in their usual order: decode, crop, draw colours, draw masks, pack."""

from mmrel.datasets.transforms.block_mask import BlockMask
from mmrel.datasets.transforms.color import DrawColorAugmentation
from mmrel.datasets.transforms.corruption import DrawCorruption
from mmrel.datasets.transforms.cover import ResizeToCover
from mmrel.datasets.transforms.imagenet_s import (
    LoadImageNetSAnnotations,
    RandomResizedCropWithLabels,
)
from mmrel.datasets.transforms.jitter_channels import JitterChannels
from mmrel.datasets.transforms.load import DecodeImage
from mmrel.datasets.transforms.multi_crop import MultiCrop
from mmrel.datasets.transforms.pack import PackViews
from mmrel.datasets.transforms.padded_crop import PaddedCrop
from mmrel.datasets.transforms.patch_augmentation import (
    DrawMegaPatches,
    DrawPatchAugmentation,
    ShufflePatches,
)

__all__ = [
    "BlockMask",
    "DecodeImage",
    "DrawColorAugmentation",
    "DrawCorruption",
    "DrawMegaPatches",
    "DrawPatchAugmentation",
    "JitterChannels",
    "LoadImageNetSAnnotations",
    "MultiCrop",
    "PackViews",
    "PaddedCrop",
    "RandomResizedCropWithLabels",
    "ResizeToCover",
    "ShufflePatches",
]
