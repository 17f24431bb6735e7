"""A linear classifier on frozen patch tokens, for several learning rates at once.

What DINOv2's linear segmentation trains (arXiv 2304.07193, section 7.4), batch norm and one linear layer per patch,
without a training loop over images: the tokens of the training images are computed once and kept in half precision.
The target of a patch is the share that each class has of its pixels. The cross-entropy with shares equals the mean
cross-entropy of the pixels where each pixel takes the scores of its patch. Different from there: no augmentation, the
scores are enlarged bilinearly only for evaluation, and the batch norm has no own scale and shift, which the linear
layer has.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor, nn

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

LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
INIT_STD = 0.01
HALF_BYTES = 2


@dataclass(frozen=True)
class LinearSegmentation(Segmentation):
    """The figures of the best learning rate.

    Attributes:
        learning_rate: the one of largest ``miou``: chosen on the validation images, which flatters it a little.
        miou_of_rates: ``miou`` of each learning rate.
    """

    learning_rate: float = 0.0
    miou_of_rates: dict[float, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The figures for a JSON file."""
        rates = {f"{rate:g}": miou for rate, miou in self.miou_of_rates.items()}
        return {**super().as_dict(), "learning_rate": self.learning_rate, "miou_of_rates": rates}


@dataclass(frozen=True)
class Schedule:
    """How the classifiers are trained.

    Attributes:
        learning_rates: of AdamW at the start, one classifier each; they fall to 0 as a cosine.
        epochs: passes over the tokens.
        batch_size: patches per step.
        weight_decay: of AdamW, on the weights.
        seed: of the initial weights, which all classifiers share, and of the order.
    """

    learning_rates: Sequence[float] = LEARNING_RATES
    epochs: int = 20
    batch_size: int = 256
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        rates = self.learning_rates
        if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
            raise ValueError(
                f"learning_rates are {list(rates)}; wanted numbers above 0, each once, such as {list(LEARNING_RATES)}"
            )
        if self.epochs < 1 or self.batch_size < 2 or self.weight_decay < 0:
            raise ValueError(
                f"epochs is {self.epochs}, batch_size {self.batch_size}, weight_decay {self.weight_decay}; wanted 1 or "
                "more, 2 or more, and 0 or more"
            )


