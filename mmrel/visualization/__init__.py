"""Figures and the run report: relation maps, curves, predictions, one HTML page."""

from mmrel.visualization.curves import draw_finetuning, draw_pretraining
from mmrel.visualization.predictions import Instance, Panel, draw_rows, predict
from mmrel.visualization.records import last_value, read_records, series
from mmrel.visualization.relation_figure import draw_relation_maps
from mmrel.visualization.relation_maps import ImageViews, RelationMaps, cut_views, relation_maps
from mmrel.visualization.report import write_page

__all__ = [
    "ImageViews",
    "Instance",
    "Panel",
    "RelationMaps",
    "cut_views",
    "draw_finetuning",
    "draw_pretraining",
    "draw_relation_maps",
    "draw_rows",
    "last_value",
    "predict",
    "read_records",
    "relation_maps",
    "series",
    "write_page",
]
