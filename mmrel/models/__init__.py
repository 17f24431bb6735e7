"""Backbones, necks, heads and algorithms; importing this package registers them."""

from mmrel.models import backbones, classifiers, data_preprocessors, heads, layers, necks, selfsup

__all__ = ["backbones", "classifiers", "data_preprocessors", "heads", "layers", "necks", "selfsup"]
