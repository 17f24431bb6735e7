"""One run of one arm: pretraining, judges, and the JSON file that keeps what came out."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from evidence_arms import RANDOM, Arm
from evidence_data import DataSet
from evidence_judges import ALONG_THE_RUN, judge, judge_baselines
from evidence_options import config_of, options_of
from evidence_pictures import keep_pictures
from measure import commit

from mmrel.apis.backbone import get_backbone
from mmrel.apis.baselines import random_like
from mmrel.quickstart.environment import process_environment
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.device import chosen_device, emulates
from mmrel.utils.files import read_json_object, write_text_atomically
from mmrel.utils.machine import machine
from mmrel.utils.safetensors_file import save_weights
from mmrel.visualization.records import read_records, series

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evidence"
SHOWN_SEED = 0
"""Whose pictures are kept."""
VERSION = 1
"""Raised when the same arm and seed would give other figures than before."""
SCALARS = (
    "knn/top1_k20",
    "knn/patch_miou",
    "knn/cosine_within_image",
    "knn/share_between_images",
    "knn/effective_rank",
    "stat/spatial_of_uniform",
    "stat/channel_of_uniform",
)
"""What is kept of a run's log, where it has it."""


@dataclass(frozen=True)
class Run:
    """An arm with a seed, on some data.

    Attributes:
        arm: which.
        seed: of the weights, the order of the images and their augmentation.
        data: the folder that the data set was made in.
        dataset: which.
        work_dir: checkpoints, logs and pictures of all runs.
        results: JSON files of all runs.
    """

    arm: Arm
    seed: int
    data: Path
    dataset: DataSet
    work_dir: Path
    results: Path = RESULTS

    @property
    def name(self) -> str:
        """Of the run's folder and file."""
        return f"{self.arm.name}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return self.work_dir / self.dataset.name / self.name

    @property
    def file(self) -> Path:
        """Where its figures are kept."""
        return self.results / self.dataset.name / f"{self.name}.json"

    @cached_property
    def options(self) -> dict[str, Any]:
        """Of the pretraining: the arm's, and what the data set changes: the network, epochs, the learning rate."""
        return options_of(self.arm, self.dataset)

    @property
    def config(self) -> Any:
        """Of the pretraining, with its options."""
        return config_of(self.arm, self.options)

    @property
    def precision(self) -> str:
        """Of the pretraining: the recipe's, or float32 on a machine that computes slowly in that."""
        precision: str = self.config.optim_wrapper.precision
        return "fp32" if emulates(precision, chosen_device()) else precision

    @property
    def inputs(self) -> dict[str, Any]:
        """What the figures depend on besides the code."""
        return {
            "version": VERSION,
            "arm": self.arm.name,
            "config": str(self.arm.config),
            "options": self.options,
            "seed": self.seed,
            "judges": self.dataset.judges,
        }

    @property
    def checkpoints(self) -> list[Path]:
        """Of the pretraining, the first epoch first."""
        return sorted((self.folder / "pretrain").glob("epoch_*.pth"), key=_epoch)

    def done(self) -> bool:
        """Whether its figures are there, of the same inputs."""
        return is_done(self.file, self.inputs)


