"""Weights of vision transformers from other projects, and mmrel's for them."""

from typing import TYPE_CHECKING

from mmrel.utils.lazy import lazy_attributes

if TYPE_CHECKING:
    from mmrel.checkpoints.conversion import (
        Backbone,
        convert,
        convert_to_official,
        load_backbone,
        read_backbone_file,
        to_official,
    )
    from mmrel.checkpoints.full import convert_full
    from mmrel.checkpoints.hugging_face.folder import convert_to_folder

__all__ = [
    "Backbone",
    "convert",
    "convert_full",
    "convert_to_folder",
    "convert_to_official",
    "load_backbone",
    "read_backbone_file",
    "to_official",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        **dict.fromkeys(__all__, "mmrel.checkpoints.conversion"),
        "convert_full": "mmrel.checkpoints.full",
        "convert_to_folder": "mmrel.checkpoints.hugging_face.folder",
    },
)
