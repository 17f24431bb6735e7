"""Fine-tuning from an arm's backbone: detection, segmentation, and classification with few labels."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evidence_arms import RANDOM
from evidence_run import ROOT, Run, is_done, train, write_json
from measure import commit

from mmrel.checkpoints.export import export_backbone
from mmrel.datasets.splits import draw_images, images_by_class
from mmrel.quickstart.plan import TASKS as DENSE
from mmrel.quickstart.plan import backbone_options, shorter_schedule
from mmrel.quickstart.results import MEASURES
from mmrel.utils import UsageError
from mmrel.utils.config import load_config
from mmrel.utils.files import write_text_atomically
from mmrel.utils.machine import machine
from mmrel.visualization.records import last_value, read_records

DENSE_ITERATIONS = 300
LABEL_STEPS, LABEL_BATCH = 500, 32
CLASSIFICATION = Path("configs/relvit/benchmarks/vit-tiny-p8_scenes.py")


PLACES = (
    "data_root",
    "model.backbone.init_cfg.checkpoint",
    "train_dataloader.dataset.ann_file",
)
"""Options that name files of this machine."""


@dataclass(frozen=True)
class Task:
    """What a backbone is fine-tuned for.

    Attributes:
        config: below the repository.
        layout: the data's folder that it reads.
        scalars: by judge, the scalar of the log and the factor that makes per cent of it.
        share: of the labels, for classification.
    """

    config: Path
    layout: str
    scalars: Mapping[str, tuple[str, float]]
    share: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def _dense(name: str) -> Task:
    """One of the quickstart's, with its measures by their judges' names."""
    config, layout = DENSE[name]
    scalars = {title.lower().replace(" ", "_"): own for title, own in MEASURES[name].items()}
    return Task(Path(config), layout, scalars, options=shorter_schedule(DENSE_ITERATIONS))


def _labels(per_cent: int) -> Task:
    scalars = {f"labels_{per_cent}": ("accuracy/top1", 1.0)}
    return Task(CLASSIFICATION, "classification", scalars, per_cent / 100)


TASKS = {
    **{name: _dense(name) for name in DENSE},
    **{f"labels-{per_cent}": _labels(per_cent) for per_cent in (100, 25, 10)},
}
"""By name on the command line."""


def finetune(run: Run, name: str) -> Path:
    """Fine-tune from the run's backbone, with the run's seed, and write ``<run>.<task>.json``.

    Raises:
        UsageError: there is no such task.
        FileNotFoundError: the run's pretraining is not there.
        RuntimeError: the training failed.
    """
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r}; choose from {', '.join(TASKS)}")
    task, file = TASKS[name], run.file.with_suffix(f".{name}.json")
    options = {"randomness.seed": run.seed, **backbone_settings(run), **task_options(run, task)}
    settings = {key: str(value) for key, value in options.items() if key not in PLACES}
    inputs: dict[str, Any] = {
        "arm": run.arm.name,
        "seed": run.seed,
        "task": name,
        "config": str(task.config),
        "options": settings,
    }
    if is_done(file, inputs):
        return file
    folder = run.folder / name
    start = time.monotonic()
    train(folder, task.config, options)
    records = read_records(folder)
    figures = {
        judge: factor * last_value(records, scalar)
        for judge, (scalar, factor) in task.scalars.items()
    }
    found = {"inputs": inputs, "figures": figures, "seconds": round(time.monotonic() - start, 1)}
    write_json(file, {**found, "commit": commit(), "machine": dict(machine())})
    return file


def backbone_settings(run: Run) -> dict[str, Any]:
    """Where the weights come from, and what the network has not."""
    settings = backbone_options(load_config(str(ROOT / run.arm.config)))
    if run.arm.name == RANDOM:
        return settings
    if not run.checkpoints:
        raise FileNotFoundError(f"{run.folder} holds no pretraining; run {run.arm.name} first")
    exported = run.folder / "backbone.pth"
    export_backbone(run.checkpoints[-1], exported, run.arm.network)
    return {**settings, "model.backbone.init_cfg.checkpoint": exported}


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
    listing = run.work_dir / run.dataset / f"labels-{round(100 * task.share)}.txt"
    write_text_atomically(listing, "\n".join(lines) + "\n")
    epochs = max(1, round(LABEL_STEPS * LABEL_BATCH / len(chosen)))
    return {
        **options,
        "train_dataloader.dataset.ann_file": listing,
        "train_dataloader.dataset.indices": None,
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": epochs,
    }
