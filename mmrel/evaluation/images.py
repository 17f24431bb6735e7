"""From what a user has, a file, a Pillow image or an array, to what a backbone takes."""

from collections.abc import Iterable, Sequence
from pathlib import Path

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
from mmrel.models.backbones import ViT
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.utils.normalization import IMAGENET

OneImage = str | Path | Image.Image | ByteImage


def read_image(image: OneImage) -> ByteImage:
    """One image as uint8 ``(H, W, 3)``, RGB.

    Raises:
        UnreadableImageError: a file that holds no image, with its path.
        TypeError: something that is no image.
        ValueError: an array of another type or shape.
    """
    decoder = DecodeImage()
    resolve_depth(decoder, [image])
    return to_array(image, 0, decoder)


def fit_to_patches(image: ByteImage, patch_size: int, size: int | None = None) -> ByteImage:
    """Resize an image so that both sides are whole numbers of patches, nearly in its own aspect ratio.

    Args:
        image: uint8 ``(H, W, 3)``.
        patch_size: side of a patch in pixels.
        size: short side in pixels, bicubic, rounded to whole patches; ``None``: its own. The long side keeps the
            aspect ratio to within half a patch.

    Raises:
        ValueError: a side is smaller than a patch.
    """
    height, width = image.shape[:2]
    scale = 1.0 if size is None else size / min(height, width)
    rows, cols = (round(side * scale / patch_size) for side in (height, width))
    if min(height, width, *([] if size is None else [size])) < patch_size or not min(rows, cols):
        raise ValueError(
            f"an image of {height}x{width} pixels{'' if size is None else f' at size {size}'} is smaller than a patch "
            f"of {patch_size}; give a larger image, or a size of at least {patch_size}"
        )
    if (rows * patch_size, cols * patch_size) == (height, width):
        return image
    resized = Image.fromarray(image).resize(
        (cols * patch_size, rows * patch_size), Image.Resampling.BICUBIC
    )
    return np.asarray(resized)


def normalised(inputs: list[Tensor], backbone: ViT) -> Tensor:
    """Stack packed images, uint8 ``(3, H, W)``, and normalise them for a backbone: float32 ``(B, 3, H, W)``."""
    known = backbone.normalization or IMAGENET.for_channels(backbone.in_channels)
    preprocess = ViewPreprocessor(*known).to(device_of(backbone))
    batch: Tensor = preprocess({"inputs": inputs}, False)["inputs"]
    return batch


def normalised_images(images: Sequence[ByteImage], backbone: ViT) -> Tensor:
    """The same of uint8 arrays ``(H, W, 3)`` of one size."""
    return normalised(
        [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images], backbone
    )


def device_of(backbone: ViT) -> torch.device:
    """Where the backbone computes."""
    return backbone.pos_embed.device


def resolve_depth(decoder: DecodeImage, images: Sequence[OneImage]) -> None:
    """Let the decoder find what it was not told about values of more than 8 bits."""
    decoder.resolve([str(image) for image in images if isinstance(image, str | Path)])
    pictures = [image for image in images if isinstance(image, Image.Image) and is_wide(image)]
    arrays = [values for values in map(wide_values, pictures) if values is not None]
    decoder.depth = common_depth(arrays, decoder.depth)


def listed_images(images: OneImage | Iterable[OneImage]) -> Iterable[OneImage]:
    """The images one by one: a single one becomes a list.

    Raises:
        TypeError: it is no image and holds none.
    """
    if isinstance(images, np.ndarray) and images.ndim != 4:
        return [images]
    if isinstance(images, str | Path | Image.Image):
        return [images]
    if not isinstance(images, Iterable):
        raise TypeError(f"images is a {type(images).__name__}; give one image or several")
    return images


def to_array(image: OneImage, index: int, decoder: DecodeImage) -> ByteImage:
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
