"""Layers that networks are made of and that torch or mmcv lack."""

from mmrel.models.layers.sync_batch_norm import SyncBatchNorm, build_norm

__all__ = ["SyncBatchNorm", "build_norm"]
