"""Runs commands, side by side where they do not need each other, and never repeats what is done.

Each stage leaves a stamp with everything that its result depends on. A stage is done if its stamp says
the same and its outputs are there; whatever depends on it names its digest among its own inputs, so that a
change re-runs that stage and what follows from it, and nothing else.
"""

import hashlib
import json
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mmrel.quickstart.process import LoggedProcess
from mmrel.utils.files import read_json_object, write_text_atomically

TAIL = 30
"""Lines of a failed stage's log that are shown."""

Show = Callable[[str, str], None]


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: of its stamp, its log and, by default, its folder.
        command: arguments after the Python interpreter.
        inputs: everything that its result depends on, as JSON content.
        outputs: files that it writes.
        folder: where it writes; emptied before a new start. ``None``: nothing is emptied.
        resume: arguments added when an interrupted run with the same inputs is continued.
        environment: environment variables to set, such as the number of threads.
        needs: names of the stages that come before it.
        gives_way: it runs beside a more urgent stage, on what that one leaves of the cores.
    """

    name: str
    command: tuple[str, ...]
    inputs: dict[str, Any]
    outputs: tuple[Path, ...]
    folder: Path | None = None
    resume: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    gives_way: bool = False

    def digest(self) -> str:
        """Short hash of the inputs, for the stages that depend on this one."""
        return hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode()).hexdigest()[:16]

    def line(self) -> str:
        """The command as it can be typed."""
        return shlex.join(("python", *self.command))


class StageError(RuntimeError):
    """A stage ended with an error; the message holds the end of its log."""


class StageRunner:
    """Runs stages and keeps their stamps.

    Args:
        work_dir: holds ``stamps/``, ``logs/`` and the stages' folders.
        root: directory that the commands are run in.
        show: called with a stage's name and each line that it prints.
        at_once: so many stages run side by side.
    """

    def __init__(self, work_dir: Path, root: Path, show: Show, at_once: int = 2) -> None:
        self.work_dir = work_dir
        self.root = root
        self.show = show
        self.at_once = at_once

    def stamp(self, stage: Stage) -> dict[str, Any] | None:
        """What is known of the stage's last successful run: inputs, command, seconds, time."""
        stamp = read_json_object(self._stamp_path(stage))
        return (
            stamp if stamp and {"inputs", "command", "seconds", "finished"} <= set(stamp) else None
        )

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage has run with these inputs and its outputs are still there."""
        stamp = self.stamp(stage)
        return (
            stamp is not None
            and stamp["inputs"] == stage.inputs
            and all(path.exists() for path in stage.outputs)
        )

    def run(self, *stages: Stage) -> None:
        """Run those stages that are not done, in this order as far as their needs allow.

        Raises:
            StageError: one of them failed; the others are ended.
            ValueError: stages wait for each other.
        """
        waiting = list(stages)
        running: dict[str, tuple[Stage, LoggedProcess]] = {}
        try:
            while waiting or running:
                self._start_ready(waiting, running)
                over = [name for name, (_, process) in running.items() if process.code is not None]
                if not over:
                    time.sleep(0.1)
                # A failure raises, so those that ended well come first.
                for name in sorted(over, key=lambda name: running[name][1].code != 0):
                    stage, process = running.pop(name)
                    process.end()
                    self._conclude(stage, process)
        finally:
            for _, process in running.values():
                process.end()

    def _start_ready(
        self, waiting: list[Stage], running: dict[str, tuple[Stage, LoggedProcess]]
    ) -> None:
        """Start what needs none of the other stages any more, as long as there is room."""
        unfinished = {stage.name for stage in waiting} | set(running)
        for stage in list(waiting):
            if unfinished.intersection(stage.needs):
                continue
            if self.is_done(stage):
                self.show(stage.name, "already done")
                unfinished.remove(stage.name)
            elif len(running) < self.at_once:
                running[stage.name] = stage, self._start(stage)
            else:
                continue
            waiting.remove(stage)
        if waiting and not running and all(unfinished.intersection(s.needs) for s in waiting):
            names = ", ".join(stage.name for stage in waiting)
            raise ValueError(
                f"The stages {names} need each other, so none of them can be the first."
            )

    def log_path(self, stage: Stage) -> Path:
        """Where everything that the stage prints is kept."""
        return self.work_dir / "logs" / f"{stage.name}.log"

    def started_path(self, stage: Stage) -> Path:
        """The inputs of a run that has begun and may have been interrupted."""
        return self.work_dir / "stamps" / f"{stage.name}.started.json"

    def write_stamp(self, stage: Stage, seconds: float) -> None:
        """Say that the stage is done."""
        content = {
            "inputs": stage.inputs,
            "command": stage.line(),
            "seconds": round(seconds, 1),
            "finished": datetime.now().isoformat(timespec="seconds"),
        }
        write_text_atomically(self._stamp_path(stage), json.dumps(content, indent=2) + "\n")

    def forget(self, stage: Stage) -> None:
        """Remove the stamp: what the stage wrote is about to change."""
        self._stamp_path(stage).unlink(missing_ok=True)

    def _stamp_path(self, stage: Stage) -> Path:
        return self.work_dir / "stamps" / f"{stage.name}.json"

    def _start(self, stage: Stage) -> LoggedProcess:
        arguments = (*stage.command, *self._prepare(stage))
        self.show(stage.name, shlex.join(("python", *arguments)))
        return LoggedProcess(
            arguments,
            self.root,
            stage.environment,
            self.log_path(stage),
            lambda line: self.show(stage.name, line),
            stage.gives_way and self.at_once > 1,
        )

    def _prepare(self, stage: Stage) -> Sequence[str]:
        """Clear the way for a new run, or find that an interrupted one can be continued."""
        self.forget(stage)
        started = self.started_path(stage)
        same = read_json_object(started) == stage.inputs
        if same and stage.resume and stage.folder is not None and stage.folder.is_dir():
            return stage.resume
        if stage.folder is not None:
            shutil.rmtree(stage.folder, ignore_errors=True)
        write_text_atomically(started, json.dumps(stage.inputs))
        return ()

    def _conclude(self, stage: Stage, process: LoggedProcess) -> None:
        """Stamp the stage, or raise with the end of its log."""
        missing = [str(path) for path in stage.outputs if not path.exists()]
        if process.code == 0 and not missing:
            self.started_path(stage).unlink(missing_ok=True)
            self.write_stamp(stage, process.seconds)
            return
        reason = f"ended with code {process.code}"
        if process.code == 0:
            reason = f"ended without writing {', '.join(missing)}"
        log = self.log_path(stage)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])
        raise StageError(f"{tail}\n\nThe stage '{stage.name}' {reason}. Its whole output: {log}")
