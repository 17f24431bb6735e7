"""Registration of everything at once, for notebooks and tests that build without a runner."""

from importlib import import_module

_LOCATIONS = (
    "mmrel.models",
    "mmrel.datasets.image_folder",
    "mmrel.datasets.samplers",
    "mmrel.datasets.transforms",
    "mmrel.engine",
    "mmrel.evaluation",
)


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import every module that registers something.

    A runner does not need this: registries import their modules on the first look-up.

    Args:
        init_default_scope (bool): Whether to make ``mmpretrain`` the default scope, so that bare
            names such as ``VisionTransformer`` resolve. Defaults to True.
    """
    for location in _LOCATIONS:
        import_module(location)
    if init_default_scope:
        from mmengine.registry import init_default_scope as set_default_scope

        set_default_scope("mmpretrain")
