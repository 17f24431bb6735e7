"""Training loops."""

from mmrel.engine.loops.resumable_epoch_loop import ResumableEpochLoop

__all__ = ["ResumableEpochLoop"]
