"""Bundled data: a deterministic generator of annotated scenes with textures from photographs.

Read in this order: ``classes`` (what there is), ``draw`` (how a scene is drawn), ``paint`` (how it
becomes pixels), ``writers`` (the four layouts). ``make_scenes`` writes it all.
"""

from mmrel.datasets.scenes.classes import (
    CLASSES,
    PALETTE,
    SEGMENTATION_CLASSES,
    STUFF,
    THING_PALETTE,
)
from mmrel.datasets.scenes.generate import Parameters, SceneSummary, make_scenes
from mmrel.datasets.scenes.thumbnail import thumbnail_features
from mmrel.datasets.scenes.writers import LAYOUTS

__all__ = [
    "CLASSES",
    "LAYOUTS",
    "PALETTE",
    "SEGMENTATION_CLASSES",
    "STUFF",
    "THING_PALETTE",
    "Parameters",
    "SceneSummary",
    "make_scenes",
    "thumbnail_features",
]
