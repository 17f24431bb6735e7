"""The folder of an evaluation: whose it is, and that it can be written."""

import json
from pathlib import Path
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.utils.errors import UsageError
from mmrel.utils.files import read_json_object, write_text_atomically

STAMP = "evaluation.json"


def open_folder(out: Path, suite: str, data: EvaluationData) -> Path:
    """Make the folder, or see that it is one of this evaluation.

    The same data and suite may come with other checkpoints: what is known of some is kept.

    Raises:
        UsageError: it is a file, cannot be written, or holds something else or another evaluation.
    """
    out = out.expanduser()
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder")
    own = {"suite": suite, "data": _places(data)}
    try:
        _check_owner(out, own)
        out.mkdir(parents=True, exist_ok=True)
        write_text_atomically(out / STAMP, json.dumps(own, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error}; give another folder") from error
    return out


def _check_owner(out: Path, own: dict[str, Any]) -> None:
    stamp = read_json_object(out / STAMP) if out.is_dir() else None
    if stamp is None and out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"--out {out} holds files but no evaluation ({STAMP}); give a new or empty folder"
        )
    if stamp is not None and stamp != own:
        different = [key for key in own if stamp.get(key) != own[key]]
        raise UsageError(
            f"--out {out} holds another evaluation, of another {' and '.join(different)}: "
            f"{json.dumps({key: stamp.get(key) for key in different})} instead of "
            f"{json.dumps({key: own[key] for key in different})}. Give a new folder, or remove this one"
        )


def _places(data: EvaluationData) -> dict[str, Any]:
    """Where the parts lie; pictures of other images do not make another evaluation."""
    places = {
        part: str(Path(path).absolute()) for part, path in data.parts.items() if part != "images"
    }
    return places
