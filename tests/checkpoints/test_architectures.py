"""The named sizes are mmpretrain's, and MoCo v3's."""

from mmpretrain.models.backbones import VisionTransformer

from mmrel.checkpoints.architectures import ARCHITECTURES, SIZES
from mmrel.models.backbones.mocov3_vit import VIT_SMALL


def test_architectures__are_those_of_mmpretrain_and_moco_v3() -> None:
    zoo = {**VisionTransformer.arch_zoo, "mocov3-small": VIT_SMALL}
    known = {name: {size: settings[size] for size in SIZES} for name, settings in zoo.items()}
    known.pop("mocov3-s", None)  # mmpretrain's own MoCo v3 adds it to its ViT's when it is imported
    assert known == ARCHITECTURES
