"""What patch tokens tell apart: images, places in the image, or neither.

    python benchmarks/token_variance.py data/scenes/classification/val epoch_3.pth config.py --size 64

An analysis of variance of the tokens after the last block and norm, over images that are all squeezed to one size: the
share of the variance that the images' means have, that the means of the places (of all images) have, and the rest. A
pretraining's config gives random weights. docs/evidence.md, section 2.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmrel.apis.backbone import get_backbone
from mmrel.datasets.folder_listing import list_files
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.evaluation.images import normalised_images, read_image
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.utils import UsageError, reports_usage_errors

BATCH = 50


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What patch tokens tell apart.")
    parser.add_argument("images", type=Path, help="folder, read with its folders")
    parser.add_argument("networks", nargs="+", help="checkpoints, or configs of pretrainings")
    parser.add_argument("--network", choices=("teacher", "student"), help="of a checkpoint")
    parser.add_argument("--size", type=int, default=96, help="side in pixels")
    parser.add_argument("--max-images", type=int, default=250, help="every n-th, at most so many")
    return parser.parse_args()


def variance_shares(tokens: Tensor) -> tuple[float, float]:
    """Per cent of the variance that the means of images and the means of places have.

    Args:
        tokens: ``(images, places, C)``.
    """
    centred = tokens.double() - tokens.double().mean((0, 1))
    whole = centred.square().sum(-1).mean()
    parts = [centred.mean(axis).square().sum(-1).mean() for axis in (1, 0)]
    images, places = (float(100 * part / whole) for part in parts)
    return images, places


def find_images(folder: Path, count: int) -> list[Path]:
    """Every n-th of them, n so that they are nearly count; the first ones of those.

    Raises:
        UsageError: there are fewer than two.
    """
    names = list_files(str(folder), _is_image).images if folder.is_dir() else []
    if len(names) < 2:
        raise UsageError(f"{folder} has {len(names)} images; 2 or more are needed")
    return [folder / name for name in names[:: max(1, len(names) // count)][:count]]


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def patch_tokens(backbone: ViT, files: Sequence[Path], size: int) -> Tensor:
    """``(images, places, C)``."""
    images = [
        np.asarray(
            Image.fromarray(read_image(file)).resize((size, size), Image.Resampling.BILINEAR)
        )
        for file in files
    ]
    with evaluation_mode(backbone), torch.inference_mode():
        batches = normalised_images(images, backbone).split(BATCH)
        return torch.cat([backbone(batch).patches for batch in batches])


@reports_usage_errors
def main() -> None:
    """Print a line per network."""
    args = parse_args()
    files = find_images(args.images, args.max_images)
    print(f"{len(files)} images of {args.size} pixels: share of the tokens' variance")
    for network in args.networks:
        backbone = get_backbone(network, args.network)
        images, places = variance_shares(patch_tokens(backbone, files, args.size))
        rest = 100 - images - places
        print(f"  images {images:5.1f} %  places {places:5.1f} %  neither {rest:5.1f} %  {network}")


if __name__ == "__main__":
    main()
