"""Where a ViT looks: the attention of its class token, the share that counts, and its overlap with objects.

After DINO (arXiv 2104.14294): the tokens that hold 60 % of a head's attention are its mask; its Jaccard index with the
object, that of the best head of each image, is averaged over PASCAL VOC 2012's validation images.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mmrel.evaluation.images import OneImage, fit_to_patches, normalised_images, read_image
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import block_attention

QUERIES = ("cls", "mean")
VOID = 255
Mask = NDArray[np.bool_]


def query_attention(
    backbone: ViT, images: Tensor, block: int = -1, query: str = "cls"
) -> tuple[Tensor, tuple[int, int]]:
    """Attention of one query to all patches, per head.

    Args:
        backbone: as ``get_backbone`` gives it.
        images: ``(B, 3, H, W)``, normalised; H and W are multiples of the patch size.
        block: its number; negative ones count from the end.
        query: ``'cls'``: that of the class token, as DINO shows it. ``'mean'``: the mean of all patches' queries, for
            backbones without class token.

    Returns:
        ``(B, heads, N)``, and the grid ``(rows, cols)`` with N = rows * cols. With a class token or register tokens the
        sum is below 1 by what those get.

    Raises:
        ValueError: an unknown query or block, no class token for ``'cls'``, or sizes that do not divide.
    """
    check_query(backbone, query)
    grid = images.shape[2] // backbone.patch_size, images.shape[3] // backbone.patch_size
    attention, extra = block_attention(backbone, images, block), backbone.num_prefix_tokens
    if query == "cls":
        return attention[:, :, 0, extra:], grid
    return mean_query_attention(attention[:, :, extra:])[:, :, extra:], grid


def mean_query_attention(attention: Tensor) -> Tensor:
    """What the mean of several queries attends to.

    Logarithms of attention are logits up to a constant of each query, so the mean query's attention is the normalised
    geometric mean of the queries' own.

    Args:
        attention: ``(..., Q, T)``, rows summing to 1.

    Returns:
        ``(..., T)``, summing to 1.
    """
    return attention.clamp(min=torch.finfo(attention.dtype).tiny).log().mean(-2).softmax(-1)


def check_query(backbone: ViT, query: str) -> None:
    """Raise ``ValueError`` if there is no such query, or the backbone has none of this kind."""
    if query not in QUERIES:
        raise ValueError(f"query is {query!r}; choose from {', '.join(QUERIES)}")
    if query == "cls" and backbone.cls_token is None:
        raise ValueError(
            "this backbone has no class token, so there is no attention of it; query='mean' (--query mean) shows the "
            "attention of the mean of all patches' queries instead"
        )


def keep_mass(attention: Tensor, mass: float = 0.6) -> Tensor:
    """The tokens that hold a share of each head's attention, the largest ones.

    Sorted ascending, with values divided by their sum, a token stays if the cumulated sum up to and with it is above
    ``1 - mass``.

    Args:
        attention: ``(heads, N)``, of any float type, not negative, with a positive sum in each row.
        mass: the share, in (0, 1].

    Returns:
        bool ``(heads, N)``.

    Raises:
        ValueError: another shape, a share outside of (0, 1], or rows that sum to nothing.
    """
    if attention.ndim != 2 or not attention.numel():
        raise ValueError(
            f"attention has shape {tuple(attention.shape)}; wanted (heads, N): a row of tokens for each head"
        )
    if not 0 < mass <= 1:
        raise ValueError(f"mass is {mass}; it is a share, give a number above 0 and up to 1")
    total = attention.double().sum(dim=1, keepdim=True)
    if not (total > 0).all() or not total.isfinite().all():
        raise ValueError(
            f"the rows of attention sum to {total.flatten().tolist()}; wanted finite positive sums"
        )
    values, order = (attention.double() / total).sort(dim=1, stable=True)
    # Rounding of the input must not let a token in where the sum meets the limit exactly.
    limit = (1 - mass) * (1 + 4 * torch.finfo(attention.dtype).eps)
    kept = values.cumsum(dim=1) > limit
    # The largest token stays however small the share is.
    kept[:, -1] = True
    return torch.zeros_like(kept).scatter(1, order, kept)


def jaccard(masks: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Intersection over union of several masks with one object.

    Args:
        masks: bool ``(heads, H, W)``.
        truth: bool ``(H, W)``.
        valid: bool ``(H, W)``, the pixels that count; ``None``: all.

    Returns:
        float64 ``(heads,)``; 1 where both are empty.

    Raises:
        ValueError: shapes that do not fit.
    """
    if masks.ndim != 3 or masks.shape[1:] != truth.shape:
        raise ValueError(
            f"masks have shape {tuple(masks.shape)} and the object {tuple(truth.shape)}; wanted (heads, H, W), (H, W)"
        )
    valid = torch.ones_like(truth) if valid is None else valid
    union = ((masks | truth) & valid).sum(dim=(1, 2)).double()
    common = ((masks & truth) & valid).sum(dim=(1, 2)).double()
    return torch.where(union > 0, common / union.clamp(min=1), 1.0)


