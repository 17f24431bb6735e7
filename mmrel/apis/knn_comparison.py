"""k-NN of several backbones side by side, beside random weights and thumbnails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmrel.apis.backbone import get_backbone
from mmrel.apis.baselines import random_like
from mmrel.apis.knn import KNNResult, evaluate_knn, evaluate_thumbnails
from mmrel.models.backbones import ViT
from mmrel.utils.text import listed

RANDOM = "random weights"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: of the checkpoint's file, or of the baseline.
        weights: where they come from, as the log says.
        result: of the k-NN.
    """

    name: str
    weights: str
    result: KNNResult

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"name": self.name, "weights": self.weights, **self.result.as_dict()}


def compare_knn(
    checkpoints: Sequence[str | Path],
    train: str | Path,
    val: str | Path | None = None,
    weights: Mapping[str, Any] | None = None,
    readout: Mapping[str, Any] | None = None,
    device: str = "cpu",
    random: bool = False,
    thumbnails: bool = False,
    **options: Any,
) -> list[Row]:
    """Evaluate checkpoints one after the other.

    Args:
        checkpoints: what ``get_backbone`` takes.
        train: as for :func:`mmrel.apis.knn.evaluate_knn`, also ``val`` and the errors.
        val: the images to classify.
        weights: options of ``get_backbone``.
        readout: ``feature``, ``out_indices``, ``out_norm``, ``resize`` and ``crop`` of ``evaluate_knn``.
        device: to compute on.
        random: also random weights, once of each network that differs.
        thumbnails: also 16x16 thumbnails.
        **options: others of ``evaluate_knn``, which the baselines share: ``k``, ``temperature``, ``workers`` ...
    """
    rows: list[Row] = []
    baselines: dict[tuple[Any, ...], Row] = {}
    for name, checkpoint in zip(_names(checkpoints), checkpoints, strict=True):
        backbone = get_backbone(checkpoint, **(weights or {})).to(device)
        result = evaluate_knn(backbone, train, val, **(readout or {}), **options)
        rows.append(Row(name, backbone.provenance or f"{checkpoint}: {RANDOM}", result))
        kind = _kind(backbone)
        if random and kind not in baselines:
            title = RANDOM if len(checkpoints) == 1 else f"{RANDOM} as {name}"
            print_log(f"{title}: freshly drawn, seed 0", "current")
            result = evaluate_knn(random_like(backbone), train, val, **(readout or {}), **options)
            baselines[kind] = Row(title, "freshly drawn, seed 0", result)
    rows += baselines.values()
    if thumbnails:
        print_log("thumbnails", "current")
        result = evaluate_thumbnails(train, val, **options)
        rows.append(Row(result.feature, "pixels, their mean subtracted", result))
    return rows


def describe_rows(rows: Sequence[Row]) -> str:
    """A table of top-1 accuracies, with those of top-5 in brackets, as text."""
    first = rows[0].result
    asked = (
        f"each of {first.num_val} images by its nearest others in {first.train}"
        if first.val is None
        else f"{first.num_val} images of {first.val} by their nearest among {first.num_train} of {first.train}"
    )
    lines = [f"k-NN: {asked}; {first.num_classes} classes", "top-1 (top-5) in per cent", ""]
    width = max(len(row.name) for row in rows)
    features = max(len(row.result.feature) for row in rows)
    heads = "".join(f"{f'k = {k}':>16}" for k in first.top1)
    lines.append(f"{'':{width}}  {'feature':{features}}{heads}")
    for row in rows:
        top1, top5 = row.result.top1, row.result.top5
        figures = "".join(f"{f'{top1[k]:.2f} ({top5[k]:.2f})':>16}" for k in top1)
        lines.append(f"{row.name:{width}}  {row.result.feature:{features}}{figures}")
    if unreadable := sorted({path for row in rows for path in row.result.unreadable}):
        lines += ["", f"{len(unreadable)} unreadable file(s) left out: {listed(unreadable)}"]
    return "\n".join(lines)


def _names(checkpoints: Sequence[str | Path]) -> list[str]:
    """Names of the files, with their folders where two are alike."""
    short = [Path(checkpoint).name for checkpoint in checkpoints]
    return short if len(set(short)) == len(short) else list(map(str, checkpoints))


def _kind(backbone: ViT) -> tuple[Any, ...]:
    """What decides the features of random weights."""
    shapes = tuple((name, tuple(value.shape)) for name, value in backbone.state_dict().items())
    rules = backbone.use_pos_embed, backbone.pos_interpolation, backbone.final_norm
    return shapes, backbone.num_heads, backbone.normalization, rules
