"""Supervised models."""

from mmrel.models.classifiers.linear_probe import LinearProbeClassifier
from mmrel.models.classifiers.relvit import RelViTClassifier

__all__ = ["LinearProbeClassifier", "RelViTClassifier"]