@dataclass(frozen=True)
class AttentionJaccard:
    """Overlap of thresholded attention with objects.

    Attributes:
        mean: per cent, mean over images of the best head's Jaccard index.
        heads: per cent ``(heads,)``, mean over images of each head alone.
        count: number of images.
    """

    mean: float
    heads: tuple[float, ...]
    count: int


@torch.inference_mode()
def attention_jaccard(
    backbone: ViT,
    images: Iterable[tuple[OneImage, NDArray[np.integer]]],
    mass: float = 0.6,
    block: int = -1,
    query: str = "cls",
    size: int | None = 480,
) -> AttentionJaccard:
    """DINO's Jaccard index of attention masks with foreground objects.

    Args:
        backbone: as ``get_backbone`` gives it.
        images: pairs of an image and its labels ``(H, W)``: 0 background, 255 void, anything else foreground; for
            instance :func:`voc_images`. Images without foreground are left out.
        mass: share of attention that makes a mask, see :func:`keep_mass`.
        block: whose attention; negative ones count from the end.
        query: see :func:`query_attention`.
        size: short side in pixels; DINO stretches images to 480 x 480, here the aspect ratio is kept.

    Raises:
        ValueError: no image has a foreground, labels of another size than their image, or as for
            :func:`query_attention`.
    """
    found = []
    with evaluation_mode(backbone):
        for image, labels in images:
            truth = torch.from_numpy((labels > 0) & (labels != VOID))
            if not truth.any():
                continue
            picture = read_image(image)
            if labels.shape != picture.shape[:2]:
                raise ValueError(
                    f"the labels are {labels.shape} and their image is {picture.shape[:2]}; wanted one label per pixel"
                )
            fitted = fit_to_patches(picture, backbone.patch_size, size)
            batch = normalised_images([fitted], backbone)
            attention, grid = query_attention(backbone, batch, block, query)
            kept = keep_mass(attention[0].float().cpu(), mass).unflatten(1, grid)
            masks = F.interpolate(kept[None].float(), labels.shape, mode="nearest-exact")[0] > 0.5
            found.append(jaccard(masks, truth, torch.from_numpy(labels != VOID)))
    if not found:
        raise ValueError("no image has a foreground; give at least one image with labels above 0")
    values = 100 * torch.stack(found)
    best = values.amax(dim=1).mean()
    return AttentionJaccard(float(best), tuple(values.mean(dim=0).tolist()), len(values))


def voc_images(root: Path, split: str = "val") -> Iterator[tuple[Path, NDArray[np.integer]]]:
    """Images and class labels of PASCAL VOC 2012's segmentation set.

    Args:
        root: folder ``VOC2012`` with ``ImageSets/Segmentation``, ``JPEGImages`` and ``SegmentationClass``.
        split: name of a list in ``ImageSets/Segmentation``.

    Raises:
        FileNotFoundError: a file is missing.
    """
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listing.is_file():
        raise FileNotFoundError(
            f"There is no '{listing}'; give the folder VOC2012 that holds ImageSets, JPEGImages and SegmentationClass."
        )
    for name in listing.read_text(encoding="utf-8").split():
        with Image.open(root / "SegmentationClass" / f"{name}.png") as labels:
            yield root / "JPEGImages" / f"{name}.jpg", np.asarray(labels).astype(np.int64)
