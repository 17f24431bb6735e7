"""Checkpoints that are whole or absent.

MMEngine writes on the final name and deletes the oldest checkpoint, or the best one, before the new one exists; a kill
in between leaves a torn file, or none. Here a file gets its name by an atomic rename once it has reached the disk, then
the pointer ``last_checkpoint`` moves the same way, and only then older files go. The files hold finite tensors and
plain types alone, so ``torch.load(..., weights_only=True)`` reads them as they are.
"""

from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from mmrel.engine.begin import begin_from
from mmrel.engine.checkpointing.best import BestCheckpoints
from mmrel.engine.checkpointing.choice import (
    POINTER,
    by_step,
    in_order,
    pointed,
    unreadable_reason,
)
from mmrel.engine.checkpointing.finite import infinite_buffers, nonfinite_state
from mmrel.engine.checkpointing.plain import tensor_bytes, to_buffer, to_plain
from mmrel.engine.checkpointing.ranks import CheckpointError, decided_by_main, true_on_all
from mmrel.engine.checkpointing.settings import KEY, check_settings, images_of, settings_of
from mmrel.engine.checkpointing.space import CheckpointWriteError, could_not_write
from mmrel.engine.checkpointing.whole import whole_state_of
from mmrel.engine.optimizers.nonfinite import NonFiniteStateError
from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model
from mmrel.utils.files import publish, write_text_atomically
from mmrel.utils.text import listed

__all__ = ["AtomicCheckpointHook", "to_plain", "unreadable_reason"]

STOP_CHECKPOINTS = "stop_ckpts"


