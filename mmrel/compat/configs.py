"""MMEngine's configurations, read and written without work that has no effect.

A base of another package, such as ``mmdet::_base_/default_runtime.py``, stands in no index of models. MMEngine reads
all of that package's (two hundred YAML files of mmdet, several seconds) before it looks in the folder. And whenever a
configuration is logged or saved, which includes every checkpoint, yapf formats it anew.
"""

from types import ModuleType
from typing import Any

BASES = "_base_/"
_texts: dict[str, str] = {}


def prepare_configs(module: ModuleType) -> None:
    """Find bases by their path at once, and format equal configurations once.

    Args:
        module (ModuleType): ``mmengine.config.config``.
    """
    find_indexed, find_base = module._get_external_cfg_path, module._get_external_cfg_base_path

    def find(package_path: str, name: str) -> str:
        """Path of a configuration of another package."""
        return str((find_base if name.startswith(BASES) else find_indexed)(package_path, name))

    module._get_external_cfg_path = find  # type: ignore[attr-defined]
    format_text = module.Config.pretty_text.fget

    def pretty_text(config: Any) -> str:
        """The configuration as formatted Python."""
        formatted = getattr(config, "_format_python_code", True)
        content = f"{formatted} {config.to_dict()!r}"
        if content not in _texts:
            _texts.clear()
            _texts[content] = format_text(config)
        return _texts[content]

    module.Config.pretty_text = property(pretty_text)
