"""Predictions of detectors and segmentors beside the ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import load_checkpoint
from numpy.typing import NDArray
from torch import nn

from mmrel.utils.config import load_config
from mmrel.visualization.style import figure, hide_axes

ByteImage = NDArray[np.uint8]
Color = tuple[int, int, int]
TINT = 0.55
"""Weight of an instance's colour over the image."""

IGNORED = 255
"""Class of pixels that no annotation covers."""


@dataclass(frozen=True)
class Instance:
    """One object, annotated or predicted.

    Attributes:
        label: index of its class.
        box: (x1, y1, x2, y2) in pixels.
        mask: bool ``(H, W)``.
        score: confidence, or ``None`` for an annotation.
    """

    label: int
    box: tuple[float, float, float, float]
    mask: NDArray[np.bool_]
    score: float | None = None


@dataclass(frozen=True)
class Panel:
    """One picture of a row: an image with instances, or with a class per pixel.

    Attributes:
        image: uint8 RGB ``(H, W, 3)``.
        instances: drawn over the image.
        labels: ``(H, W)``, class index per pixel, 255 for none; drawn instead of the image.
    """

    image: ByteImage
    instances: tuple[Instance, ...] = ()
    labels: NDArray[np.integer] | None = None


def run_config(run_dir: Path, name: str) -> Config:
    """The config that a run wrote into its folder, with everything set on the command line.

    Args:
        run_dir: the run's work dir.
        name: file name of the config that it was started with.

    Raises:
        FileNotFoundError: the run left no config.
    """
    path = run_dir / name
    if not path.is_file():
        raise FileNotFoundError(f"There is no '{path}'; the run did not start. Run it again.")
    return load_config(str(path))


@torch.no_grad()
def predict(config: Config, checkpoint: Path, indices: Sequence[int]) -> list[Any]:
    """Run a trained detector or segmentor on images of its validation set.

    Args:
        config: of the run; its host library is taken from ``default_scope``.
        checkpoint: weights.
        indices: positions in the validation set.

    Returns:
        The host's data samples, which hold prediction and annotation.
    """
    with DefaultScope.overwrite_default_scope(config.default_scope):
        dataset = DATASETS.build(config.val_dataloader.dataset)
        model: nn.Module = MODELS.build(config.model)
        load_checkpoint(model, str(checkpoint), map_location="cpu", logger="silent")
        model.eval()
        step: Any = model.test_step
        items = [dataset[index] for index in indices]
        batches = [{k: [v] for k, v in item.items()} for item in items]
        return [step(batch)[0] for batch in batches]


def annotated_instances(sample: Any) -> tuple[Instance, ...]:
    """The annotation of one of mmdet's data samples."""
    truth = sample.gt_instances
    boxes = _boxes(truth.bboxes)
    masks = (
        truth.masks.to_tensor(torch.bool, "cpu").numpy()
        if "masks" in truth
        else _no_masks(sample, len(boxes))
    )
    return tuple(map(Instance, truth.labels.tolist(), boxes, masks))


def predicted_instances(sample: Any, min_score: float) -> tuple[Instance, ...]:
    """The confident predictions of one of mmdet's data samples, best first.

    Args:
        sample: after ``test_step``.
        min_score: least confidence.
    """
    found = sample.pred_instances.cpu()
    found = found[found.scores >= min_score]
    masks = (
        np.asarray(found.masks, dtype=bool) if "masks" in found else _no_masks(sample, len(found))
    )
    return tuple(
        map(Instance, found.labels.tolist(), _boxes(found.bboxes), masks, found.scores.tolist())
    )


def _no_masks(sample: Any, count: int) -> NDArray[np.bool_]:
    """What a detector of boxes alone gives as masks."""
    return np.zeros((count, *sample.ori_shape), dtype=bool)


def _boxes(boxes: Any) -> list[tuple[float, float, float, float]]:
    return [tuple(row) for row in getattr(boxes, "tensor", boxes).tolist()]


def class_map(data: Any) -> NDArray[np.int64]:
    """``(H, W)`` classes of one of mmseg's pixel maps."""
    return data.data.squeeze(0).cpu().numpy().astype(np.int64)


def draw_rows(
    columns: Sequence[str],
    rows: Sequence[Sequence[Panel]],
    classes: Sequence[str],
    palette: Sequence[Color],
    path: Path,
    row_height: float = 2.42,
) -> None:
    """Write a grid of pictures with a legend of the classes that occur.

    Args:
        columns: their titles.
        rows: one panel per column.
        classes: names.
        palette: colour per class.
        path: PNG file to write.
        row_height: of a row, in inches.
    """
    used = sorted({label for row in rows for panel in row for label in _labels(panel)})
    with figure(path, 9.6, row_height * len(rows) + 0.55) as canvas:
        axes = canvas.subplots(len(rows), len(columns), squeeze=False)
        for line, panels in zip(axes, rows, strict=True):
            for axis, panel in zip(line, panels, strict=True):
                _draw_panel(axis, panel, classes, palette)
        for axis, title in zip(axes[0], columns, strict=True):
            axis.set_title(title, fontweight="bold")
        handles = [Patch(color=_unit(palette[k]), label=classes[k]) for k in used]
        if handles:
            canvas.legend(handles=handles, loc="outside lower center", ncols=min(10, len(handles)))


def _labels(panel: Panel) -> set[int]:
    labels = {instance.label for instance in panel.instances}
    if panel.labels is not None:
        labels |= set(np.unique(panel.labels).tolist()) - {IGNORED}
    return labels


def _unit(color: Color) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255


def _draw_panel(axis: Axes, panel: Panel, classes: Sequence[str], palette: Sequence[Color]) -> None:
    hide_axes(axis)
    if panel.labels is not None:
        axis.imshow(paint_labels(panel.labels, palette))
        return
    axis.imshow(paint_instances(panel.image, panel.instances, palette))
    for instance in panel.instances:
        _draw_box(axis, instance, classes, _unit(palette[instance.label]), panel.image.shape)


def paint_labels(labels: NDArray[np.integer], palette: Sequence[Color]) -> ByteImage:
    """Colours ``(H, W, 3)`` of classes ``(H, W)``; white where the class is 255 or -1 and no palette has it."""
    table = np.full((max(256, len(palette) + 1), 3), 255, dtype=np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def paint_instances(
    image: ByteImage, instances: Sequence[Instance], palette: Sequence[Color]
) -> ByteImage:
    """The image with each instance's mask tinted in its class colour, the best on top."""
    painted = image.astype(np.float32)
    for instance in reversed(instances):
        color = np.array(palette[instance.label], dtype=np.float32)
        mask = instance.mask
        painted[mask] = (1 - TINT) * image[mask] + TINT * color
    return painted.round().astype(np.uint8)


def _draw_box(
    axis: Axes,
    instance: Instance,
    classes: Sequence[str],
    color: tuple[float, float, float],
    shape: tuple[int, ...],
) -> None:
    x1, y1, x2, y2 = instance.box
    axis.add_patch(
        Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=color, lw=1.3)
    )
    text = classes[instance.label]
    if instance.score is not None:
        text += f" {instance.score:.2f}"
    axis.text(
        min(max(x1, 0), shape[1] - 1),
        max(y1, 7.0),
        text,
        fontsize=6.5,
        color="white",
        va="bottom",
        bbox=dict(facecolor=color, edgecolor="none", pad=0.9, alpha=0.9),
        clip_on=True,
    )
