"""mmrel: pretraining of vision transformers from the relations inside an image, for OpenMMLab.

Importing mmrel is cheap and enough to use it from any OpenMMLab tool: it checks the host libraries,
makes the prefixes ``mmrel::``, ``mmpretrain::``, ``mmdet::`` and ``mmseg::`` resolve in the
``_base_`` of configurations, and offers torchvision in the place of mmcv's compiled operators where
those are absent. Models, datasets and hooks are imported by the registries on first use; mmdet and
mmseg are never imported here.
"""

from typing import Any

from mmrel.compat.finder import install_mmcv_ops
from mmrel.utils.hosts import allow_mmengine_checkpoints, check_hosts, register_config_prefixes
from mmrel.version import __version__

__all__ = ["__version__", "extract_features", "get_backbone"]

check_hosts()
register_config_prefixes()
allow_mmengine_checkpoints()
install_mmcv_ops()


def __getattr__(name: str) -> Any:
    """Import the functions of ``mmrel.apis`` on first use."""
    if name in ("extract_features", "get_backbone"):
        from mmrel import apis

        return getattr(apis, name)
    raise AttributeError(f"module 'mmrel' has no attribute {name!r}")
