"""Segmentation without training: each patch token asks its nearest neighbours among those of labelled images.

The weighted k-NN of DINO (arXiv 2104.14294) with patches for images, as Balazevic et al. retrieve them ("Towards
In-Context Scene Understanding", NeurIPS 2023, arXiv 2306.01667): a bank of L2-normalised patch tokens of the training
images, each with the share that every class has of its pixels; a patch of a validation image takes the mean of its k
nearest, weighted by exp(similarity / temperature); the soft labels are enlarged bilinearly to the image, and each
pixel takes the class that is largest there. Different there: neighbours are found exactly here, and no image of the
bank is augmented.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.iou import (
    Segmentation,
    confusion_matrix,
    segmentation_scores,
    upsampled_argmax,
)
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_tokens import (
    Progress,
    TokenSettings,
    bounded,
    check_pair,
    collect_patches,
    counting,
    image_tokens,
)
from mmrel.models.backbones import ViT
from mmrel.utils.text import listed


def patch_knn_segmentation(
    backbone: ViT,
    train: LabelledImages,
    val: LabelledImages,
    k: int = 20,
    temperature: float = 0.07,
    size: int | None = None,
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
    per_image: int | None = None,
    max_patches: int = 100_000,
    chunk: int = 256,
    seed: int = 0,
    keep: Collection[int] = (),
    progress: Progress | None = None,
) -> Segmentation:
    """Classify the pixels of validation images by the patches of training images.

    Patches of which at most half of the pixels are labelled are left out of the bank. Nothing is drawn at random unless
    the bank has to be thinned out.

    Args:
        backbone: as ``get_backbone`` gives it, on the device that shall compute.
        train: images of the bank.
        val: images to segment; their ``classes`` are those of ``train``.
        k: neighbours.
        temperature: of the weights exp(similarity / temperature).
        size: short side of all images in pixels, rounded to whole patches; ``None``: their own.
        out_indices: numbers of the blocks whose tokens are compared, concatenated; ``None``: those of the backbone,
            usually the last.
        out_norm: whether they pass the final norm; ``None``: as the backbone was built, usually yes.
        per_image: patches of each training image at most, drawn at random; ``None``: as many as ``max_patches`` allows.
        max_patches: of the bank.
        chunk: patches that are compared at once; the similarities take 4 * chunk * max_patches bytes.
        seed: of the drawing.
        keep: positions in ``val`` of images whose predictions are wanted.
        progress: is called with the number of images done and of all.

    Raises:
        ValueError: the classes differ, k is larger than the bank, an argument is out of range, or a file does not fit.
        UnreadableImageError: a file cannot be read.
    """
    check_pair(train, val)
    if k < 1 or temperature <= 0 or chunk < 1 or max_patches < 1:
        raise ValueError(
            f"k is {k}, temperature {temperature}, chunk {chunk}, max_patches {max_patches}; all must be above 0. "
            "Usual values are 20, 0.07, 256 and 100000"
        )
    settings = TokenSettings(size, out_indices, out_norm)
    step = counting(progress, len(train) + len(val))
    limit = bounded(per_image, max_patches, len(train))
    tokens, shares = collect_patches(backbone, train, settings, limit, seed, step)
    if k > len(tokens):
        raise ValueError(
            f"k is {k}, but the bank has {len(tokens)} patches; give a smaller k or more images"
        )
    bank = F.normalize(tokens, dim=1)
    total = torch.zeros(len(val.classes), len(val.classes), dtype=torch.long)
    predictions: dict[int, NDArray] = {}
    for index, image in enumerate(image_tokens(backbone, val, settings)):
        votes = patch_votes(image.tokens.float(), bank, shares, k, temperature, chunk)
        scores = votes.T.unflatten(1, image.grid)
        predicted = upsampled_argmax(scores, (image.labels.shape[0], image.labels.shape[1]))
        total += confusion_matrix(predicted, image.labels, len(val.classes)).cpu()
        if index in keep:
            predictions[index] = predicted.cpu().numpy()
        step()
    _announce_unknown(shares, total, val.classes)
    return replace(segmentation_scores(total, val.classes), predictions=predictions)


def patch_votes(
    queries: Tensor, bank: Tensor, shares: Tensor, k: int, temperature: float, chunk: int = 256
) -> Tensor:
    """Soft labels of patches, the weighted mean of the k nearest.

    The weights of a patch sum to 1, so that in enlarging no patch counts more than its neighbour.

    Args:
        queries: tokens ``(M, C)``; normalised here.
        bank: ``(B, C)`` of length 1.
        shares: ``(B, K)``.
        k: neighbours, at most B.
        temperature: of the weights.
        chunk: queries at once.

    Returns:
        ``(M, K)``.
    """
    found = []
    for part in F.normalize(queries, dim=1).split(chunk):
        similarity, nearest = (part @ bank.T).topk(k, dim=1)
        weights = (similarity / temperature).softmax(dim=1)
        found.append(torch.bmm(weights[:, None], shares[nearest])[:, 0])
    return torch.cat(found)


def _announce_unknown(shares: Tensor, confusion: Tensor, classes: Sequence[str]) -> None:
    """Say which classes could not be found at all."""
    lost = (shares.sum(dim=0).cpu() == 0) & (confusion.sum(dim=1) > 0)
    if lost.any():
        names = [classes[index] for index in lost.nonzero().squeeze(1).tolist()]
        print_log(
            f"patch k-NN: no patch of the bank shows {listed(names)}, so their IoU is 0; give more training images or "
            "raise max_patches",
            "current",
            logging.WARNING,
        )
