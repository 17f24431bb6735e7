"""Runs commands one after another, or side by side, and never repeats what is already done.

Each stage leaves a stamp with everything that its result depends on. A stage is done if its stamp says
the same and its outputs are there; whatever depends on it names its digest among its own inputs, so that a
change re-runs that stage and what follows from it, and nothing else.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

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
    """

    name: str
    command: tuple[str, ...]
    inputs: dict[str, Any]
    outputs: tuple[Path, ...]
    folder: Path | None = None
    resume: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Short hash of the inputs, for the stages that depend on this one."""
        return hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode()).hexdigest()[:16]

    def line(self) -> str:
        """The command as it can be typed."""
        return shlex.join(("python", *self.command))


class StageError(RuntimeError):
    """A stage ended with an error; the message holds the end of its log."""


def format_seconds(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class StageRunner:
    """Runs stages and keeps their stamps.

    Args:
        work_dir: holds ``stamps/``, ``logs/`` and the stages' folders.
        root: directory that the commands are run in.
        show: called with a stage's name and each line that it prints.
    """

    def __init__(self, work_dir: Path, root: Path, show: Show) -> None:
        self.work_dir = work_dir
        self.root = root
        self.show = show

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
        """Run those stages side by side that are not done.

        Raises:
            StageError: one of them failed; the others are ended.
        """
        waiting = []
        for stage in stages:
            if self.is_done(stage):
                self.show(stage.name, "already done")
            else:
                waiting.append(stage)
        running = [_Running(self, stage) for stage in waiting]
        try:
            while any(process.poll() is None for process in running):
                if any(process.poll() for process in running):
                    break
                time.sleep(0.1)
        finally:
            for process in running:
                process.end()
        for process in running:
            process.conclude()

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


class _Running:
    """A stage's process and the thread that reads what it prints."""

    def __init__(self, runner: StageRunner, stage: Stage) -> None:
        self.runner, self.stage = runner, stage
        self.ended = False
        extra = self._prepare()
        log = runner.log_path(stage)
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *stage.command, *extra]
        runner.show(stage.name, shlex.join(["python", *command[1:]]))
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=runner.root,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **stage.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self.reader.start()

    def _prepare(self) -> Sequence[str]:
        """Clear the way for a new run, or find that an interrupted one can be continued."""
        stage, runner = self.stage, self.runner
        runner.forget(stage)
        started = runner.started_path(stage)
        same = read_json_object(started) == stage.inputs
        if same and stage.resume and stage.folder is not None and stage.folder.is_dir():
            return stage.resume
        if stage.folder is not None:
            shutil.rmtree(stage.folder, ignore_errors=True)
        write_text_atomically(started, json.dumps(stage.inputs))
        return ()

    def _read(self, log: Path) -> None:
        assert self.process.stdout is not None
        with log.open("w") as file:
            for line in self.process.stdout:
                file.write(line)
                file.flush()
                self.runner.show(self.stage.name, line.rstrip("\n"))

    def poll(self) -> int | None:
        """The exit code, or ``None`` while it runs."""
        return self.process.poll()

    def end(self) -> None:
        """Stop the process if it still runs, and wait for its output."""
        if self.process.poll() is None:
            self.ended = True
            self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(timeout=10)
        self.seconds = time.monotonic() - self.begun

    def conclude(self) -> None:
        """Stamp the stage, or raise with the end of its log."""
        stage, log = self.stage, self.runner.log_path(self.stage)
        missing = [str(path) for path in stage.outputs if not path.exists()]
        if self.process.returncode == 0 and not missing:
            self.runner.started_path(stage).unlink(missing_ok=True)
            self.runner.write_stamp(stage, self.seconds)
            return
        if self.ended:
            return
        reason = f"ended with code {self.process.returncode}"
        if self.process.returncode == 0:
            reason = f"ended without writing {', '.join(missing)}"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])
        raise StageError(f"{tail}\n\nThe stage '{stage.name}' {reason}. Its whole output: {log}")
