"""What an earlier start of the same command left in the work dir."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmrel.apis.pretraining.wishes import Wishes
from mmrel.apis.pretraining.written_config import COMMAND, CONFIG, STEPS
from mmrel.checkpoints.export import export_backbone
from mmrel.engine.checkpointing.choice import by_step, in_order, pointed, unreadable_reason
from mmrel.utils.config import load_config
from mmrel.utils.errors import UsageError

BACKBONE = "backbone.pth"
TEACHERLESS = ("relvit",)
FREE_TO_CHANGE = ("preset",)
"""What may differ when a run is resumed."""


@dataclass(frozen=True)
class RunState:
    """A work dir.

    Attributes:
        work_dir: the folder.
        wishes: the command line of now.
    """

    work_dir: Path
    wishes: Wishes

    @property
    def config(self) -> Path:
        """The configuration of the run."""
        return self.work_dir / CONFIG

    @property
    def network(self) -> str:
        """Which network is exported."""
        return "student" if self.wishes.method in TEACHERLESS else "teacher"

    @cached_property
    def written(self) -> Any:
        """The configuration of an earlier start; ``None`` if there is none."""
        return load_config(str(self.config)) if self.config.is_file() else None

    def checkpoints(self) -> list[Path]:
        """Those of the run, the latest first."""
        length = 1
        if self.written is not None and self.written.get(STEPS):
            length = max(1, self.written[STEPS] // self.written.train_cfg.max_epochs)
        others = by_step(self.work_dir, "epoch_{}.pth", True, length)
        return [p for p in in_order(pointed(self.work_dir, self.work_dir), others) if p.is_file()]

    def can_resume(self, required: bool = False) -> bool:
        """Whether a run of this very command is there to go on with.

        Args:
            required: ``--resume`` was given.

        Raises:
            UsageError: the work dir holds a run of another command; or none, and there must be one.
        """
        found = bool(self.checkpoints())
        if required and not (found and self.written is not None):
            raise UsageError(
                f"--resume was given, but {self.work_dir} holds no run of tools/pretrain.py with a checkpoint. Give "
                "its --work-dir, or leave --resume out to begin."
            )
        if not found:
            return False
        if self.written is None or COMMAND not in self.written:
            raise UsageError(
                f"{self.work_dir} holds checkpoints of a run that tools/pretrain.py did not begin. Give another "
                "--work-dir."
            )
        if differences := self._differences(dict(self.written[COMMAND])):
            raise UsageError(
                f"{self.work_dir} holds a run of another command: {'; '.join(differences)}. Give another --work-dir, "
                "or the same command to go on with that run, or remove the folder."
            )
        return True

    def is_done(self) -> bool:
        """Whether the run's last step has been saved."""
        epochs, steps = self.written.train_cfg.max_epochs, self.written.get(STEPS)
        names = {f"epoch_{epochs}.pth", f"iter_{steps}.pth"}
        return bool(names & {path.name for path in self.checkpoints()})

    def fresh_batch(self) -> int:
        """Images per step of the configuration that has just been written or found."""
        return int(load_config(str(self.config)).train_dataloader.batch_size)

    def export(self) -> Path:
        """Write the backbone of the latest checkpoint that can be read.

        Raises:
            UsageError: there is none.
        """
        for checkpoint in self.checkpoints():
            if unreadable_reason(checkpoint) is not None:
                continue
            try:
                export_backbone(checkpoint, self.work_dir / BACKBONE, self.network)
            except (OSError, ValueError) as error:
                raise UsageError(f"{checkpoint} cannot be exported: {error}") from error
            return self.work_dir / BACKBONE
        raise UsageError(
            f"{self.work_dir} has no checkpoint that can be read, so nothing to export."
        )

    def _differences(self, earlier: dict[str, Any]) -> list[str]:
        now = self.wishes.given()
        names = sorted((now.keys() | earlier.keys()) - set(FREE_TO_CHANGE))
        return [
            f"{_option(name)} was {earlier.get(name, 'not given')} and is {now.get(name, 'not given')}"
            for name in names
            if earlier.get(name) != now.get(name)
        ]


def default_work_dir(wishes: Wishes) -> Path:
    """``work_dirs/<method>_<folder>``."""
    folder = re.sub(r"[^\w.-]+", "-", Path(wishes.data).expanduser().absolute().name) or "photos"
    return Path("work_dirs") / f"{wishes.method}_{folder}"


def _option(name: str) -> str:
    names = dict(data="the folder", weights="--from", list_file="--list")
    return names.get(name, f"--{name}")
