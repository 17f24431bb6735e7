"""Features of images by a frozen backbone, in the preprocessing of the k-NN protocol.

That of DINO and iBOT (arXiv 2104.14294, 2111.07832): short side 256 (bicubic), central 224 pixels, normalised with
the mean and standard deviation that the weights were trained with.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.datasets.transforms.load import DecodeImage
from mmrel.datasets.transforms.pixel_values import (
    ByteImage,
    common_depth,
    is_wide,
    to_rgb,
    wide_values,
)
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.registry import TRANSFORMS
from mmrel.structures import FEATURES
from mmrel.utils.normalization import IMAGENET

RESIZE, CROP = 256, 224
OneImage = str | Path | Image.Image | ByteImage
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


def device_of(backbone: ViT) -> torch.device:
    """Where the backbone computes."""
    return backbone.pos_embed.device


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


def normalised(inputs: list[Tensor], backbone: ViT) -> Tensor:
    """Stack packed images, uint8 ``(3, H, W)``, and normalise them for a backbone: float32 ``(B, 3, H, W)``."""
    preprocess = ViewPreprocessor(*(backbone.normalization or IMAGENET)).to(device_of(backbone))
    batch: Tensor = preprocess({"inputs": inputs}, False)["inputs"]
    return batch


def _prepare(
    images: OneImage | Iterable[OneImage],
    resize: int,
    crop: int,
    batch_size: int,
    decoder: DecodeImage,
) -> Iterator[list[Tensor]]:
    listed = _listed(images)
    steps = [TRANSFORMS.build(step) for step in evaluation_transforms(resize, crop)]
    numbered = iter(enumerate(listed))
    if isinstance(listed, Sequence):
        _resolve(decoder, listed)
    while chunk := list(islice(numbered, batch_size)):
        packed = []
        if chunk[0][0] == 0 and not isinstance(listed, Sequence):
            _resolve(decoder, [image for _, image in chunk])
        for index, image in chunk:
            results: dict[str, Any] = {"img": _to_array(image, index, decoder)}
            for step in steps:
                results = step(results)
            packed.append(results["inputs"])
        yield packed


def _resolve(decoder: DecodeImage, images: Sequence[OneImage]) -> None:
    """Let the decoder find what it was not told about values of more than 8 bits."""
    decoder.resolve([str(image) for image in images if isinstance(image, str | Path)])
    pictures = [image for image in images if isinstance(image, Image.Image) and is_wide(image)]
    arrays = [values for values in map(wide_values, pictures) if values is not None]
    decoder.depth = common_depth(arrays, decoder.depth)


def _listed(images: OneImage | Iterable[OneImage]) -> Iterable[OneImage]:
    if isinstance(images, np.ndarray) and images.ndim != 4:
        return [images]
    if isinstance(images, str | Path | Image.Image):
        return [images]
    if not isinstance(images, Iterable):
        raise TypeError(f"images is a {type(images).__name__}; give one image or several")
    return images


def _to_array(image: OneImage, index: int, decoder: DecodeImage) -> ByteImage:
    """uint8 ``(H, W, 3)``, RGB, by the rules of ``mmrel.DecodeImage``."""
    if isinstance(image, str | Path):
        array: ByteImage = decoder.transform({"img_path": str(image)})["img"]
        return array
    if isinstance(image, Image.Image):
        try:
            return np.array(to_rgb(image, decoder.depth))
        except (OSError, ValueError) as error:
            name = getattr(image, "filename", "") or f"image {index}"
            raise UnreadableImageError(name, f"{type(error).__name__}: {error}") from error
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"image {index} is a {type(image).__name__}; give a path, a Pillow image or a uint8 array (H, W, 3), or "
            "one tensor (B, 3, H, W) for all images"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image {index} is an array {image.shape} of {image.dtype}; wanted (H, W, 3) of uint8, RGB from 0 to 255"
        )
    return image


def _check_tensor(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(
            f"images is a tensor {tuple(images.shape)} of {images.dtype}; wanted (B, 3, H, W) of a float type, "
            "normalised. Give raw pixels as uint8 arrays (H, W, 3)"
        )
    if not len(images):
        raise ValueError("images is empty; give at least one image")
    return images
