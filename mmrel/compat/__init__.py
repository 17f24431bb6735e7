"""Bridges over what the host packages lack on some machines."""

from mmrel.compat.finder import install_mmcv_ops

__all__ = ["install_mmcv_ops"]
