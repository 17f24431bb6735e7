"""Connects the data sets' list of unreadable files with the run's work dir."""

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.datasets.bad_samples import connect_bad_sample_log, read_bad_samples
from mmrel.registry import HOOKS


@HOOKS.register_module()
class BadSampleHook(Hook):
    """Lists unreadable files in ``<work_dir>/<filename>`` and reports their number each epoch.

    Entries are marked with the run's timestamp; those of earlier runs in the same work dir stay.

    Args:
        filename: name of the list.
    """

    def __init__(self, filename: str = "bad_samples.jsonl") -> None:
        self.filename = filename
        self._reported = 0

    def before_train(self, runner: Runner) -> None:
        """Before the workers start: say where to write."""
        connect_bad_sample_log(
            runner.train_dataloader.dataset, self._file(runner), runner.timestamp
        )

    def after_train_epoch(self, runner: Runner) -> None:
        """Warn if files were found unreadable since the last report."""
        entries = read_bad_samples(self._file(runner), runner.timestamp)
        if len(entries) > self._reported:
            runner.logger.warning(
                f"{len(entries)} unreadable files were replaced by other samples, the latest "
                f"{entries[-1]['path']} ({entries[-1]['reason']}); all are in {self._file(runner)}"
            )
            self._reported = len(entries)

    def _file(self, runner: Runner) -> Path:
        return Path(runner.work_dir) / self.filename
