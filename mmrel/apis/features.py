"""Features of images by a frozen backbone, in the preprocessing of the k-NN protocol.

That of DINO and iBOT (arXiv 2104.14294, 2111.07832): short side 256 (bicubic), central 224 pixels, normalised with
the mean and standard deviation that the weights were trained with.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmrel.datasets.transforms.load import DecodeImage
from mmrel.evaluation.images import (
    OneImage,
    device_of,
    listed_images,
    normalised,
    resolve_depth,
    to_array,
)
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.models.backbones.dense_vit import check_blocks
from mmrel.models.backbones.intermediate import intermediate_tokens
from mmrel.registry import TRANSFORMS
from mmrel.structures import FEATURES, TokenViews

RESIZE, CROP = 256, 224
Images = OneImage | Iterable[OneImage] | Tensor
Side = int | tuple[int, int]
"""Of a square, or (height, width), in pixels."""


@dataclass(frozen=True)
class Readout:
    """What of a backbone stands for an image.

    Attributes:
        feature: ``'cls'``, ``'avg'`` or ``'cls+avg'``, of each block.
        blocks: numbers of the blocks from 0 on, ascending; their features follow one another.
        norm: whether the tokens of each block pass the final norm, if there is one.
    """

    feature: str
    blocks: tuple[int, ...]
    norm: bool

    def __str__(self) -> str:
        plural = "s" if len(self.blocks) > 1 else ""
        numbers = ", ".join(map(str, self.blocks))
        return f"{self.feature} of block{plural} {numbers}{'' if self.norm else ' before the norm'}"


def extract_features(
    backbone: ViT,
    images: Images,
    feature: str | None = None,
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
    batch_size: int = 64,
    resize: int | None = None,
    crop: Side = CROP,
    bit_depth: int | str = "auto",
) -> Tensor:
    """One feature vector per image.

    Nothing global is changed, and the backbone's modes are restored. Features are as the network gives them; k-NN
    normalises them to length 1. The linear probes of DINO and iBOT read of a ViT-S the class token of the last four
    blocks, ``feature='cls', out_indices=(-4, -3, -2, -1)``, of a ViT-B ``feature='cls+avg'`` of the last one.

    Args:
        backbone: as ``get_backbone`` gives it, on the device that shall compute. Its ``normalization`` is applied;
            where that is ``None``, ImageNet's.
        images: one of, or any iterable of, these: paths of image files, Pillow images, uint8 arrays ``(H, W, 3)`` in
            RGB. Or a tensor ``(B, in_channels, H, W)`` of any float type that is already resized and
            normalised.
        feature: ``'cls'``: class token; ``'avg'``: mean patch token; ``'cls+avg'``: both, one after the other.
            ``None``: ``'cls'`` where there is a class token, else ``'avg'``.
        out_indices: numbers of blocks, ascending; negative ones count from the end. Their features follow one another:
            block by block, the class token before the mean patch. ``None``: the backbone's own, as ``get_backbone``
            was told; usually the last block.
        out_norm: whether the tokens of each block pass the final norm, if there is one; ``None``: as ``get_backbone``
            was told, usually true.
        batch_size: images that are computed at once.
        resize: pixels of the short side before cropping; ``None``: 8/7 of the crop's short side, 256 for 224. An image
            is resized so that it covers the crop with this margin, whatever its and the crop's aspect ratios are. Not
            for tensors.
        crop: side in pixels of the central square, or (height, width): multiples of the patch size; not for tensors.
        bit_depth: significant bits of 16-bit values, as for ``mmrel.DecodeImage``. ``'auto'`` finds one number for the
            images given, from a sample; of an iterator, for its first batch. Give it where the features of several
            calls are compared.

    Returns:
        float32 ``(B, C)``, ``(B, 2C)`` for ``'cls+avg'``, times the number of blocks; on the backbone's device.

    Raises:
        ValueError: no images, an array or tensor of another type or shape, sizes that do not fit, no such blocks.
        TypeError: something that is no image.
        UnreadableImageError: a file that holds no image, or one that is smaller than a patch, with its path.
    """
    readout = choose_readout(backbone, feature, out_indices, out_norm)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    if isinstance(images, Tensor):
        batches: Iterable[Tensor] = _check_tensor(images, backbone).split(batch_size)
    else:
        decoder = DecodeImage(bit_depth=bit_depth)
        steps = evaluation_transforms(resize, crop, backbone.patch_size)
        prepared = _prepare(images, steps, batch_size, decoder)
        batches = (normalised(packed, backbone) for packed in prepared)
    with evaluation_mode(backbone), torch.inference_mode():
        parts = [embed(backbone, batch, readout) for batch in batches]
    if not parts:
        raise ValueError("images is empty; give at least one image")
    # Joined outside of the inference mode, so that a classifier can be trained on the result.
    return torch.cat(parts)


def choose_readout(
    backbone: ViT,
    feature: str | None = None,
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
) -> Readout:
    """What to take of a backbone; the backbone's own choice stands where nothing is given.

    Raises:
        ValueError: an unknown feature, one that the backbone cannot give, or no such blocks.
    """
    blocks = check_blocks(
        backbone.out_indices if out_indices is None else out_indices, len(backbone.layers)
    )
    norm = backbone.out_norm if out_norm is None else out_norm
    return Readout(check_feature(backbone, feature), tuple(blocks), norm)


def check_feature(backbone: ViT, feature: str | None) -> str:
    """The feature to take; ``None`` chooses.

    Raises:
        ValueError: it is unknown, or the backbone cannot give it.
    """
    has_class_token = backbone.cls_token is not None
    if feature is None:
        return "cls" if has_class_token else "avg"
    if feature not in FEATURES or ("cls" in feature and not has_class_token):
        allowed = FEATURES if has_class_token else ("avg",)
        raise ValueError(
            f"feature is {feature!r}; this backbone {'has a' if has_class_token else 'has no'} class token, so "
            f"choose from {', '.join(allowed)}"
        )
    return feature


def embed(backbone: ViT, images: Tensor, readout: Readout) -> Tensor:
    """Features, float32 ``(B, C)``, of normalised images ``(B, 3, H, W)`` on any device."""
    images = images.to(device_of(backbone), backbone.pos_embed.dtype)
    if readout.norm and readout.blocks == (len(backbone.layers) - 1,):
        # The network's own forward, which may be compiled.
        tokens: Sequence[TokenViews] = (backbone(images),)
    else:
        tokens = intermediate_tokens(backbone, images, readout.blocks, readout.norm)
    return torch.cat([views.feature(readout.feature).float() for views in tokens], dim=1)


def evaluation_transforms(
    resize: int | None = None, crop: Side = CROP, patch_size: int = 1
) -> list[dict[str, Any]]:
    """Config of the transforms that follow the decoding.

    Args:
        resize: pixels of the short side; ``None``: 8/7 of the crop's.
        crop: pixels of the central square, or (height, width).
        patch_size: of the network: images with a smaller side are refused.

    Raises:
        ValueError: the crop would not fit, or is no whole number of patches.
    """
    height, width = (crop, crop) if isinstance(crop, int) else crop
    short = min(height, width)
    resize = round(short * RESIZE / CROP) if resize is None else resize
    if not 0 < short <= resize:
        raise ValueError(
            f"crop is {crop} and resize is {resize}; the central square must fit into the resized image: give a "
            f"crop above 0 and a resize of at least that, usually {RESIZE} and {CROP}"
        )
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"a crop of {height}x{width} pixels is not a whole number of {patch_size}-pixel patches; choose "
            f"multiples of {patch_size}, such as {max(1, round(short / patch_size)) * patch_size}"
        )
    cover = tuple(round(side * resize / short) for side in (height, width))
    return [
        dict(type="mmrel.ResizeToCover", size=cover, min_side=patch_size),
        dict(type="mmpretrain.CenterCrop", crop_size=(width, height)),
        dict(type="mmpretrain.PackInputs"),
    ]


def _prepare(
    images: OneImage | Iterable[OneImage],
    transforms: list[dict[str, Any]],
    batch_size: int,
    decoder: DecodeImage,
) -> Iterator[list[Tensor]]:
    listed = listed_images(images)
    steps = [TRANSFORMS.build(step) for step in transforms]
    numbered = iter(enumerate(listed))
    if isinstance(listed, Sequence):
        resolve_depth(decoder, listed)
    while chunk := list(islice(numbered, batch_size)):
        packed = []
        if chunk[0][0] == 0 and not isinstance(listed, Sequence):
            resolve_depth(decoder, [image for _, image in chunk])
        for index, image in chunk:
            name = str(image) if isinstance(image, str | Path) else f"image {index}"
            results: dict[str, Any] = {"img": to_array(image, index, decoder), "img_path": name}
            for step in steps:
                results = step(results)
            packed.append(results["inputs"])
        yield packed


def _check_tensor(images: Tensor, backbone: ViT) -> Tensor:
    channels = backbone.in_channels
    if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point():
        raise ValueError(
            f"images is a tensor {tuple(images.shape)} of {images.dtype}; wanted (B, {channels}, H, W) of a float "
            "type, normalised. Give raw pixels of RGB images as uint8 arrays (H, W, 3)"
        )
    if not len(images):
        raise ValueError("images is empty; give at least one image")
    return images
