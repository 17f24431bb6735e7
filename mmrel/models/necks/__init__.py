"""Small networks between a backbone and the heads."""

from mmrel.models.necks.projection import PrototypeProjection
from mmrel.models.necks.self_relation import SelfRelation
from mmrel.models.necks.vit_pyramid import ViTPyramid

__all__ = ["PrototypeProjection", "SelfRelation", "ViTPyramid"]
