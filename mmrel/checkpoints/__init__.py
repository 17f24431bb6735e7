"""Weights of vision transformers from other projects, and mmrel's for them."""

from mmrel.checkpoints.convert import (
    Backbone,
    convert,
    convert_to_official,
    load_backbone,
    read_backbone_file,
    to_official,
)
from mmrel.checkpoints.full import convert_full

__all__ = [
    "Backbone",
    "convert",
    "convert_full",
    "convert_to_official",
    "load_backbone",
    "read_backbone_file",
    "to_official",
]
