"""Patch tokens of labelled images, and what each patch shows: what frozen dense evaluations share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from mmrel.evaluation.images import ByteImage, fit_to_patches, normalised_images
from mmrel.evaluation.loading import evaluation_mode
from mmrel.evaluation.mask_files import Labels
from mmrel.evaluation.masks import LabelledImages
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TokenSettings:
    """How tokens are taken.

    Attributes:
        size: short side of the images in pixels, rounded to whole patches; ``None``: their own.
        out_indices: numbers of the blocks, ascending, negative ones from the end; their tokens are concatenated.
            ``None``: the backbone's ``out_indices``, which is the last block unless it was loaded with others.
        out_norm: whether they pass the final norm; ``None``: the backbone's ``out_norm``, which is true unless it was
            loaded otherwise.
        batch_size: images of one size that are computed at once.
    """

    size: int | None = None
    out_indices: Sequence[int] | None = None
    out_norm: bool | None = None
    batch_size: int = 16

    def chosen_blocks(self, backbone: ViT) -> tuple[int, ...]:
        """The blocks whose tokens are taken."""
        own = getattr(backbone, "out_indices", None)
        return tuple(self.out_indices if self.out_indices is not None else own or (-1,))

    def chosen_norm(self, backbone: ViT) -> bool:
        """Whether the tokens pass the final norm."""
        own = getattr(backbone, "out_norm", None)
        return self.out_norm if self.out_norm is not None else own is not False


@dataclass(frozen=True)
class ImageTokens:
    """One image.

    Attributes:
        tokens: float ``(N, C)``, row-major.
        grid: (rows, cols), rows * cols = N.
        labels: long ``(H, W)`` of the image at its own size; -1 for ignored pixels.
    """

    tokens: Tensor
    grid: tuple[int, int]
    labels: Tensor


def image_tokens(
    backbone: ViT, data: LabelledImages, settings: TokenSettings
) -> Iterator[ImageTokens]:
    """Tokens and labels of each image, in order.

    Args:
        backbone: on the device that shall compute.
        data: images with masks.
        settings: which tokens.

    Raises:
        ValueError: an image is smaller than a patch, a mask does not fit, or a token is not finite.
        UnreadableImageError: a file cannot be read.
    """
    waiting: list[tuple[ByteImage, Labels]] = []
    done = 0
    for index in range(len(data)):
        image, labels = data.read(index)
        try:
            fitted = fit_to_patches(image, backbone.patch_size, settings.size)
        except ValueError as error:
            raise ValueError(f"{data[index][0]}: {error}") from error
        full = len(waiting) == settings.batch_size
        if waiting and (full or waiting[0][0].shape != fitted.shape):
            yield from _batch(backbone, waiting, data, done, settings)
            waiting, done = [], index
        waiting.append((fitted, labels))
    yield from _batch(backbone, waiting, data, done, settings)


def _batch(
    backbone: ViT,
    batch: list[tuple[ByteImage, Labels]],
    data: LabelledImages,
    first: int,
    settings: TokenSettings,
) -> Iterator[ImageTokens]:
    images = normalised_images([image for image, _ in batch], backbone)
    blocks, norm = settings.chosen_blocks(backbone), settings.chosen_norm(backbone)
    with evaluation_mode(backbone), torch.no_grad():
        views = intermediate_tokens(backbone, images.to(backbone.pos_embed.dtype), blocks, norm)
        tokens = torch.cat([view.patches for view in views], dim=-1)
    for row, (own, (_, labels)) in enumerate(zip(tokens, batch, strict=True)):
        if not own.isfinite().all():
            raise ValueError(
                f"tokens of {data[first + row][0]} are not finite; the network's weights are broken: look at its losses"
            )
        yield ImageTokens(own, views[0].grid, torch.from_numpy(labels).to(own.device))


def patch_shares(
    labels: Tensor, grid: tuple[int, int], patch_size: int, num_classes: int
) -> tuple[Tensor, Tensor]:
    """What share of each patch's labelled pixels each class has.

    A majority vote would lose what is thinner than a patch and call a border one thing; shares are what the pixels
    under a patch say, and a vote of shares estimates them.

    Args:
        labels: long ``(H, W)``, -1 for ignored pixels; brought to the patches' pixels by nearest neighbour.
        grid: (rows, cols) of the patches.
        patch_size: side of a patch in pixels.
        num_classes: K.

    Returns:
        float32 ``(rows * cols, K)``, rows summing to 1, or 0 where no pixel is labelled; and bool ``(rows * cols,)``:
        more than half of the pixels are labelled.
    """
    rows, cols = grid
    size = rows * patch_size, cols * patch_size
    if labels.shape != size:
        labels = F.interpolate(labels[None, None].float(), size=size, mode="nearest-exact")[0, 0]
    pixels = labels.long().reshape(rows, patch_size, cols, patch_size).transpose(1, 2).flatten(2)
    pixels = pixels.flatten(0, 1)
    # Ignored pixels fall into column 0, which is then dropped.
    counts = pixels.new_zeros(len(pixels), num_classes + 1, dtype=torch.float32)
    counts.scatter_add_(1, pixels + 1, torch.ones_like(pixels, dtype=torch.float32))
    counts = counts[:, 1:]
    labelled = counts.sum(dim=1)
    return counts / labelled.clamp(min=1)[:, None], labelled > patch_size**2 / 2


def collect_patches(
    backbone: ViT,
    data: LabelledImages,
    settings: TokenSettings,
    per_image: int,
    seed: int,
    step: Callable[[], None],
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Tokens and class shares of patches of which most pixels are labelled.

    Args:
        backbone: on the device that shall compute.
        data: images with masks.
        settings: which tokens.
        per_image: at most so many patches of each image, drawn at random.
        seed: of that drawing.
        step: is called after each image.
        dtype: in which both are kept.

    Returns:
        ``(M, C)`` and ``(M, K)``, on the backbone's device.

    Raises:
        ValueError: as :func:`image_tokens`, or no patch is labelled.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens, shares, available = [], [], 0
    for image in image_tokens(backbone, data, settings):
        own, labelled = patch_shares(
            image.labels, image.grid, backbone.patch_size, len(data.classes)
        )
        kept = labelled.nonzero().squeeze(1)
        available += len(kept)
        if len(kept) > per_image:
            drawn = torch.randperm(len(kept), generator=generator)[:per_image].sort().values
            kept = kept[drawn.to(kept.device)]
        tokens.append(image.tokens[kept].to(dtype))
        shares.append(own[kept].to(dtype))
        step()
    if not available:
        raise ValueError(
            f"in none of the {len(data)} training images has a patch of {backbone.patch_size} pixels a labelled "
            "majority; check the masks and ignore_index"
        )
    count = sum(map(len, tokens))
    drawn_from = "" if count == available else f", drawn from {available}"
    print_log(f"{count} labelled patches of {len(data)} training images{drawn_from}", "current")
    return torch.cat(tokens), torch.cat(shares)


def check_pair(train: LabelledImages, val: LabelledImages) -> None:
    """Raise ``ValueError`` unless a label means the same in both sets."""
    if train.classes != val.classes:
        unknown = [name for name in val.classes if name not in train.classes]
        raise ValueError(
            f"the training images have {len(train.classes)} classes, the validation images {len(val.classes)}"
            f"{': unknown in training are ' + ', '.join(unknown[:8]) if unknown else ', in another order'}; build the "
            "validation set with classes=train.classes"
        )


def counting(progress: Progress | None, total: int) -> Callable[[], None]:
    """A function to call after each image; nothing done is reported at once, then each per cent that is reached."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None and 100 * done // total > 100 * (done - 1) // total:
            progress(done, total)

    if progress is not None:
        progress(0, total)
    return step


def bounded(per_image: int | None, limit: int, images: int) -> int:
    """Patches to take of each image, so that there are not more than ``limit``, but one of each.

    Raises:
        ValueError: ``per_image`` is 0 or negative.
    """
    if per_image is not None and per_image < 1:
        raise ValueError(f"per_image is {per_image}; give 1 or more, or None for as many as fit")
    fitting = max(1, limit // images)
    return fitting if per_image is None else min(per_image, fitting)
