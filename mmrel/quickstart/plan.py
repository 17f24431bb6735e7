"""What the quickstart runs: scenes, pretraining, export, and two tasks on two frozen backbones each."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmrel.datasets.scenes.generate import STAMP, Parameters
from mmrel.datasets.scenes.writers import LAYOUTS
from mmrel.quickstart.environment import process_environment
from mmrel.quickstart.stages import Stage
from mmrel.utils.config import load_config
from mmrel.utils.device import usable_cores
from mmrel.version import __version__

TASKS = {
    "mask-rcnn": ("configs/detection/mask-rcnn_vit-tiny-p8_frozen_scenes.py", "detection"),
    "linear": ("configs/segmentation/vit-tiny-p8_linear_scenes.py", "segmentation"),
}
"""What comes after pretraining: their configs, and the folder of the scenes that they read."""

LAST = "last_checkpoint"
"""MMEngine's file that names a run's newest checkpoint."""

IMAGE_SIZE, CLASS_IMAGE_SIZE = 128, 96
MAX_EVALUATIONS = 30
"""Longer pretrainings evaluate k-NN every few epochs, so that it stays a small part of their time."""
MAX_CORES = 16


@cache
def load_configs(root: Path, pretraining: Path) -> dict[str, Config]:
    """Read the configs once: ``pretrain`` and one per task."""
    files = {"pretrain": pretraining, **{task: Path(config) for task, (config, _) in TASKS.items()}}
    return {name: load_config(str(root / file)) for name, file in files.items()}


@dataclass(frozen=True)
class Options:
    """What the user may choose.

    Attributes:
        root: the repository.
        work_dir: where everything is written.
        data_root: the scenes.
        config: of the pretraining, below ``root``.
        epochs: of the pretraining; ``None``: the config's.
        seed: of pretraining and tasks.
        num_train: training scenes of each layout.
        num_val: validation scenes.
        task_iters: iterations of each task; ``None``: the configs'.
    """

    root: Path
    work_dir: Path
    data_root: Path
    config: Path
    epochs: int | None = None
    seed: int = 0
    num_train: int = 2000
    num_val: int = 500
    task_iters: int | None = None


class Plan:
    """The stages of a quickstart.

    Args:
        options: what the user chose.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.cores = min(MAX_CORES, usable_cores())

    @property
    def method(self) -> str:
        """Name of the method, from the config's file name."""
        return self.options.config.stem.split("_")[0].split("-")[-1]

    @property
    def configs(self) -> dict[str, Config]:
        """The configs as shipped: ``pretrain`` and one per task."""
        return load_configs(self.options.root, self.options.config)

    @property
    def title(self) -> str:
        """The method as it is written, from the config's model."""
        return self.configs["pretrain"].model.type.rpartition(".")[2]

    @property
    def backbone_config(self) -> Any:
        """The backbone that is pretrained, as its config describes it."""
        return pretraining_backbone(self.configs["pretrain"])

    @property
    def network(self) -> str:
        """The network whose backbone is used afterwards: the teacher, if the method has one."""
        hooks = self.configs["pretrain"].default_hooks
        return "student" if hooks.get("teacher_update") is None else "teacher"

    @property
    def epochs(self) -> int:
        """Epochs of the pretraining."""
        return self.options.epochs or self.configs["pretrain"].train_cfg.max_epochs

    def iterations(self, task: str) -> int:
        """Iterations of a task."""
        return self.options.task_iters or self.configs[task].train_cfg.max_iters

    def folder(self, stage: str) -> Path:
        """Where a stage writes."""
        return self.options.work_dir / stage

    @property
    def pretrained(self) -> Path:
        """The pretraining's last checkpoint."""
        return self.folder("pretrain") / f"epoch_{self.epochs}.pth"

    @property
    def backbone(self) -> Path:
        """The exported backbone."""
        return self.options.work_dir / "backbone.pth"

    def task_checkpoint(self, task: str, initialisation: str) -> Path:
        """A task's last checkpoint, once there is one."""
        folder = self.folder(f"{task}-{initialisation}")
        return folder / Path((folder / LAST).read_text().strip()).name

    @property
    def initialisations(self) -> tuple[str, str]:
        """The two backbones that tasks are learnt on: the method's, and random weights."""
        return self.method, "random"

    @cached_property
    def scenes(self) -> Stage:
        """Make the scenes."""
        own, root = self.options, self.options.data_root
        parameters = Parameters(
            own.num_train, own.num_val, IMAGE_SIZE, CLASS_IMAGE_SIZE, 0, tuple(LAYOUTS)
        )
        counts = ("--num-train", str(own.num_train), "--num-val", str(own.num_val))
        # What bears the generator's stamp was made by it and may be made anew.
        replace = ("--overwrite",) if (root / STAMP).is_file() else ()
        command = ("tools/make_scenes.py", self._path(root), *counts, *replace)
        return Stage(
            name="scenes",
            command=command,
            inputs={"parameters": parameters.stamp(), "data_root": str(root)},
            outputs=(root / STAMP,),
        )

    @cached_property
    def pretrain(self) -> Stage:
        """Pretrain with the method."""
        own = self.options
        choices: dict[str, Any] = {"randomness.seed": own.seed}
        if own.epochs is not None:
            choices["train_cfg.max_epochs"] = own.epochs
        if (interval := -(-self.epochs // MAX_EVALUATIONS)) > 1:
            choices["default_hooks.knn.interval"] = interval
        images = own.data_root / "classification"
        if self._path(images / "val") != str(self.configs["pretrain"].val_root):
            choices["val_root"] = self._path(images / "val")
        return self._training(
            "pretrain", own.config, images / "train", choices, self.pretrained, self.cores
        )

    @cached_property
    def export(self) -> Stage:
        """Write the pretrained backbone."""
        paths = (self._path(self.pretrained), self._path(self.backbone))
        network = () if self.network == "teacher" else ("--network", self.network)
        return Stage(
            name="export",
            command=("tools/export_backbone.py", *paths, *network),
            inputs={"pretrain": self.pretrain.digest()},
            outputs=(self.backbone,),
            needs=(self.pretrain.name,),
        )

    def learn(self, task: str, initialisation: str) -> Stage:
        """Learn one task on one backbone."""
        config, layout = TASKS[task]
        choices: dict[str, Any] = {"randomness.seed": self.options.seed}
        choices |= backbone_options(self.configs["pretrain"])
        if self.options.task_iters is not None:
            choices |= shorter_schedule(self.options.task_iters)
        if initialisation != "random":
            choices["model.backbone.init_cfg.checkpoint"] = self._path(self.backbone)
        return self._training(
            f"{task}-{initialisation}",
            Path(config),
            self.options.data_root / layout,
            choices,
            self.folder(f"{task}-{initialisation}") / LAST,
            max(1, self.cores // 2),
        )

    def stages(self) -> tuple[Stage, ...]:
        """All stages, the most urgent first; each starts when those that it needs are done.

        What starts from random weights fills the cores that pretraining leaves free. The pretrained detector takes
        longest of what is left then, and starts first.
        """
        detectors, segmentors = ([self.learn(t, i) for i in self.initialisations] for t in TASKS)
        first = (self.scenes, self.pretrain, self.export)
        filler = replace(detectors[1], gives_way=True)
        return (*first, detectors[0], filler, segmentors[1], segmentors[0])

    @property
    def at_once(self) -> int:
        """Stages side by side: two small networks use two cores better than one does."""
        return min(2, self.cores)

    def _training(
        self,
        name: str,
        config: Path,
        data_root: Path,
        choices: dict[str, Any],
        output: Path,
        threads: int,
    ) -> Stage:
        task = name.removesuffix(f"-{self.method}").removesuffix("-random")
        shipped = str(self.configs[task].data_root).rstrip("/")
        if self._path(data_root) != shipped:
            choices = {"data_root": self._path(data_root), **choices}
        options = tuple(f"{key}={value}" for key, value in choices.items())
        inputs = {
            "config": config_digest(self.configs[task]),
            "options": options,
            "scenes": self.scenes.digest(),
            "version": __version__,
        }
        if "model.backbone.init_cfg.checkpoint" in choices:
            inputs["export"] = self.export.digest()
        folder = self._path(self.folder(name))
        command = ("tools/train.py", str(config), "--work-dir", folder, "--cfg-options", *options)
        return Stage(
            name=name,
            command=command,
            inputs=json.loads(json.dumps(inputs)),
            outputs=(output,),
            folder=self.folder(name),
            resume=("--resume",),
            environment=process_environment(threads),
            needs=(self.export.name if "export" in inputs else self.scenes.name,),
        )

    def _path(self, path: Path) -> str:
        """Relative to the repository, where the commands are run, if it lies inside."""
        root = self.options.root
        return str(path.relative_to(root) if path.is_relative_to(root) else path)


def pretraining_backbone(pretraining: Config) -> Any:
    """The backbone's part of a pretraining's config, on whatever base it may stand."""
    model = pretraining.model
    return model.get("base", model).backbone


def backbone_options(pretraining: Config) -> dict[str, Any]:
    """Options that take from a task's backbone what the pretrained one does not have.

    The tasks' configs are written for a class token and a final norm; SelfPatch has neither.

    Args:
        pretraining: its config.
    """
    backbone = pretraining_backbone(pretraining)
    options: dict[str, Any] = {}
    if not backbone.get("with_cls_token", True):
        options["model.backbone.with_cls_token"] = False
    if not backbone.get("final_norm", True):
        options["model.backbone.out_norm"] = "none"
    return options


def shorter_schedule(iterations: int) -> dict[str, int]:
    """Options that set the training length of the scenes' tasks, warm-up and decay included."""
    warmup = max(1, iterations // 10)
    return {
        "train_cfg.max_iters": iterations,
        "train_cfg.val_interval": iterations,
        "param_scheduler.0.end": warmup,
        "param_scheduler.1.begin": warmup,
        "param_scheduler.1.end": iterations,
        "param_scheduler.1.T_max": max(1, iterations - warmup),
    }


def config_digest(config: Config) -> str:
    """Short hash of everything that a config says."""
    text = json.dumps(config.to_dict(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
