"""Fine-tuning on few labels keeps the first layer of the teacher's projection head: the right tensors, none missing."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmrel.models.necks import FirstProjectionLayer, TokenFeature
from mmrel.registry import MODELS
from mmrel.structures import TokenViews

PREFIX = "teacher.neck.projection."
SETTINGS: dict[str, dict] = {
    "dino": {},
    "ibot": {},
    "sere": {},
    "mocov3": dict(norm_cfg=dict(type="BN1d"), act_cfg=dict(type="ReLU")),
    "selfpatch": dict(aggregator=dict(num_heads=tiny.HEADS)),
}


def written(method: str, path: Path) -> Any:
    """A pretraining model whose tensors are all different from each other, as its checkpoint."""
    model = tiny.build(getattr(tiny, method)(), seed=5)
    rng = torch.Generator().manual_seed(1)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=rng))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return model.eval()


def layer(method: str, checkpoint: Path | None, prefix: str = PREFIX, **kwargs: Any) -> Any:
    init_cfg = dict(type="Pretrained", checkpoint=checkpoint and str(checkpoint), prefix=prefix)
    settings = dict(in_channels=tiny.WIDTH, hidden_channels=16, **SETTINGS[method])
    neck: Any = FirstProjectionLayer(**(settings | kwargs), init_cfg=init_cfg)
    neck.init_weights()
    return neck.eval()


def tokens_of(backbone: nn.Module) -> TokenViews:
    return backbone(torch.randn(3, 3, tiny.GLOBAL, tiny.GLOBAL))


@pytest.mark.parametrize("method", SETTINGS)
@torch.no_grad()
def test_layer__is_the_teachers(method: str, tmp_path: Path) -> None:
    """What it gives equals the teacher's own modules up to the first activation."""
    model = written(method, tmp_path / "epoch_1.pth")
    neck = layer(method, tmp_path / "epoch_1.pth")
    tokens = tokens_of(model.teacher.backbone)
    theirs: Any = model.teacher.neck["projection"]
    if method == "selfpatch":
        wanted = theirs.cls_projector.mlp[:2](theirs.image_token(tokens))
    else:
        wanted = theirs.mlp[: 3 if method == "mocov3" else 2](tokens.cls)
    torch.testing.assert_close(neck(tokens)[0], wanted)
    given = model.state_dict()
    student = layer(method, tmp_path / "epoch_1.pth", prefix="neck.projection.")
    for name, value in neck.state_dict().items():
        inner = "cls_projector." if method == "selfpatch" and name.startswith("mlp.") else ""
        assert torch.equal(value, given[f"{PREFIX}{inner}{name}"]), name
        own = student.state_dict()[name]
        assert torch.equal(own, given[f"neck.projection.{inner}{name}"]), name
        assert not own.is_floating_point() or not torch.equal(own, value), name


@pytest.mark.parametrize("method", SETTINGS)
def test_layer__in_mmpretrains_classifier(method: str, tmp_path: Path) -> None:
    """Backbone and layer from one file, in one ``init_weights`` of the host."""
    init_default_scope("mmpretrain")  # of the classifier's data preprocessor
    model = written(method, tmp_path / "epoch_1.pth")
    pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "epoch_1.pth"))
    backbone = dict(getattr(tiny, method)(), type=None)
    backbone = backbone["base"]["backbone"] if method == "sere" else backbone["backbone"]
    classifier: Any = MODELS.build(
        dict(
            type="mmpretrain.ImageClassifier",
            backbone=dict(backbone, init_cfg=dict(pretrained, prefix="teacher.backbone.")),
            neck=dict(
                type="mmrel.FirstProjectionLayer",
                in_channels=tiny.WIDTH,
                hidden_channels=16,
                init_cfg=dict(pretrained, prefix=PREFIX),
                **SETTINGS[method],
            ),
            head=dict(type="mmpretrain.LinearClsHead", num_classes=3, in_channels=16),
        )
    )
    classifier.init_weights()
    given = model.state_dict()
    for name, value in classifier.backbone.state_dict().items():
        if name != "mask_token":
            assert torch.equal(value, given[f"teacher.backbone.{name}"]), name
    last = "cls_projector.mlp.0" if method == "selfpatch" else "mlp.0"
    assert torch.equal(classifier.neck.mlp[0].weight, given[f"{PREFIX}{last}.weight"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(hidden_channels=20), r"mlp.0.weight \(there \(16, 12\), here \(20, 12\)\)"),
        (dict(norm_cfg=dict(type="BN1d")), r"projection.mlp.1.weight \(missing\)"),
        (dict(prefix="teacher.head."), r"teacher.head.mlp.0.weight \(missing\)"),
        (dict(aggregator=dict(num_heads=2)), r"aggregator.cls_token \(missing\).* and \d+ more"),
    ],
)
def test_layer__refuses_what_does_not_fit(changed: dict, message: str, tmp_path: Path) -> None:
    written("dino", tmp_path / "epoch_1.pth")
    with pytest.raises(ValueError, match=message):
        layer("dino", tmp_path / "epoch_1.pth", **changed)


def test_layer__refuses_an_exported_backbone(tmp_path: Path) -> None:
    torch.save({"state_dict": {"backbone.cls_token": torch.zeros(1)}}, tmp_path / "backbone.pth")
    with pytest.raises(ValueError, match="exported backbone has no head"):
        layer("dino", tmp_path / "backbone.pth")


def test_layer__without_checkpoint_is_drawn() -> None:
    neck = layer("dino", None, hidden_channels=2048)
    weight: Tensor = neck.mlp[0].weight
    assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not neck.mlp[0].bias.any()


def test_token_feature__norm_is_after_the_mean() -> None:
    """MAE's ``fc_norm``: the mean of tokens that passed no norm is normed."""
    patches = torch.randn(2, 5, 8) * 3 + 1
    neck = TokenFeature("avg", norm_channels=8)
    with torch.no_grad():
        neck.norm.weight.copy_(torch.rand(8))
    mean = patches.mean(dim=1)
    centred = mean - mean.mean(dim=1, keepdim=True)
    wanted = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt() * neck.norm.weight
    torch.testing.assert_close(neck(TokenViews(None, patches, patches, (1, 5)))[0], wanted)
