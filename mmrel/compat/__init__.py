"""Bridges over what the host packages lack: on some machines, in one of their families, or for a plugin's recipes."""

from mmrel.compat.after_import import after_import
from mmrel.compat.configs import prepare_configs
from mmrel.compat.default_hooks import drop_hooks_that_are_none
from mmrel.compat.finder import install_mmcv_ops
from mmrel.compat.inferencers import follow_default_scope
from mmrel.compat.mmengine_checkpoints import read_own_checkpoints
from mmrel.compat.model_index import list_recipes, refuse_absent_weights
from mmrel.compat.multimodal import leave_out_multimodal

__all__ = ["install_bridges", "install_mmcv_ops"]

BRIDGES = {
    "mmengine.config.config": prepare_configs,
    "mmengine.hub.hub": refuse_absent_weights,
    "mmengine.infer.infer": follow_default_scope,
    "mmengine.runner.checkpoint": read_own_checkpoints,
    "mmengine.runner.runner": drop_hooks_that_are_none,
    "mmpretrain.apis.model": list_recipes,
    "mmpretrain.utils.dependency": leave_out_multimodal,
}
"""The modules of the hosts, and what is bridged once one is imported."""


def install_bridges() -> None:
    """Prepare every bridge; nothing of a host is imported for it."""
    install_mmcv_ops()
    for module, bridge in BRIDGES.items():
        after_import(module, bridge)
