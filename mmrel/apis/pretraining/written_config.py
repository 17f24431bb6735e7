"""The plan as an ordinary configuration: a base and the choices, with their reasons beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrel.apis.choices import Choice
from mmrel.utils.files import write_text_atomically

WIDTH = 100
CONFIG, PHOTOS = "plan/pretrain.py", "plan/photos.txt"
"""Files in the work dir: the configuration, and the list of photos of a run that takes only some."""

COMMAND, STEPS = "pretrain_command", "pretrain_steps"
"""Keys of what was asked for, by which the same command is known again, and of the steps of the whole run."""


def config_text(
    base: Path,
    command: str,
    choices: Sequence[Choice],
    settings: Mapping[str, Any],
    statements: Sequence[str] = (),
) -> str:
    """A configuration file.

    Args:
        base: the configuration that it changes.
        command: the command line that made it.
        choices: rows of the table, which become comments.
        settings: top-level keys with plain values.
        statements: lines that change the base in place, where it is a list.
    """
    lines = [
        "# Written by tools/pretrain.py; an ordinary configuration, to be changed and run by",
        "# python tools/train.py THIS_FILE. The command was:",
        f"#     {command}",
        "#",
        *(f"# {choice.name}: {choice.value} ({choice.reason})" for choice in choices),
        f"_base_ = [{str(base)!r}]",
        "",
        *statements,
        *(render(name, value) for name, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"


def write_config(path: Path, text: str) -> None:
    """Write it, whole or not at all."""
    write_text_atomically(path, text)


def render(name: str, value: Any, indent: int = 0) -> str:
    """``name = value`` in Python, dicts as ``dict(...)``, in one line where it fits."""
    assign, end = (" = ", "") if indent == 0 else ("=", ",")
    space = " " * indent
    line = f"{space}{name}{assign}{_text(value)}{end}"
    if len(line) <= WIDTH or not isinstance(value, Mapping):
        return line
    inner = [render(key, child, indent + 4) for key, child in value.items()]
    return "\n".join([f"{space}{name}{assign}dict(", *inner, f"{space}){end}"])


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and all(str(key).isidentifier() for key in value):
        return f"dict({', '.join(f'{key}={_text(child)}' for key, child in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
