"""Vision transformers for pretraining and for dense prediction."""

from mmrel.models.backbones.dense_vit import DenseViT
from mmrel.models.backbones.mocov3_vit import MoCoV3ViT
from mmrel.models.backbones.swin import Swin
from mmrel.models.backbones.t2t_vit import T2TViT
from mmrel.models.backbones.vit import ViT

__all__ = ["DenseViT", "MoCoV3ViT", "Swin", "T2TViT", "ViT"]
