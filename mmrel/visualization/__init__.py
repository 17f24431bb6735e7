"""Figures and the run report: what backbones see in photographs, relation maps, curves, predictions, one HTML page."""

from mmrel.visualization.attention import attention_maps, draw_attention
from mmrel.visualization.correspondence import (
    CropMatches,
    PhotoMatches,
    crop_matches,
    draw_crop_matches,
    draw_photo_matches,
    photo_matches,
)
from mmrel.visualization.curves import draw_finetuning, draw_pretraining
from mmrel.visualization.pca import PatchColors, draw_pca, patch_colors
from mmrel.visualization.predictions import Instance, Panel, draw_rows, predict
from mmrel.visualization.records import last_value, read_records, series
from mmrel.visualization.relation_figure import draw_relation_maps
from mmrel.visualization.relation_maps import ImageViews, RelationMaps, cut_views, relation_maps
from mmrel.visualization.relations import channel_relations, draw_relations, spatial_relations
from mmrel.visualization.report import write_page
from mmrel.visualization.similarity import draw_similarity, similarity_maps

__all__ = [
    "CropMatches",
    "ImageViews",
    "Instance",
    "Panel",
    "PatchColors",
    "PhotoMatches",
    "RelationMaps",
    "attention_maps",
    "channel_relations",
    "crop_matches",
    "cut_views",
    "draw_attention",
    "draw_crop_matches",
    "draw_finetuning",
    "draw_pca",
    "draw_photo_matches",
    "draw_pretraining",
    "draw_relation_maps",
    "draw_relations",
    "draw_rows",
    "draw_similarity",
    "last_value",
    "patch_colors",
    "photo_matches",
    "predict",
    "read_records",
    "relation_maps",
    "series",
    "similarity_maps",
    "spatial_relations",
    "write_page",
]
