"""What SiT (arXiv 2104.03602) restores: a clean crop, what the student sees of it, and what it makes of that."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmrel.evaluation.loading import evaluation_mode
from mmrel.structures import NetworkTokens, ViewBatch
from mmrel.visualization.style import figure, hide_axes

ByteImages = NDArray[np.uint8]
COLUMNS = ("input", "corrupted", "reconstruction", "input, corrupted pixels restored")
PANEL = 1.9
"""Side of one picture in inches."""


@dataclass(frozen=True)
class Reconstructions:
    """Crops of n images as RGB pictures.

    Attributes:
        clean: uint8 ``(n, H, W, 3)``, the target.
        corrupted: uint8 ``(n, H, W, 3)``, what the student sees.
        predicted: uint8 ``(n, H, W, 3)``, what the decoder makes of it, everywhere.
        mask: bool ``(n, H, W)``, true where corrupted.
        error: mean absolute difference of prediction and target over all corrupted values, in normalised units, as
            the loss counts it.
        baseline: the same for the constant prediction 0, the mean colour.
    """

    clean: ByteImages
    corrupted: ByteImages
    predicted: ByteImages
    mask: NDArray[np.bool_]
    error: float
    baseline: float

    @property
    def restored(self) -> ByteImages:
        """The clean crops with only their corrupted pixels predicted."""
        return np.where(self.mask[..., None], self.predicted, self.clean)


@torch.no_grad()
def reconstruct(model: Any, views: ViewBatch) -> Reconstructions:
    """Let the student of a SiT model restore the first view of every image of a batch.

    It runs in evaluation mode, in which stochastic depth is off, and is left as it was.

    Args:
        model: ``mmrel.SiT``.
        views: a batch that ``mmrel.CorruptingViewPreprocessor`` prepared.

    Raises:
        ValueError: a model without pixel decoder, or a clean batch.
    """
    if "decoder" not in model.neck or views.corrupted_crops is None or views.corruption is None:
        raise ValueError(
            f"{type(model).__name__} has the necks {sorted(model.neck)} and the batch is "
            f"{'clean' if views.corruption is None else 'corrupted'}; wanted the decoder of mmrel.SiT, and a batch "
            "with corruption from mmrel.CorruptingViewPreprocessor"
        )
    first = slice(0, views.batch_size)
    with evaluation_mode(model):
        tokens = NetworkTokens(model.backbone(views.corrupted_crops[first]))
        predicted = model.neck.decoder.student(tokens, views)
    clean = views.global_crops[first]
    mask = views.corruption[first]
    values = mask[:, None].expand_as(clean)
    return Reconstructions(
        clean=_pictures(clean, model.data_preprocessor),
        corrupted=_pictures(views.corrupted_crops[first], model.data_preprocessor),
        predicted=_pictures(predicted, model.data_preprocessor),
        mask=mask.cpu().numpy(),
        error=float((predicted - clean)[values].abs().mean()),
        baseline=float(clean[values].abs().mean()),
    )


def draw_reconstructions(found: Reconstructions, path: Path) -> None:
    """Write the figure: a row per image, with the columns of ``COLUMNS``.

    Args:
        found: of n images.
        path: PNG file to write.
    """
    rows = list(zip(found.clean, found.corrupted, found.predicted, found.restored, strict=True))
    with figure(path, PANEL * len(COLUMNS), PANEL * len(rows) + 0.45) as canvas:
        axes = canvas.subplots(len(rows), len(COLUMNS), squeeze=False)
        for line, pictures in zip(axes, rows, strict=True):
            for axis, picture in zip(line, pictures, strict=True):
                hide_axes(axis)
                axis.imshow(picture)
        for axis, title in zip(axes[0], COLUMNS, strict=True):
            axis.set_title(title, fontsize=8)
        canvas.supxlabel(
            f"mean absolute error of corrupted values {found.error:.3f}, of the mean colour {found.baseline:.3f} "
            "(normalised units)",
            fontsize=8,
        )


def _pictures(crops: Tensor, preprocessor: Any) -> ByteImages:
    """Normalised crops ``(n, 3, H, W)`` as uint8 ``(n, H, W, 3)``."""
    unit = crops.float() * preprocessor.std + preprocessor.mean
    pixels = unit.clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
