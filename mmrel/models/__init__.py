"""Backbones, necks, heads and algorithms; importing this package registers them."""

from mmrel.models import backbones, data_preprocessors, heads, necks, selfsup

__all__ = ["backbones", "data_preprocessors", "heads", "necks", "selfsup"]
