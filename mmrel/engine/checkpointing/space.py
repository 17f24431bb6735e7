"""What to say when a checkpoint cannot be written."""

import shutil
from pathlib import Path


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; ``cause`` is the system's own error."""

    cause: OSError


def could_not_write(path: Path, error: OSError, needed: int) -> CheckpointWriteError:
    """The error with the path, the bytes needed and the bytes free.

    Args:
        path: the checkpoint.
        error: the system's.
        needed: bytes of the checkpoint's tensors; 0 if they were not counted yet.
    """
    told = CheckpointWriteError(
        f"The checkpoint {path} could not be written: {error.strerror or error}. It needs about {needed:,} bytes, and "
        f"{_free(path.parent)} are free in {path.parent}. The checkpoints before it stay as they are. Make room there, "
        "or keep fewer (default_hooks.checkpoint.max_keep_ckpts), and continue with --resume."
    )
    told.errno, told.cause = error.errno, error
    return told


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes"
    except OSError:
        return "an unknown number"
