"""Tiny data sets in the folders that the real ones have, for recipes that are run as they are."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (96, 72)  # width, height
SYNSETS = ("n01440764", "n01443537", "n03000134")


def photo(path: Path, seed: int, size: tuple[int, int] = SIZE) -> None:
    """A photo of noise in broad patches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)


def blocks(seed: int, values: list[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Labels ``(H, W)`` in broad rectangles."""
    coarse = np.random.default_rng(seed).choice(values, (4, 6)).astype(np.int32)
    height, width = size[1], size[0]
    return coarse[np.arange(height)[:, None] * 4 // height, np.arange(width) * 6 // width]


def grey(path: Path, labels: np.ndarray) -> None:
    """A mask of one byte per pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def palette(path: Path, labels: np.ndarray) -> None:
    """A mask of palette indices, as PASCAL VOC has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8)).convert("L")
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 7 * i % 256)])
    image.save(path)


def two_channels(path: Path, labels: np.ndarray) -> None:
    """A mask of ImageNet-S, written out by its definition: R + 256 G."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((*labels.shape, 3), dtype=np.uint8)
    mask[..., 0], mask[..., 1] = labels & 255, labels >> 8
    Image.fromarray(mask).save(path)


def make_ade(root: Path) -> None:
    """``ade/ADEChallengeData2016``: 0 is unlabelled, 150 classes."""
    base = root / "ade" / "ADEChallengeData2016"
    for split, count in (("training", 4), ("validation", 2)):
        for i in range(count):
            name = f"ADE_{split[:5]}_{i:08d}"
            photo(base / "images" / split / f"{name}.jpg", i)
            grey(base / "annotations" / split / f"{name}.png", blocks(i, [0, 1, 17, 150]))


def make_voc(root: Path) -> None:
    """``VOCdevkit/VOC2012`` with the additional masks; 255 is the void border."""
    base = root / "VOCdevkit" / "VOC2012"
    names = [f"2007_{i:06d}" for i in range(8)]
    for i, name in enumerate(names):
        photo(base / "JPEGImages" / f"{name}.jpg", i)
        folder = "SegmentationClassAug" if i in (3, 4) else "SegmentationClass"
        palette(base / folder / f"{name}.png", blocks(i, [0, 1, 20, 255]))
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, members in (("train", names[:3]), ("aug", names[3:5]), ("val", names[5:])):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in members))


def make_imagenet_s(root: Path, subset: int = 919) -> None:
    """``imagenet-s/ImageNetS919``: a folder for each synset in every split, photos in three of them."""
    base = root / "imagenet-s" / f"ImageNetS{subset}"
    names = sorted([*SYNSETS, *(f"n9{i:07d}" for i in range(subset - len(SYNSETS)))])
    for split in ("train-semi", "validation"):
        for name in names:
            (base / split / name).mkdir(parents=True)
    for i, synset in enumerate(SYNSETS):
        last = (
            subset if subset < 255 else 255 + i
        )  # 255 is a class, 256 and 257 need the second channel
        labels = [0, names.index(synset) + 1, last, 1000]
        for split, stem in (
            ("train-semi", f"{synset}_{i}"),
            ("validation", f"ILSVRC2012_val_{i:08d}"),
        ):
            photo(base / split / synset / f"{stem}.JPEG", i)
            two_channels(base / f"{split}-segmentation" / synset / f"{stem}.png", blocks(i, labels))
        photo(base / "test" / synset / f"ILSVRC2012_val_{i + 9:08d}.JPEG", i)


def make_coco(root: Path) -> None:
    """``coco`` with two rectangles on each photo and the 80 categories, whose numbers have gaps."""
    from mmdet.datasets import CocoDataset

    numbers = [i for i in range(1, 91) if i not in COCO_GAPS]
    names = CocoDataset.METAINFO["classes"]
    categories = [dict(id=i, name=name) for i, name in zip(numbers, names, strict=True)]
    for split, count in (("train2017", 4), ("val2017", 2)):
        images, things = [], []
        for i in range(count):
            photo(root / "coco" / split / f"{i:012d}.jpg", i)
            images.append(dict(id=i, file_name=f"{i:012d}.jpg", width=SIZE[0], height=SIZE[1]))
            things += [_rectangle(2 * i + j, i, 8 + 40 * j, (1, 90)[j]) for j in range(2)]
        content = dict(images=images, annotations=things, categories=categories)
        (root / "coco" / "annotations").mkdir(exist_ok=True)
        (root / "coco" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _rectangle(number: int, image: int, left: int, category: int) -> dict:
    x, y, w, h = left, 10, 36, 44
    outline = [x, y, x + w, y, x + w, y + h, x, y + h]
    return dict(
        id=number,
        image_id=image,
        category_id=category,
        bbox=[x, y, w, h],
        area=w * h,
        segmentation=[outline],
        iscrowd=0,
    )


COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
MAKERS: dict[str, Callable[[Path], None]] = {
    "ade20k": make_ade,
    "voc12": make_voc,
    "imagenet-s": make_imagenet_s,
    "coco": make_coco,
}
