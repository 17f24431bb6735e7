"""Small labelled images on disk that the tests of frozen segmentation share: squares of three kinds on a ground."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmrel.evaluation.masks import LabelledImages
from mmrel.models.backbones import ViT
from mmrel.registry import MODELS

CLASSES = ("ground", "red", "green", "blue")
COLORS = np.array([[90, 90, 90], [220, 40, 40], [40, 200, 40], [40, 40, 220]], np.uint8)


def write_images(root: Path, count: int, seed: int = 0, sizes: tuple = ((16, 24),)) -> None:
    """``images/`` and ``masks/`` of a folder; a border of 255 between the ground and a square, sometimes."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        mask = np.zeros((height, width), np.uint8)
        for label in (1, 2, 3):
            top, left = rng.integers(0, height - 6), rng.integers(0, width - 6)
            mask[top : top + 6, left : left + 6] = label
        noise = rng.integers(-20, 20, (height, width, 3))
        pixels = (COLORS[mask] + noise).clip(0, 255).astype(np.uint8)
        mask[:, rng.integers(0, width)] = 255
        Image.fromarray(pixels).save(root / "images" / f"{index}.png")
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")


def labelled(root: Path, count: int, seed: int = 0, sizes: tuple = ((16, 24),)) -> LabelledImages:
    """The same, read."""
    write_images(root, count, seed, sizes)
    return LabelledImages.from_folders(root / "images", root / "masks", CLASSES)


def network(config: dict) -> ViT:
    """A tiny ViT in evaluation mode, whose colours are told apart by its tokens."""
    import torch

    torch.manual_seed(0)
    backbone = MODELS.build(config)
    backbone.init_weights()
    backbone.eval()
    return backbone
