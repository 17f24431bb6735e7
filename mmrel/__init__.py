"""mmrel: pretraining of vision transformers from the relations inside an image, for OpenMMLab.

Importing mmrel is cheap and enough to use it from any OpenMMLab tool: it checks the host libraries,
makes the prefixes ``mmrel::``, ``mmpretrain::``, ``mmdet::`` and ``mmseg::`` resolve in the
``_base_`` of configurations, and offers torchvision in the place of mmcv's compiled operators where
those are absent. Models, datasets and hooks are imported by the registries on first use; mmdet and
mmseg are never imported here.
"""

from mmrel.compat import install_bridges
from mmrel.utils.hosts import check_hosts, register_config_prefixes
from mmrel.version import __version__

__all__ = ["__version__"]

check_hosts()
register_config_prefixes()
install_bridges()
