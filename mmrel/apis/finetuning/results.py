"""What a fine-tuning gave: its figures, pictures of predictions beside annotations, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmrel.evaluation.images import read_image
from mmrel.utils.errors import UsageError
from mmrel.visualization.predictions import (
    Panel,
    annotated_instances,
    class_map,
    draw_rows,
    predict,
    predicted_instances,
    run_config,
)
from mmrel.visualization.records import read_records, series
from mmrel.visualization.segmentations import SegmentedImage, draw_segmentations

METRICS = {
    "coco/bbox_mAP": "box AP",
    "coco/bbox_mAP_50": "box AP at IoU 0.5",
    "coco/segm_mAP": "mask AP",
    "coco/segm_mAP_50": "mask AP at IoU 0.5",
    "mIoU": "mean IoU, %",
    "aAcc": "pixels right, %",
}
MAX_PICTURES = 6
MIN_SCORE, NUM_GUESSES = 0.3, 3


@dataclass(frozen=True)
class Result:
    """Figures and files of a finished run.

    Attributes:
        config: what the run used, with nothing inherited.
        checkpoint: the best of its checkpoints by the evaluation.
        pictures: the figure.
        lines: of the table of figures.
    """

    config: Path
    checkpoint: Path
    pictures: Path
    lines: tuple[str, ...]


def collect(work_dir: Path, task: str) -> Result:
    """Read a run's figures and draw its pictures.

    Args:
        work_dir: of the run.
        task: ``'detect'`` or ``'segment'``.

    Raises:
        UsageError: the run left no checkpoint.
    """
    config, checkpoint = work_dir / f"{task}.py", best_checkpoint(work_dir)
    pictures = work_dir / "predictions.png"
    draw_pictures(run_config(work_dir, config.name), checkpoint, pictures, task)
    return Result(config, checkpoint, pictures, tuple(figures(work_dir)))


def best_checkpoint(work_dir: Path) -> Path:
    """The best checkpoint, else the newest."""
    found = sorted(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    found = found or sorted(work_dir.glob("iter_*.pth"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UsageError(
            f"{work_dir} holds no checkpoint: the run was stopped before its first. Start it again."
        )
    return found[-1]


def figures(work_dir: Path) -> list[str]:
    """One line per metric: its best and its last value, and after how many iterations."""
    records = read_records(work_dir)
    lines = []
    for key, name in METRICS.items():
        values = series(records, key)
        values = values[np.isfinite(values[:, 1])]
        if len(values):
            best = values[np.argmax(values[:, 1])]
            last = values[-1]
            lines.append(
                f"{name:<20} best {best[1]:.3f} (iteration {best[0]:.0f}), last {last[1]:.3f} (iteration {last[0]:.0f})"
            )
    return lines


def draw_pictures(config: Any, checkpoint: Path, path: Path, task: str) -> None:
    """Predictions beside annotations for up to six validation images, spread evenly.

    Args:
        config: of the run.
        checkpoint: weights.
        path: PNG file to write.
        task: ``'detect'`` or ``'segment'``.
    """
    metainfo = config.val_dataloader.dataset.metainfo
    classes, palette = list(metainfo.classes), [tuple(color) for color in metainfo.palette]
    samples = predict(config, checkpoint, _chosen(config))
    if task == "segment":
        draw_segmentations([_segmented(s) for s in samples], classes, path, palette)
        return
    rows = [_panels(sample) for sample in samples]
    titles = ("annotation", f"prediction: {MIN_SCORE} or more, or the best {NUM_GUESSES}")
    tallest = max(row[0].image.shape[0] / row[0].image.shape[1] for row in rows)
    draw_rows(titles, rows, classes, palette, path, row_height=3.6 * min(tallest, 1.5))


def _chosen(config: Any) -> list[int]:
    from mmengine.registry import DATASETS, DefaultScope

    with DefaultScope.overwrite_default_scope(config.default_scope):
        count = len(DATASETS.build(config.val_dataloader.dataset))
    return np.linspace(0, count - 1, min(count, MAX_PICTURES)).round().astype(int).tolist()


def _panels(sample: Any) -> Sequence[Panel]:
    image = read_image(sample.img_path)
    # Where nothing is confident yet, the best guesses show what is being learnt.
    found = predicted_instances(sample, MIN_SCORE) or predicted_instances(sample, 0.0)[:NUM_GUESSES]
    return Panel(image, annotated_instances(sample)), Panel(image, found)


def _segmented(sample: Any) -> SegmentedImage:
    truth = class_map(sample.gt_sem_seg)
    truth[truth == 255] = -1
    return SegmentedImage(
        read_image(sample.img_path), truth, {"prediction": class_map(sample.pred_sem_seg)}
    )


def next_steps(result: Result, task: str) -> str:
    """Commands that a user goes on with."""
    module, name = ("mmdet", "DetInferencer") if task == "detect" else ("mmseg", "MMSegInferencer")
    arguments = f"'{result.config}', '{result.checkpoint}'"
    output = "out_dir='predicted'"
    return (
        "Predict on other photos:\n"
        f"  python -c \"import mmrel; from {module}.apis import {name}; {name}({arguments})('PHOTO.jpg', {output})\"\n"
        "Measure again:\n"
        f"  python tools/test.py {result.config} {result.checkpoint}\n"
        "What the backbone is worth, on the same data and schedule:\n"
        f"  python tools/finetune.py {task} ... --init random --work-dir {result.config.parent}_random"
    )
