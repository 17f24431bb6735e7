"""Features from one call."""

from typing import TYPE_CHECKING

from mmrel.utils.lazy import lazy_attributes

if TYPE_CHECKING:
    from mmrel.apis.backbone import get_backbone
    from mmrel.apis.extractor import feature_extractor
    from mmrel.apis.features import extract_features

__all__ = ["extract_features", "feature_extractor", "get_backbone"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "extract_features": "mmrel.apis.features",
        "feature_extractor": "mmrel.apis.extractor",
        "get_backbone": "mmrel.apis.backbone",
    },
)
