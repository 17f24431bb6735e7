"""Fine-tuning from an arm's backbone: detection, segmentation, and classification with few labels."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evidence_arms import Arm
from evidence_data import LABEL_TASKS, DataSet
from evidence_run import Run, is_done, pretrain, train, write_json
from measure import commit

from mmrel.checkpoints.export import export_backbone
from mmrel.datasets.splits import draw_images, images_by_class
from mmrel.quickstart.plan import backbone_options, shorter_schedule
from mmrel.utils import UsageError
from mmrel.utils.files import write_text_atomically
from mmrel.utils.machine import machine
from mmrel.visualization.records import last_value, read_records

DENSE_ITERATIONS = 300
LABEL_STEPS, LABEL_BATCH = 500, 32

PLACES = ("data_root", "train_dataloader.dataset.ann_file")
"""Options that name files of this machine."""


@dataclass(frozen=True)
class Task:
    """What a backbone is fine-tuned for.

    Attributes:
        config: below the repository; ``None``: the arm's classifier.
        layout: the data's folder that it reads.
        scalars: by judge, the scalar of the log and the factor that makes per cent of it.
        share: of the labels, for classification.
    """

    config: str | None
    layout: str
    scalars: Mapping[str, tuple[str, float]]
    share: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def _labels(per_cent: int) -> Task:
    scalars = {f"labels_{per_cent}": ("accuracy/top1", 1.0)}
    return Task(None, "classification", scalars, per_cent / 100)


TASKS = {
    "mask-rcnn": Task(
        "configs/detection/mask-rcnn_vit-tiny-p8_scenes.py",
        "detection",
        {"box_ap": ("coco/bbox_mAP", 100.0), "mask_ap": ("coco/segm_mAP", 100.0)},
        options=shorter_schedule(DENSE_ITERATIONS),
    ),
    "upernet": Task(
        "configs/segmentation/vit-tiny-p8_upernet_scenes.py",
        "segmentation",
        {"miou": ("mIoU", 1.0)},
        options=shorter_schedule(DENSE_ITERATIONS),
    ),
    **{name: _labels(share) for name, share in LABEL_TASKS.items()},
}
"""By name on the command line."""


def find_task(name: str, arm: Arm, dataset: DataSet) -> Task:
    """The task of that name.

    Raises:
        UsageError: there is none, or none of that arm or on that data set.
    """
    if not dataset.tasks:
        raise UsageError(f"there are no tasks on {dataset.name}; leave --tasks out")
    if name not in dataset.tasks:
        known = ", ".join(dataset.tasks)
        raise UsageError(f"there is no task {name!r} on {dataset.name}; choose from {known}")
    if not arm.judged and TASKS[name].share is None:
        raise UsageError(f"{arm.name} has no backbone of its own; its tasks are those with labels")
    return TASKS[name]


def finetune(run: Run, name: str) -> Path:
    """Fine-tune from the run's backbone, with the run's seed, and write ``<run>.<task>.json``.

    Where the pretraining is not there, or not to its end, it is run first.

    Raises:
        UsageError: there is no such task, or none of the arm or on the data set.
        RuntimeError: a training failed.
    """
    task, file = find_task(name, run.arm, run.dataset), run.file.with_suffix(f".{name}.json")
    config = Path(task.config or run.arm.classifier)
    options = {
        "randomness.seed": run.seed,
        **backbone_options(run.config),
        **task_options(run, task),
    }
    settings = {key: str(value) for key, value in options.items() if key not in PLACES}
    inputs: dict[str, Any] = {
        "arm": run.arm.name,
        "seed": run.seed,
        "task": name,
        "config": str(config),
        "options": settings,
    }
    if is_done(file, inputs):
        return file
    if run.arm.trained:
        options["model.backbone.init_cfg.checkpoint"] = pretrained_backbone(run)
    folder = run.folder / name
    start = time.monotonic()
    train(folder, config, options)
    records = read_records(folder)
    figures = {
        judge: factor * last_value(records, scalar)
        for judge, (scalar, factor) in task.scalars.items()
    }
    found = {"inputs": inputs, "figures": figures, "seconds": round(time.monotonic() - start, 1)}
    write_json(file, {**found, "commit": commit(), "machine": dict(machine())})
    return file


def pretrained_backbone(run: Run) -> Path:
    """The run's exported backbone; its pretraining is run first where it is not there to its end."""
    exported = run.folder / "backbone.pth"
    if not exported.is_file():
        pretrain(run)
        export_backbone(run.checkpoints[-1], exported, run.arm.network)
    return exported


def task_options(run: Run, task: Task) -> dict[str, Any]:
    """Data and length."""
    options: dict[str, Any] = {"data_root": run.data / task.layout, **task.options}
    if task.share is None:
        return options
    folder = run.data / task.layout / "train"
    classes = images_by_class(folder)
    chosen = draw_images(classes, fraction=task.share, seed=0)
    numbers = {name: number for number, name in enumerate(sorted(classes))}
    lines = [f"{image} {numbers[image.split('/')[0]]}" for image in chosen]
    listing = run.work_dir / run.dataset.name / f"labels-{round(100 * task.share)}.txt"
    write_text_atomically(listing, "\n".join(lines) + "\n")
    epochs = max(1, round(LABEL_STEPS * LABEL_BATCH / len(chosen)))
    return {
        **options,
        **run.dataset.classifier,
        "train_dataloader.dataset.ann_file": listing,
        "train_dataloader.dataset.indices": None,
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": epochs,
    }