def is_done(file: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether a file holds figures of the same inputs."""
    known = read_json_object(file) if file.is_file() else None
    return known is not None and known.get("inputs") == inputs


def execute(run: Run) -> Path:
    """Pretrain, judge, and write the figures; continues where a killed run stopped.

    Raises:
        RuntimeError: the training or a judge failed; the message says where its log is.
    """
    if run.done():
        return run.file
    run.folder.mkdir(parents=True, exist_ok=True)
    costs = pretrain(run) if run.arm.trained else {}
    checkpoint = run.checkpoints[-1] if run.arm.trained else write_random(run)
    start = time.monotonic()
    figures = judge(checkpoint, run.arm, run.dataset, run.data, run.folder / "judges")
    found = {
        "inputs": run.inputs,
        "figures": figures,
        "curves": curves(run, figures),
        "costs": {**costs, "judges_seconds": round(time.monotonic() - start, 1)},
        "commit": commit(),
        "machine": dict(machine()),
        **({"precision": run.precision} if run.arm.trained else {}),
        "threads": torch.get_num_threads(),
        "finished": time.strftime("%Y-%m-%d"),
    }
    write_json(run.file, found)
    if run.seed == SHOWN_SEED and "pictures" in run.dataset.judges:
        keep_pictures(run.folder / "judges" / "pictures", run.file.parent, run.arm.name)
    if run.arm.name == RANDOM and run.seed == SHOWN_SEED:
        write_baselines(run, checkpoint, found)
    return run.file


def pretrain(run: Run) -> dict[str, float]:
    """Train by ``tools/train.py``; returns what it took, unless a killed run went on."""
    classes = run.data / "classification"
    options = {
        "data_root": classes / "train",
        "val_root": classes / "val",
        "randomness.seed": run.seed,
        "optim_wrapper.precision": run.precision,
        "default_hooks.knn.max_bank": 2000,
        "default_hooks.knn.interval": run.dataset.passes,
        # A GPU is faster than one process that loads between its steps.
        "train_dataloader.num_workers": int(chosen_device().type == "cuda"),
        **run.options,
    }
    resumed = bool(run.checkpoints)
    before, start = _processor_seconds(), time.monotonic()
    train(run.folder / "pretrain", run.arm.config, options, resume=True)
    if resumed:
        return {}
    return {
        "pretraining_seconds": round(time.monotonic() - start, 1),
        "pretraining_processor_seconds": round(_processor_seconds() - before, 1),
    }


def train(folder: Path, config: Path, options: Mapping[str, Any], resume: bool = False) -> None:
    """Run ``tools/train.py`` in one thread; its output goes to ``<folder>.log``.

    Raises:
        RuntimeError: it failed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    command = [sys.executable, "tools/train.py", str(config), "--work-dir", str(folder)]
    command += ["--resume"] * resume
    command += ["--cfg-options", *(f"{name}={value}" for name, value in options.items())]
    environment = {**os.environ, **process_environment(1)}
    with log.open("w") as file:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise RuntimeError(f"tools/train.py ended with exit code {done.returncode}; see {log}")


def write_random(run: Run) -> Path:
    """The backbone of the arm's config with weights drawn from the seed, as a checkpoint."""
    config = run.config
    network = random_like(get_backbone(config), run.seed)
    state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
    path = run.folder / "random.pth"
    save_weights(state, path, {"cfg": config.pretty_text})
    return path


def curves(run: Run, figures: Mapping[str, float]) -> dict[str, list[list[float]]]:
    """``[step, value]`` of what the log has, and of J&F of every checkpoint, of which ``figures`` has the last."""
    if not run.arm.trained:
        return {}
    records = read_records(run.folder / "pretrain")
    found = {name: series(records, name).tolist() for name in SCALARS}
    if "propagation" in figures:
        *earlier, last = run.checkpoints
        values = [
            judge(
                path,
                run.arm,
                run.dataset,
                run.data,
                run.folder / "along" / path.stem,
                ALONG_THE_RUN,
            )
            for path in earlier
        ]
        found["propagation"] = [
            [read_checkpoint(path)["meta"]["iter"], own["propagation"]]
            for path, own in zip([*earlier, last], [*values, figures], strict=True)
        ]
    return {name: points for name, points in found.items() if points}


def write_baselines(run: Run, checkpoint: Path, found: Mapping[str, Any]) -> None:
    """A file for each of what needs no network."""
    baselines = judge_baselines(checkpoint, run.arm, run.dataset, run.data, run.folder)
    for name, figures in baselines.items():
        own = {**found, "inputs": {**found["inputs"], "arm": name}, "figures": figures}
        write_json(run.file.with_name(f"{name}.json"), own)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(content, indent=1) + "\n")


def _epoch(path: Path) -> int:
    return int(path.stem.split("_")[1])


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
