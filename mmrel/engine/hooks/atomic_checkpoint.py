"""Checkpoints that are whole or absent.

MMEngine writes on the final name and deletes the oldest checkpoint before the new one exists; a kill in between
leaves a torn file, or none. Here a file gets its name by an atomic rename after it has reached the disk, then
the pointer ``last_checkpoint`` moves the same way, and only then older files go. The files hold tensors and
plain types alone, so ``torch.load(..., weights_only=True)`` reads them as they are.
"""

import pickle
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import Tensor

from mmrel.registry import HOOKS
from mmrel.utils.checkpoint_file import allowed_types
from mmrel.utils.device import unwrap_model
from mmrel.utils.files import publish, write_text_atomically

POINTER = "last_checkpoint"
REQUIRED = ("meta", "state_dict", "optimizer", "message_hub")


def unreadable_reason(path: Path) -> str | None:
    """Why a run cannot resume from this file, or ``None`` if it can.

    The file is read in full, its checksums are compared, and nothing in it is executed.
    """
    try:
        if zipfile.is_zipfile(path) and (bad := zipfile.ZipFile(path).testzip()):
            return f"it is damaged (the checksum of {bad} differs)"
        with torch.serialization.safe_globals(allowed_types()):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        return f"it holds more than tensors and plain types ({_first_line(error)})"
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        return f"it is missing or damaged ({type(error).__name__}: {_first_line(error)})"
    missing = [key for key in REQUIRED if key not in checkpoint]
    return f"it has no {', '.join(missing)}" if missing else None


def _check_keys(own: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(own.keys() - saved.keys()), sorted(saved.keys() - own.keys())
    shapes = [key for key in own.keys() & saved.keys() if own[key].shape != saved[key].shape]
    if missing or unexpected or shapes:
        raise ValueError(
            f"The checkpoint does not fit the model: {len(missing)} keys missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}, {len(shapes)} of another shape "
            f"{sorted(shapes)[:3]}. Resume with the configuration it was saved with, or start a new run "
            "from its weights: load_from without resume."
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or "no detail"


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe against a kill at any moment.

    On ``--resume``, checkpoints that cannot be read are named and passed over for the newest that can. For
    a remote ``out_dir`` (a URL) the stock way of writing is used.
    """

    keep_ckpt_ids: deque[int]

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume from, before the runner loads it."""
        if not runner._resume:
            return
        if runner._load_from is not None:
            chosen = Path(runner._load_from)
            reason = unreadable_reason(chosen) if "://" not in str(runner._load_from) else None
            if reason:
                raise ValueError(
                    f"Cannot resume from {chosen}: {reason}. Name another checkpoint, or leave the name "
                    "out to take the newest readable one in the work dir."
                )
            return
        skipped = 0
        for candidate in self._candidates(Path(runner.work_dir)):
            reason = unreadable_reason(candidate)
            if reason is None:
                runner._load_from = str(candidate)
                return
            skipped += 1
            runner.logger.warning(f"Resume passes over {candidate}: {reason}.")
        if skipped:
            raise ValueError(
                f"Cannot resume: none of the {skipped} checkpoints in {runner.work_dir} can be read (the "
                "log gives the reasons). Remove them to start anew, or name another checkpoint."
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Turn the log buffers into tensors and NumPy values into plain ones."""
        checkpoint["message_hub"] = to_plain(checkpoint["message_hub"])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Undo ``before_save_checkpoint``; on resume, insist on every key and shape.

        Raises:
            ValueError: MMEngine itself would only log what does not fit, and go on with fresh weights.
        """
        if runner._resume:
            _check_keys(unwrap_model(runner).state_dict(), checkpoint["state_dict"])
        hub = checkpoint.get("message_hub")
        if hub is not None:
            hub["log_scalars"] = {key: _to_buffer(v) for key, v in hub["log_scalars"].items()}

    def _candidates(self, folder: Path) -> list[Path]:
        """The pointer's file, then all others, newest first."""
        pointer = folder / POINTER
        named = pointer.read_text().strip() if pointer.is_file() else ""
        pattern = self.filename_tmpl.format("*")
        others = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
        first = [Path(named)] if named else []
        return first + [path for path in others if path not in first]

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if "://" in str(self.out_dir):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        check_finite = getattr(runner.optim_wrapper, "check_finite", None)
        if check_finite is not None:
            check_finite(wait=True)
        outdated = self._enrol(runner, step)
        final = Path(self.out_dir) / self.filename_tmpl.format(step)
        self.last_ckpt = str(final)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        temporary = final.with_name(f".{final.name}.tmp")
        try:
            runner.save_checkpoint(
                str(final.parent),
                temporary.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                **self.args,
            )
            if is_main_process():
                publish(temporary, final)
                self._point_to(final, Path(runner.work_dir))
        finally:
            if is_main_process():
                temporary.unlink(missing_ok=True)
        if is_main_process():
            for path in outdated:
                path.unlink(missing_ok=True)

    def _enrol(self, runner: Runner, step: int) -> list[Path]:
        """Note the step among those kept; returns the files that are one too many afterwards."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [known for known in self.keep_ckpt_ids if known != step] + [step]
        kept = steps[-self.max_keep_ckpts :]
        self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        runner.message_hub.update_info("keep_ckpt_ids", kept)
        folder = Path(self.out_dir)
        return [folder / self.filename_tmpl.format(old) for old in steps if old not in kept]

    @staticmethod
    def _point_to(checkpoint: Path, work_dir: Path) -> None:
        write_text_atomically(work_dir / POINTER, str(checkpoint))


def to_plain(value: Any) -> Any:
    """The same structure of tensors and Python's own types."""
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {
            "log": torch.from_numpy(log.copy()),
            "count": torch.from_numpy(count.copy()),
            "max_length": value.max_length,
        }
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_plain(item) for item in value)
    if isinstance(value, np.generic):
        return value.item()
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _to_buffer(value: Any) -> HistoryBuffer:
    if isinstance(value, HistoryBuffer):
        return value
    buffer = HistoryBuffer(max_length=value["max_length"])
    buffer._log_history = value["log"].cpu().numpy()
    buffer._count_history = value["count"].cpu().numpy()
    return buffer
