"""Whether a documented command could run: its files exist, its tool takes its options, its config has its keys.

Nothing is executed but the tools' parsers and the configurations.
"""

import argparse
import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from documented_blocks import ROOT
from documented_keys import check_key, read_config

ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+")
"""``CONFIG`` and ``CHECKPOINT``: what the reader fills in."""
HARMLESS = {
    "cd",
    "cp",
    "export",
    "git",
    "huggingface-cli",
    "ls",
    "mkdir",
    "mim",
    "sbatch",
    "scontrol",
    "source",
    "unzip",
}
OPERATORS = {"&&", "||", "|", ";", ">", ">>", "<"}


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a bash block as words, without assignments in front of them."""
    pending = ""
    for line in text.replace("\\\n", " ").splitlines():
        pending += line
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quotation that ends in a later line
            pending += "\n"
            continue
        pending = ""
        yield from _simple(words)
    assert not pending, f"a quotation is not closed: {pending[:80]!r}"


def _simple(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word in OPERATORS:
            if command:
                yield command
            command = []
        elif command or not ASSIGNMENT.fullmatch(word):
            command.append(word)


def check_command(words: list[str]) -> None:
    """Check one command.

    Raises:
        AssertionError: it could not run as it is written, with the reason.
    """
    program, *rest = words
    if Path(program).name in ("python", "bash", "torchrun", "sh"):
        _check_script(rest)
    elif program.endswith(".sh"):
        _check_script(words)
    elif program == "mmrel":
        _check_entry(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        unknown = [w for w in rest if not ASSIGNMENT.match(w) and w not in targets]
        assert not unknown, f"make has no target {unknown}"
    elif program == "pip":
        _check_extras(rest)
    else:
        assert program in HARMLESS, f"{program!r} is no command that this check knows"


def _check_script(words: list[str]) -> None:
    """``python tools/x.py ...`` and its like; options of the interpreter before the script are passed over."""
    if words and words[0] == "-c":
        compile(words[1], "<documented>", "exec")
        return
    place = next((i for i, w in enumerate(words) if w.endswith((".py", ".sh"))), None)
    assert place is not None, f"no script in {words}"
    script, arguments = ROOT / words[place], words[place + 1 :]
    assert script.is_file(), f"{words[place]} does not exist"
    if script.name == "dist_train.sh":
        check_tool(ROOT / "tools" / "train.py", [arguments[0], *arguments[2:]])
    elif script.name == "slurm_train.sh":
        check_tool(ROOT / "tools" / "train.py", [arguments[2], "--work-dir", *arguments[3:]])
    elif script.suffix == ".py":
        check_tool(script, arguments)


def _check_entry(words: list[str]) -> None:
    """``mmrel COMMAND ...``: there is such a command, and its tool takes the options."""
    from mmrel.launch.console import COMMANDS

    assert words[0] in COMMANDS, f"mmrel has no command {words[0]!r}"
    check_tool(ROOT / "tools" / f"{COMMANDS[words[0]]}.py", words[1:])


def check_tool(script: Path, arguments: list[str]) -> None:
    """Let a tool read its arguments, and look its ``--cfg-options`` up in the configuration.

    Raises:
        AssertionError: the tool refuses them, a configuration does not exist, or has no such key.
    """
    parsed = parse_dry(script, arguments)
    options = getattr(parsed, "cfg_options", None) or {}
    configs = [w for w in arguments if w.endswith(".py") and "=" not in w]
    for name in configs:
        assert name.startswith("my_") or (ROOT / name).is_file(), f"{name} does not exist"
    if configs and (ROOT / configs[0]).is_file():
        for key in options:
            check_key(read_config(configs[0]), key)


class _Parsed(BaseException):
    """Ends a tool as soon as it has read its arguments."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.arguments = arguments


def parse_dry(script: Path, arguments: list[str]) -> argparse.Namespace:
    """What a tool's own parser makes of the arguments.

    Raises:
        AssertionError: it refuses them.
    """
    said = io.StringIO()
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", _parse_and_stop),
        mock.patch.object(sys, "argv", [script.name, *arguments]),
        contextlib.redirect_stderr(said),
    ):
        try:
            _module(script).main()
        except _Parsed as parsed:
            return parsed.arguments
        except SystemExit as end:
            raise AssertionError(f"{script.name} refuses {arguments}: {said.getvalue()}") from end
    raise AssertionError(f"{script.name} read no arguments")


def _parse_and_stop(
    self: argparse.ArgumentParser, args: Any = None, namespace: Any = None
) -> argparse.Namespace:
    parsed, unknown = self.parse_known_args(args, namespace)
    if unknown:
        self.error(f"unrecognized arguments: {' '.join(unknown)}")
    raise _Parsed(parsed)


@cache
def _module(script: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"documented_{script.stem}", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for dataclasses
    with mock.patch.object(sys, "path", [str(script.parent), *sys.path]):
        spec.loader.exec_module(module)
    return module


@cache
def _extras() -> set[str]:
    """The extras that setup.py offers, without running its ``setup()``."""
    with mock.patch("setuptools.setup"):
        return set(runpy.run_path(str(ROOT / "setup.py"))["extras"]())


def _check_extras(words: list[str]) -> None:
    for word in words:
        for extras in re.findall(r"^(?:mmrel|\.)\[([^\]]*)\]$", word):
            unknown = set(extras.split(",")) - _extras()
            assert not unknown, f"setup.py has no extra {sorted(unknown)}"
