"""From a folder, a machine and some wishes to a configuration that can be trained.

folder -> survey --+-> network, crops, precision, workers -> draft -> trial -> batch, seconds per step
machine -----------+                                                             |
wishes ------------------------------------------------------------------------- +-> length -> configuration, table
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrel.apis.choices import Choice, choice_table
from mmrel.apis.pretraining.choices import (
    LOCAL_CPU,
    Crops,
    allowed_bad,
    check_memory,
    choose_batch,
    choose_crop_size,
    choose_network,
    choose_precision,
    choose_workers,
    images_that_fit,
    multi_crop,
)
from mmrel.apis.pretraining.intervals import choose_intervals
from mmrel.apis.pretraining.length import Length, choose_length, warnings_for
from mmrel.apis.pretraining.machine import GIB, Machine
from mmrel.apis.pretraining.out_of_memory import memory_for
from mmrel.apis.pretraining.photo_rows import describe_photos
from mmrel.apis.pretraining.schedule_rows import initial_share_of, schedule_rows
from mmrel.apis.pretraining.settings import merged
from mmrel.apis.pretraining.survey import Survey
from mmrel.apis.pretraining.trial import Pace, Trial
from mmrel.apis.pretraining.weights import Weights, going_on_rows, settings_for
from mmrel.apis.pretraining.wishes import METHODS, TITLES, Wishes
from mmrel.apis.pretraining.written_config import COMMAND, PHOTOS, STEPS, config_text, write_config
from mmrel.engine.automatic import settle_run
from mmrel.engine.run_length import RunLength
from mmrel.utils.config import load_config
from mmrel.utils.text import format_duration

DRAFT = "draft.py"
TRIED = 64
"""Images that a trial is given; of millions, it need not list the others again."""

PROVISIONAL = RunLength(1_000, 10, 100)
"""Any length: what follows from it changes neither the memory nor the time of a step."""


@dataclass(frozen=True)
class Plan:
    """A run that has been decided on.

    Attributes:
        title: of the table.
        choices: its rows.
        warnings: below it.
        config: text of the configuration.
        length: of the run.
        photos: of a run that takes only some photos, their paths below the folder.
    """

    title: str
    choices: list[Choice]
    warnings: list[str]
    config: str
    length: Length
    photos: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.title}\n\n{choice_table(self.choices, self.warnings)}\n"


@dataclass
class Planner:
    """Makes a plan, step by step.

    Attributes:
        wishes: the command line.
        survey: of the photos.
        machine: what there is.
        work_dir: where all files of the run go.
        configs: the folder ``configs/``.
        command: the command line in one line, for the configuration.
        weights: to go on from.
    """

    wishes: Wishes
    survey: Survey
    machine: Machine
    work_dir: Path
    configs: Path
    command: str
    weights: Weights | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)

    @property
    def base(self) -> Path:
        """The method's configuration for own photos."""
        return self.configs / METHODS[self.wishes.method]

    def plan(self, measure: Callable[[Any, Sequence[str]], Trial] = Trial) -> Plan:
        """Decide on everything.

        Args:
            measure: makes, from a configuration and some images, what tries steps of it.

        Raises:
            UsageError: the photos, the weights or the memory do not allow it.
        """
        self.choices = describe_photos(self.survey)
        self._shape()
        self._load()
        if self.weights:
            self.settings = merged(self.settings, settings_for(self.weights, self.draft()))
        config = self.draft()
        settle_run(config, PROVISIONAL)
        crops = Crops.of(config)
        some = self.survey.images[:: max(1, len(self.survey.images) // TRIED)]
        trial = measure(config, some)
        self._sizes(trial, crops)
        pace = self._pace(trial, crops)
        trial.close()
        return self._finish(pace)

    def _shape(self) -> None:
        """Network, crops and precision."""
        self.choices.append(
            Choice("device", self.machine.name, "" if self.machine.gpu else self._why_cpu())
        )
        of_weights = self.weights.network if self.weights else None
        network = choose_network(self.wishes, self.machine, of_weights)
        recipe = load_config(str(self.base))
        patch = self.weights.patch if self.weights else recipe.patch_size
        size, self._why_crops = choose_crop_size(recipe.crop_size, self.survey, self.machine, patch)
        precision = choose_precision(self.machine)
        self._network, self._precision = network, precision
        self.settings |= dict(
            data_root=self.survey.root,
            network=network.value,
            crop_size=size,
            patch_size=patch,
            precision=precision.value,
        )
        index, crop = multi_crop(recipe)
        num_local = crop.get("num_local", 10)
        if self.machine.gpu is None and num_local > LOCAL_CPU:
            self.statements.append(
                f"_base_.train_dataloader.dataset.pipeline[{index}].num_local = {LOCAL_CPU}"
            )

    def _why_cpu(self) -> str:
        asked = self.wishes.preset == "cpu"
        return "--preset cpu" if asked else "no GPU was found"

    def _load(self) -> None:
        """Where the photos come from."""
        fraction, allowed = allowed_bad(self.survey)
        dataset: dict[str, Any] = dict(data_root=self.survey.root)
        if self.survey.list_file:
            dataset["ann_file"] = str(Path(self.survey.list_file).absolute())
        if self.survey.unreadable:
            dataset |= dict(max_bad_fraction=fraction, min_bad_allowed=allowed)
        self._workers = choose_workers(self.machine)
        workers = int(self._workers.value)
        self.settings["train_dataloader"] = dict(num_workers=workers, dataset=dataset)

    def draft(self) -> Any:
        """The configuration as far as it is decided."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / DRAFT
            text = config_text(self.base, self.command, (), self.settings, self.statements)
            write_config(path, text)
            return load_config(str(path))

    def _sizes(self, trial: Trial, crops: Crops) -> None:
        """Rows of the shape, now that the network is there to be counted."""
        millions = trial.backbone_parameters / 1e6
        value = f"{self._network.value}, {millions:.1f} million weights"
        self.choices += [
            Choice("network", value, self._network.reason),
            Choice("crops", str(crops), self._why_crops),
            self._precision,
        ]

    def _pace(self, trial: Trial, crops: Crops) -> Pace:
        """Choose the batch by the memory, and time steps of it."""
        precision = self._precision.value
        fixed = trial.memory(0, crops.kinds, precision)
        each = trial.memory(1, crops.kinds, precision) - fixed
        fits = images_that_fit(fixed, each, self.machine)
        chosen = choose_batch(self.wishes, self.survey, self.machine, fits)
        batch = int(chosen.value)
        need = fixed + batch * each
        check_memory(need, batch, self.wishes, self.machine, fits)
        self.settings["train_dataloader"] = (
            dict(batch_size=batch) | self.settings["train_dataloader"]
        )
        memory = Choice(
            "memory",
            f"{need / GIB:.1f} of {self.machine.free / GIB:.1f} GiB",
            "modelled: weights, moments, teacher and what a step keeps",
        )
        self.choices += [chosen, self._workers, memory]
        with memory_for(batch):
            return trial.pace(batch)

    def _finish(self, pace: Pace) -> Plan:
        """The length, what follows from it, and the text of the configuration."""
        cpu = self.machine.gpu is None
        seconds = pace.seconds_per_step(int(self._workers.value), cpu)
        length = choose_length(self.wishes, self.survey, pace.batch_size, seconds)
        photos: tuple[str, ...] = ()
        if length.every > 1:
            photos = self.survey.images[:: length.every]
            self.settings["train_dataloader"]["dataset"]["ann_file"] = str(
                (self.work_dir / PHOTOS).absolute()
            )
        self.settings["train_cfg"] = dict(max_epochs=length.run.epochs)
        hooks = choose_intervals(length.run.steps_per_epoch, length.run.epochs, seconds)
        self.settings = merged(self.settings, dict(default_hooks=hooks))
        self.choices.append(length.choice)
        settled = self.draft()
        settle_run(settled, length.run)
        rows = going_on_rows(self.weights, settled) if self.weights else []
        self.choices += [*rows, *schedule_rows(settled, length.run), _time(length, seconds, cpu)]
        share = initial_share_of(settled, length.run)
        warnings = warnings_for(length, self.survey, share, self.weights is not None, seconds)
        self.settings |= {COMMAND: self.wishes.given(), STEPS: length.run.steps}
        text = config_text(self.base, self.command, self.choices, self.settings, self.statements)
        photos_there = f"{self.survey.num_images:,} photos in {self.survey.root}"
        title = f"Plan: {TITLES[self.wishes.method]}, {photos_there}"
        return Plan(title, self.choices, warnings, text, length, photos)


def _time(length: Length, seconds: float, cpu: bool) -> Choice:
    each = f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.0f} ms"
    how = "measured on a few steps" if cpu else "measured on a few steps, not compiled"
    return Choice(
        "time",
        f"about {format_duration(length.seconds)}",
        f"{each} a step, {how}; the log's eta corrects it as it runs",
    )
