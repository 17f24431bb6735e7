"""How often a run writes a line of its log and a checkpoint, in seconds rather than in steps."""

from typing import Any

LINE = 3.0
"""Seconds between two lines of the log, about; the first one comes so soon."""

LEAST_SAVE, MOST_SAVE = 20.0, 900.0
"""Seconds of work that a kill costs at most: a tenth of the run between these bounds."""

LONG_EPOCH = 1_800.0
"""Seconds of an epoch from which on checkpoints are written within epochs."""

MOST_LINES_APART = 50


def choose_intervals(steps_per_epoch: int, epochs: int, seconds_per_step: float) -> dict[str, Any]:
    """Entries of ``default_hooks``.

    A line of the log about every 3 seconds, at most 50 steps and one epoch apart; a checkpoint after a tenth of the
    run, 20 seconds at least and 15 minutes at most, at the end of an epoch, or within epochs of over half an hour.

    Args:
        steps_per_epoch: optimizer steps.
        epochs: of the run.
        seconds_per_step: as measured.
    """
    epoch = steps_per_epoch * seconds_per_step
    line = min(MOST_LINES_APART, steps_per_epoch, max(1, round(LINE / seconds_per_step)))
    save = min(max(epochs * epoch / 10, LEAST_SAVE), MOST_SAVE)
    checkpoint: dict[str, Any] = dict(interval=max(1, round(save / epoch)), max_keep_ckpts=2)
    if epoch > LONG_EPOCH:
        checkpoint = dict(
            by_epoch=False, interval=max(1, round(save / seconds_per_step)), max_keep_ckpts=2
        )
    return dict(logger=dict(interval=line), checkpoint=checkpoint)
