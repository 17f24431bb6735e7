"""Features of images by a frozen backbone, in the preprocessing of the k-NN protocol.

That of DINO and iBOT (arXiv 2104.14294, 2111.07832): short side 256 (bicubic), central 224 pixels, normalised with
the mean and standard deviation that the weights were trained with.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
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
from mmrel.registry import TRANSFORMS
from mmrel.structures import FEATURES

RESIZE, CROP = 256, 224
Images = OneImage | Iterable[OneImage] | Tensor


def extract_features(
    backbone: ViT,
    images: Images,
    feature: str | None = None,
    batch_size: int = 64,
    resize: int = RESIZE,
    crop: int = CROP,
    bit_depth: int | str = "auto",
) -> Tensor:
    """One feature vector per image.

    Nothing global is changed, and the backbone's modes are restored. Features are as the network gives them; k-NN
    normalises them to length 1.

    Args:
        backbone: as ``get_backbone`` gives it, on the device that shall compute. Its ``normalization`` is applied;
            where that is ``None``, ImageNet's.
        images: one of, or any iterable of, these: paths of image files, Pillow images, uint8 arrays ``(H, W, 3)`` in
            RGB. Or a tensor ``(B, 3, H, W)`` of any float type that is already resized and normalised.
        feature: ``'cls'``: class token; ``'avg'``: mean patch token; ``'cls+avg'``: both, one after the other; after
            the final norm, if the backbone has one. ``None``: ``'cls'`` where there is a class token, else ``'avg'``.
        batch_size: images that are computed at once.
        resize: pixels of the short side before cropping; not for tensors.
        crop: side in pixels of the central square, a multiple of the patch size; not for tensors.
        bit_depth: significant bits of 16-bit values, as for ``mmrel.DecodeImage``. ``'auto'`` finds one number for the
            images given, from a sample; of an iterator, for its first batch. Give it where the features of several
            calls are compared.

    Returns:
        float32 ``(B, C)``, or ``(B, 2C)`` for ``'cls+avg'``, on the backbone's device.

    Raises:
        ValueError: no images, an array or tensor of another type or shape, sizes that do not fit.
        TypeError: something that is no image.
        UnreadableImageError: a file that holds no image, with its path.
    """
    feature = check_feature(backbone, feature)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    if isinstance(images, Tensor):
        batches: Iterable[Tensor] = _check_tensor(images).split(batch_size)
    else:
        decoder = DecodeImage(bit_depth=bit_depth)
        prepared = _prepare(images, resize, crop, batch_size, decoder)
        batches = (normalised(packed, backbone) for packed in prepared)
    with evaluation_mode(backbone), torch.inference_mode():
        parts = [embed(backbone, batch, feature) for batch in batches]
    if not parts:
        raise ValueError("images is empty; give at least one image")
    # Joined outside of the inference mode, so that a classifier can be trained on the result.
    return torch.cat(parts)


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


def embed(backbone: ViT, images: Tensor, feature: str) -> Tensor:
    """Features, float32 ``(B, C)``, of normalised images ``(B, 3, H, W)`` on any device."""
    tokens = backbone(images.to(device_of(backbone), backbone.pos_embed.dtype))
    return tokens.feature(feature).float()


def evaluation_transforms(resize: int, crop: int) -> list[dict[str, Any]]:
    """Config of the transforms that follow the decoding.

    Args:
        resize: pixels of the short side.
        crop: pixels of the central square.

    Raises:
        ValueError: the square would not fit.
    """
    if not 0 < crop <= resize:
        raise ValueError(
            f"crop is {crop} and resize is {resize}; the central square must fit into the resized image: give a "
            f"crop above 0 and a resize of at least that, usually {RESIZE} and {CROP}"
        )
    return [
        dict(
            type="mmpretrain.ResizeEdge",
            scale=resize,
            edge="short",
            backend="pillow",
            interpolation="bicubic",
        ),
        dict(type="mmpretrain.CenterCrop", crop_size=crop),
        dict(type="mmpretrain.PackInputs"),
    ]


def _prepare(
    images: OneImage | Iterable[OneImage],
    resize: int,
    crop: int,
    batch_size: int,
    decoder: DecodeImage,
) -> Iterator[list[Tensor]]:
    listed = listed_images(images)
    steps = [TRANSFORMS.build(step) for step in evaluation_transforms(resize, crop)]
    numbered = iter(enumerate(listed))
    if isinstance(listed, Sequence):
        resolve_depth(decoder, listed)
    while chunk := list(islice(numbered, batch_size)):
        packed = []
        if chunk[0][0] == 0 and not isinstance(listed, Sequence):
            resolve_depth(decoder, [image for _, image in chunk])
        for index, image in chunk:
            results: dict[str, Any] = {"img": to_array(image, index, decoder)}
            for step in steps:
                results = step(results)
            packed.append(results["inputs"])
        yield packed


def _check_tensor(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images is a tensor {tuple(images.shape)} of {images.dtype}; wanted (B, 3, H, W) of a float type, "
            "normalised. Give raw pixels as uint8 arrays (H, W, 3)"
        )
    if not len(images):
        raise ValueError("images is empty; give at least one image")
    return images
