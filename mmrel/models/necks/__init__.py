"""Small networks between a backbone and the heads."""

from mmrel.models.necks.contrastive import ContrastiveProjection
from mmrel.models.necks.early_patches import EarlyPatches
from mmrel.models.necks.first_projection_layer import FirstProjectionLayer
from mmrel.models.necks.neighbour_aggregation import NeighbourAggregation
from mmrel.models.necks.patch_tokens import PatchTokens
from mmrel.models.necks.pixel_decoder import PixelDecoder
from mmrel.models.necks.projection import PrototypeProjection
from mmrel.models.necks.self_relation import SelfRelation
from mmrel.models.necks.token_feature import TokenFeature
from mmrel.models.necks.vit_pyramid import ViTPyramid

__all__ = [
    "ContrastiveProjection",
    "EarlyPatches",
    "FirstProjectionLayer",
    "NeighbourAggregation",
    "PatchTokens",
    "PixelDecoder",
    "PrototypeProjection",
    "SelfRelation",
    "TokenFeature",
    "ViTPyramid",
]
