"""Features from one call, and what the tools are made of.

``get_backbone`` and ``extract_features`` are imported on first use, so that a tool which needs neither starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrel.apis.backbone import get_backbone
    from mmrel.apis.features import extract_features

__all__ = ["extract_features", "get_backbone"]

_HOMES = {"extract_features": "mmrel.apis.features", "get_backbone": "mmrel.apis.backbone"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(_HOMES[name]), name)