class LinearHeads(nn.Module):
    """Batch norm and, after it, one linear layer per learning rate.

    Args:
        channels: C of the tokens.
        classes: K.
        count: of linear layers; all begin with the same weights.
        seed: of these.
    """

    def __init__(self, channels: int, classes: int, count: int, seed: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels, affine=False)
        layers = [
            nn.utils.skip_init(nn.Linear, channels, classes, device="cpu") for _ in range(count)
        ]
        self.layers = nn.ModuleList(layers)
        generator = torch.Generator().manual_seed(seed)
        weight = INIT_STD * torch.randn(classes, channels, generator=generator)
        for layer in layers:
            layer.weight.data.copy_(weight)
            layer.bias.data.zero_()

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Scores ``(n, K)`` of each layer for tokens ``(n, C)``."""
        normed = self.norm(tokens)
        return [layer(normed) for layer in self.layers]


def linear_segmentation(
    backbone: ViT,
    train: LabelledImages,
    val: LabelledImages,
    schedule: Schedule | None = None,
    size: int | None = None,
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
    per_image: int | None = None,
    cache_bytes: int = 2**30,
    keep: Collection[int] = (),
    progress: Progress | None = None,
) -> LinearSegmentation:
    """Train linear classifiers on frozen patch tokens, and segment validation images with them.

    The same arguments give the same figures on the same machine.

    Args:
        backbone: as ``get_backbone`` gives it, on the device that shall compute. It is not changed.
        train: images to train on.
        val: images to segment; their ``classes`` are those of ``train``.
        schedule: learning rates, epochs and so on; ``None``: :class:`Schedule`'s own.
        size: short side of all images in pixels, rounded to whole patches; ``None``: their own.
        out_indices: numbers of the blocks whose tokens are classified, concatenated; ``None``: those of the backbone,
            usually the last.
        out_norm: whether they pass the final norm; ``None``: as the backbone was built, usually yes.
        per_image: patches of each training image at most, drawn at random; ``None``: as many as fit.
        cache_bytes: that tokens and targets may take.
        keep: positions in ``val`` of images whose predictions are wanted.
        progress: is called with the number of images done and of all; training counts for none.

    Raises:
        ValueError: the classes differ, an argument is out of range, or the data does not fit.
        UnreadableImageError: a file cannot be read.
    """
    check_pair(train, val)
    schedule = schedule or Schedule()
    settings = TokenSettings(size, out_indices, out_norm)
    step = counting(progress, len(train) + len(val))
    channels = backbone.token_channels * len(settings.chosen_blocks(backbone))
    row_bytes = HALF_BYTES * (channels + len(train.classes))
    limit = bounded(per_image, cache_bytes // row_bytes, len(train))
    tokens, shares = collect_patches(
        backbone, train, settings, limit, schedule.seed, step, torch.float16
    )
    _check_half(tokens)
    heads = train_heads(tokens, shares, schedule)
    del tokens, shares
    found = _evaluate(backbone, val, settings, heads, keep, step)
    by_rate = dict(zip(schedule.learning_rates, found, strict=True))
    best = max(by_rate, key=lambda rate: by_rate[rate].miou)
    _announce_edge(best, schedule.learning_rates)
    values = {part.name: getattr(by_rate[best], part.name) for part in fields(Segmentation)}
    return LinearSegmentation(
        **values,
        learning_rate=best,
        miou_of_rates={rate: result.miou for rate, result in by_rate.items()},
    )


@torch.enable_grad()
def train_heads(tokens: Tensor, shares: Tensor, schedule: Schedule) -> LinearHeads:
    """Linear classifiers of tokens.

    They share nothing but the batches: each is what a training with its learning rate alone gives.

    Args:
        tokens: ``(M, C)`` of any float type.
        shares: ``(M, K)``, the target's probabilities.
        schedule: of the training.

    Returns:
        The heads in evaluation mode.

    Raises:
        ValueError: fewer than two tokens.
    """
    if len(tokens) < 2:
        raise ValueError(f"there are {len(tokens)} labelled patches; batch norm needs two or more")
    rates = schedule.learning_rates
    heads = LinearHeads(tokens.shape[1], shares.shape[1], len(rates), schedule.seed)
    heads.to(tokens.device).train()
    groups = [
        {"params": layer.parameters(), "lr": rate}
        for layer, rate in zip(heads.layers, rates, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
    size = min(schedule.batch_size, len(tokens))
    steps = schedule.epochs * (len(tokens) // size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(schedule.seed)
    for _ in range(schedule.epochs):
        order = torch.randperm(len(tokens), generator=generator).to(tokens.device)
        # The last, smaller batch is left out: its statistics would be noisier.
        for rows in order.split(size)[: len(tokens) // size]:
            scores, target = heads(tokens[rows].float()), shares[rows].float()
            loss = torch.stack([F.cross_entropy(own, target) for own in scores]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return heads.eval()


@torch.no_grad()
def _evaluate(
    backbone: ViT,
    val: LabelledImages,
    settings: TokenSettings,
    heads: LinearHeads,
    keep: Collection[int],
    step: Callable[[], None],
) -> list[Segmentation]:
    """The figures of each classifier."""
    count = len(val.classes)
    totals = torch.zeros(len(heads.layers), count, count, dtype=torch.long)
    kept: list[dict[int, NDArray]] = [{} for _ in heads.layers]
    for index, image in enumerate(image_tokens(backbone, val, settings)):
        size = (image.labels.shape[0], image.labels.shape[1])
        for row, scores in enumerate(heads(image.tokens.float())):
            predicted = upsampled_argmax(scores.T.unflatten(1, image.grid), size)
            totals[row] += confusion_matrix(predicted, image.labels, count).cpu()
            if index in keep:
                kept[row][index] = predicted.cpu().numpy()
        step()
    return [
        replace(segmentation_scores(total, val.classes), predictions=own)
        for total, own in zip(totals, kept, strict=True)
    ]


def _check_half(tokens: Tensor) -> None:
    if not tokens.isfinite().all():
        raise ValueError(
            "tokens are too large for half precision (above 65504), in which they are kept; take them after the final "
            "norm (out_norm=True)"
        )


def _announce_edge(best: float, rates: Sequence[float]) -> None:
    if len(rates) > 1 and best in (min(rates), max(rates)):
        edge = "smallest" if best == min(rates) else "largest"
        print_log(
            f"linear segmentation: the best learning rate, {best:g}, is the {edge} of those tried; try more beyond it",
            "current",
            logging.WARNING,
        )