@HOOKS.register_module()
class AtomicCheckpointHook(BestCheckpoints, CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe against a kill at any moment.

    On ``--resume``, checkpoints that cannot be read are named and passed over for the newest that can; settings that
    changed are announced or refused. A state that is not finite is never written. ``save_best`` also knows the
    values of ``mmrel.KNNHook``. For a remote ``out_dir`` (a URL) the stock way of writing is used.

    Args:
        *args: as ``CheckpointHook``.
        fingerprint_images: compare names and sizes of the training images on resume, not their number alone. It asks
            the file system for the size of each image once at the start.
        **kwargs: as ``CheckpointHook``.
    """

    keep_ckpt_ids: deque[int]

    def __init__(self, *args: Any, fingerprint_images: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fingerprint_images = fingerprint_images
        self._images: dict[str, Any] = {}
        self._infinite_on_purpose: set[str] = set()
        self._bytes = 0
        self._latest: tuple[int, Path] | None = None

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume from, before the runner loads it."""
        if not isinstance(runner._train_loop, BaseLoop):  # a test or a validation alone
            return
        self._images = decided_by_main(lambda: self._count_images(runner))
        if runner._resume:
            runner._load_from = decided_by_main(lambda: self._choose(runner))
        elif is_main_process():
            self._announce_earlier_run(runner)

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder; whatever names a file there names it by the folder's own path."""
        super().before_train(runner)
        self._infinite_on_purpose = infinite_buffers(unwrap_model(runner))
        if "://" in str(self.out_dir):
            return
        if runner.iter:
            self.last_ckpt = runner._load_from
        self._prepare_best(runner)
        if is_main_process():
            self._tidy(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Turn the log buffers into tensors and NumPy values into plain ones; note the run's settings."""
        checkpoint["message_hub"] = to_plain(checkpoint["message_hub"])
        checkpoint["meta"][KEY] = settings_of(runner, self._images)
        self._bytes = tensor_bytes(checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Undo ``before_save_checkpoint``; insist on what fits.

        On resume these are every key and shape, and the settings; otherwise a whole backbone.

        Raises:
            CheckpointError: MMEngine itself would only log what does not fit, and go on with fresh weights.
        """
        if runner._resume:
            _check_keys(unwrap_model(runner).state_dict(), checkpoint["state_dict"])
            saved = checkpoint["meta"].get(KEY)
            for paragraph in (
                check_settings(saved, settings_of(runner, self._images)) if saved else ()
            ):
                runner.logger.warning(paragraph)
        else:
            begin_from(runner, checkpoint)
        hub = checkpoint.get("message_hub")
        if hub is not None:
            hub["log_scalars"] = {key: to_buffer(v) for key, v in hub["log_scalars"].items()}

    def save_now(self, runner: Runner) -> Path:
        """Save after the current iteration, whatever the interval, for a run that is about to end.

        Such a file (``iter_<n>.pth``) is the first to go when the resumed run saves again.

        Returns:
            The checkpoint; an existing one if the iteration has just been saved.
        """
        done = runner.iter + 1
        if self._latest is not None and self._latest[0] == done:
            return self._latest[1]
        meta = dict(epoch=runner.epoch, iter=done)
        if not self.by_epoch:
            self._save_checkpoint_with_step(runner, done, meta)
            return Path(str(self.last_ckpt))
        final = Path(self.out_dir) / f"iter_{done}.pth"
        earlier = runner.message_hub.runtime_info.get(STOP_CHECKPOINTS) or []
        runner.message_hub.update_info(STOP_CHECKPOINTS, [*earlier, final.name])
        self._write_latest(runner, final, [], meta, by_epoch=False)
        return final

    def _tidy(self, runner: Runner) -> None:
        """Remove what a killed run left half written, or had replaced and not yet removed."""
        folder, work_dir = Path(self.out_dir), Path(runner.work_dir)
        # The checkpoint that is resumed knows of files of earlier stops; it may be one of them itself.
        stopped = runner.message_hub.runtime_info.get(STOP_CHECKPOINTS) or []
        replaced = [folder / name for name in stopped if name != Path(str(self.last_ckpt)).name]
        unfinished = [*folder.glob(".*.pth.tmp"), *work_dir.glob(f".{POINTER}.*.tmp")]
        for path in (*unfinished, *replaced):
            path.unlink(missing_ok=True)

    def _folder(self, runner: Runner) -> Path:
        """Where the checkpoints lie, also before ``before_train`` has settled it."""
        if self.out_dir is None:
            return Path(runner.work_dir)
        return Path(self.out_dir) / Path(runner.work_dir).name

    def _candidates(self, runner: Runner) -> list[Path]:
        """The pointer's file, then all others, the highest step first."""
        folder = self._folder(runner)
        length = len(runner.train_dataloader)
        others = by_step(folder, self.filename_tmpl, self.by_epoch, length)
        return in_order(pointed(Path(runner.work_dir), folder), others)

    def _choose(self, runner: Runner) -> str | None:
        """The file to resume from; ``None`` if there is none and the run starts anew."""
        if runner._load_from is not None:
            named = str(runner._load_from)
            reason = unreadable_reason(Path(named)) if "://" not in named else None
            if reason:
                raise CheckpointError(
                    f"Cannot resume from {named}: {reason}. Name another checkpoint, or leave the name "
                    "out to take the newest readable one in the work dir."
                )
            return named
        candidates = self._candidates(runner)
        for candidate in candidates:
            reason = unreadable_reason(candidate)
            if reason is None:
                return str(candidate)
            runner.logger.warning(f"Resume passes over {candidate}: {reason}.")
        if candidates:
            raise CheckpointError(
                f"Cannot resume: none of the {len(candidates)} checkpoints in {self._folder(runner)} can be read (the "
                "log gives the reasons). Remove them to start anew, or name another checkpoint."
            )
        return None

    def _count_images(self, runner: Runner) -> dict[str, Any]:
        dataset = runner.train_dataloader.dataset
        if not self.fingerprint_images:
            return {"number": len(dataset), "fingerprints": []}
        return images_of(dataset)

    def _announce_earlier_run(self, runner: Runner) -> None:
        earlier = by_step(
            self._folder(runner), self.filename_tmpl, self.by_epoch, len(runner.train_dataloader)
        )
        if earlier:
            runner.logger.warning(
                f"{self._folder(runner)} holds {len(earlier)} checkpoints of an earlier run, the latest "
                f"{earlier[0].name}. This run starts from the beginning and replaces files of the same name. To "
                "continue the earlier run, stop this one and give --resume; to keep both, give another --work-dir."
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        if "://" in str(self.out_dir):
            with whole_state_of(runner):
                super()._save_checkpoint_with_step(runner, step, meta)
            return
        outdated = self._enrol(runner, step)
        final = Path(self.out_dir) / self.filename_tmpl.format(step)
        self._write_latest(runner, final, outdated, meta, self.by_epoch)

    def _write_latest(
        self,
        runner: Runner,
        final: Path,
        outdated: list[Path],
        meta: dict[str, Any],
        by_epoch: bool,
    ) -> None:
        """Write the state to resume from, let the pointer name it, and only then remove older files."""
        self.last_ckpt = str(final)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        self._write(
            runner,
            final,
            latest=True,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=by_epoch,
            **self.args,
        )
        self._latest = (meta["iter"], final)
        stopped = runner.message_hub.runtime_info.get(STOP_CHECKPOINTS) or []
        outdated = [*outdated, *(final.with_name(name) for name in stopped if name != final.name)]
        for path in outdated if is_main_process() else ():
            path.unlink(missing_ok=True)

    def _write(self, runner: Runner, final: Path, latest: bool, **options: Any) -> None:
        """Write one file; all processes call this, and all raise if it fails."""
        self._require_finite_state(runner, final)
        temporary = final.with_name(f".{final.name}.tmp")
        failure: CheckpointWriteError | None = None
        try:
            with whole_state_of(runner, options["save_optimizer"]):
                runner.save_checkpoint(str(final.parent), temporary.name, **options)
            if is_main_process():
                publish(temporary, final)
                if latest:
                    self._point_to(final, Path(runner.work_dir))
        except OSError as error:
            failure = could_not_write(final, error, self._bytes)
        finally:
            if is_main_process():
                temporary.unlink(missing_ok=True)
        everywhere = true_on_all(failure is None)
        if failure is not None:
            raise failure from failure.cause
        if not everywhere:
            raise RuntimeError(
                f"The main process could not write {final} (its log says why), so all processes stop."
            )

    def _require_finite_state(self, runner: Runner, final: Path) -> None:
        check_finite = getattr(runner.optim_wrapper, "check_finite", None)
        if check_finite is not None:
            check_finite(wait=True)
        bad = nonfinite_state(unwrap_model(runner), runner.optim_wrapper, self._infinite_on_purpose)
        if true_on_all(not bad):
            return
        found = listed(bad, 4) if bad else "what another process names"
        raise NonFiniteStateError(
            f"{final} was not written: at iteration {runner.iter} {found} is not finite, and a run cannot go on "
            "from such a state. The checkpoints before it stay as they are. Resume from the latest with stronger "
            "gradient clipping or precision='bf16' or 'fp32', or start a new run from its weights (load_from) with a "
            "lower learning rate."
        )

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


def _check_keys(own: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    missing, unexpected = sorted(own.keys() - saved.keys()), sorted(saved.keys() - own.keys())
    shapes = [key for key in own.keys() & saved.keys() if own[key].shape != saved[key].shape]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"The checkpoint does not fit the model: {len(missing)} keys missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}, {len(shapes)} of another shape "
            f"{sorted(shapes)[:3]}. Resume with the configuration it was saved with, or start a new run "
            "from its weights: load_from without resume."
        )
