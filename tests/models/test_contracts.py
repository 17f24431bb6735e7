"""The parts of mmrel against the contracts, and what a part that does not fit is told."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from mmrel.models import backbones, contracts, heads, necks
from mmrel.models.heads.base import Head
from mmrel.models.selfsup import DINO, self_supervised, student_teacher
from mmrel.registry import MODELS
from mmrel.utils import register_all_modules

HEADS = [getattr(heads, name) for name in heads.__all__ if name != "SiTClsHead"]  # mmpretrain's
NECKS = [
    getattr(necks, name)
    for name in necks.__all__
    if name not in ("FirstProjectionLayer", "TokenFeature", "ViTPyramid")
]


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize("head", HEADS)
def test_heads__share_one_base(head: type) -> None:
    assert issubclass(head, Head) and head.needs <= contracts.KNOWN_NEEDS
    assert parameters(head.forward) == parameters(contracts.LossHead.__call__)


@pytest.mark.parametrize("neck", NECKS)
def test_necks__are_called_as_the_contract_says(neck: type) -> None:
    teachable = neck.__name__ != "PatchTokens"  # RelViT has no teacher
    contract = contracts.TeachableNeck if teachable else contracts.Neck
    assert not [name for name in contracts.missing_members(neck, contract) if name != "parameters"]
    for method in ("student", "teacher")[: 1 + teachable]:
        assert parameters(getattr(neck, method)) == ["tokens", "views"]


@pytest.mark.parametrize("kind", ["ViT", "MoCoV3ViT", "Swin", "T2TViT"])
def test_backbones__are_called_as_the_contract_says(kind: str) -> None:
    backbone = getattr(backbones, kind)
    assert parameters(backbone.forward) == ["crops", "masks"]
    teachable = kind.endswith("ViT") and kind != "T2TViT"
    assert contracts.missing_members(backbone, contracts.GridBackbone) == []
    assert (contracts.missing_members(backbone, contracts.TeachableBackbone) == []) == teachable


@pytest.mark.parametrize("module", [self_supervised, student_teacher])
def test_skeletons__know_the_types_of_their_parts(module: Any) -> None:
    """``Any`` stands for what the host hands to ``forward`` and for nothing else."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    host = {id(arg.annotation) for arg in ast.walk(tree) if getattr(arg, "arg", "") == "inputs"}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "Any"]
    assert [n.lineno for n in found if id(n) not in host] == []


def test_missing_members__sees_parameters_and_data() -> None:
    """``nn.Module`` keeps parameters out of the instance's dictionary."""
    register_all_modules()
    vit = MODELS.build(tiny.vit())
    assert contracts.missing_members(vit, contracts.ViTBackbone) == []
    del vit.cls_token, vit.final_norm
    assert contracts.missing_members(vit, contracts.ViTBackbone) == ["cls_token", "final_norm"]


NARROW = dict(embed_dims=12, num_layers=1, num_heads=2, feedforward_channels=24)
"""As wide as the neck expects: what does not fit is the class alone."""


class NoTeacher(nn.Module):
    """A neck that was written for one network only."""

    def student(self, tokens: Any, views: Any) -> torch.Tensor:
        return tokens.global_crops.class_token


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(neck=NoTeacher()),
            "NoTeacher is to be a TeachableNeck, but has no teacher, teacher_copy; mmrel.models.contracts says",
        ),
        (
            dict(backbone=dict(type="mmpretrain.VisionTransformer", arch=NARROW, img_size=32)),
            r"VisionTransformer is to be a TeachableBackbone, but has no teacher_copy; .* .mmrel.ViT for a backbone",
        ),
        (dict(head=nn.Identity()), "Identity is to be a LossHead, but has no loss_weight, neck,"),
    ],
)
def test_build__a_part_that_does_not_fit(changes: dict, message: str) -> None:
    register_all_modules()
    config = {**tiny.dino(), **changes}
    config.pop("type")
    with pytest.raises(TypeError, match=message):
        DINO(**config)
