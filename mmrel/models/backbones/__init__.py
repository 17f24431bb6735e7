"""Vision transformers for pretraining and for dense prediction."""

from mmrel.models.backbones.dense_vit import DenseViT
from mmrel.models.backbones.vit import ViT

__all__ = ["DenseViT", "ViT"]
