"""RelViT's backbones: sizes, Swin and T2T-ViT as mmpretrain has them, and the way downstream."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from mmpretrain.models.backbones import SwinTransformer, T2T_ViT
from torch import Tensor, nn

from mmrel.models.backbones import Swin, T2TViT, ViT
from mmrel.models.selfsup import RelViT
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch
from mmrel.utils import register_all_modules

SWIN = dict(
    arch=dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2]),
    img_size=64,
    window_size=2,
)
T2T = dict(
    img_size=64,
    embed_dims=12,
    num_layers=2,
    layer_cfgs=dict(num_heads=2, feedforward_channels=24),
    t2t_cfg=dict(token_dims=4),
)
KINDS = [("Swin", SWIN, 96), ("T2TViT", T2T, 12)]


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def built(kind: str, settings: dict, **changes: Any) -> Any:
    torch.manual_seed(0)
    network = MODELS.build(dict(type=f"mmrel.{kind}", **{**settings, **changes}))
    network.init_weights()
    network.eval()
    return network


@pytest.mark.parametrize(
    ("img_size", "patch_size", "count"),
    [(32, 4, 21_338_496), (64, 8, 21_393_792), (224, 32, 22_493_952)],
)
def test_vit__sizes(img_size: int, patch_size: int, count: int) -> None:
    with torch.device("meta"):
        network = ViT("deit-small", img_size=img_size, patch_size=patch_size, use_pos_embed=False)
    assert sum(p.numel() for p in network.parameters()) == count


def test_vit__initialisation_of_section_2() -> None:
    """Truncated normal of std 0.02 for linear layers, class token and positions; biases are 0."""
    network = tiny.build(tiny.relvit()).backbone
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            assert 0.01 < float(layer.weight.detach().std()) < 0.03
            assert not layer.bias.detach().any()
        if isinstance(layer, nn.Conv2d):
            assert float(layer.weight.detach().abs().max()) > 0.1
    assert 0 < float(network.cls_token.detach().abs().max()) <= 0.1
    assert 0.01 < float(network.pos_embed.detach().std()) < 0.03


def test_swin__tokens_are_the_last_map() -> None:
    network, host = built("Swin", SWIN), SwinTransformer(**SWIN)
    host.load_state_dict(network.state_dict())
    host.eval()
    tokens = network(images())
    assert tokens.cls is None and tokens.grid == (2, 2)
    assert torch.equal(tokens.patches, host(images())[0].flatten(2).transpose(1, 2))
    assert torch.equal(network.norm3(tokens.prenorm_patches), tokens.patches)


def test_t2t__class_token_and_averaged_patches() -> None:
    """As the public code pools: kernel 3, stride 2, padding 1, padding excluded from the mean."""
    network, host = built("T2TViT", T2T), T2T_ViT(**T2T, out_type="raw")
    host.load_state_dict(network.state_dict())
    host.eval()
    tokens, raw = network(images()), host(images())[0]
    assert torch.equal(tokens.cls, raw[:, 0]) and tokens.grid == (2, 2)
    maps = raw[:, 1:].unflatten(1, (4, 4))
    for row in range(2):
        for col in range(2):
            part = maps[:, max(2 * row - 1, 0) : 2 * row + 2, max(2 * col - 1, 0) : 2 * col + 2]
            torch.testing.assert_close(tokens.patches[:, 2 * row + col], part.mean(dim=(1, 2)))


def test_t2t__other_image_sizes() -> None:
    with pytest.raises(ValueError, match=r"32x32 pixels give 2 x 2 tokens, .* built for \[4, 4\]"):
        built("T2TViT", T2T)(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("kind", "settings", "width"), KINDS)
def test_backbone__one_step_of_both_modes_trains_everything(
    kind: str, settings: dict, width: int
) -> None:
    register_all_modules()
    heads = dict(
        relation=dict(type="mmrel.PatchRelationHead", in_channels=width, side=2),
        position=dict(type="mmrel.PatchPositionHead", in_channels=width, side=2),
    )
    backbone = dict(type=f"mmrel.{kind}", **settings)
    model = tiny.build(dict(type="mmrel.RelViT", backbone=backbone, head=heads))
    loss, _ = model.parse_losses(model(ViewBatch(images(), None, None, None, 1, 0), mode="loss"))
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == set()
    feature = "avg" if kind == "Swin" else "cls"
    classifier = tiny.build(
        dict(
            type="mmrel.RelViTClassifier",
            backbone=backbone,
            pretext=heads,
            neck=dict(type="mmrel.TokenFeature", feature=feature),
            head=dict(type="LinearClsHead", num_classes=3, in_channels=width),
        )
    )
    classifier.eval()
    assert classifier(images(), mode="tensor").shape == (2, 3)


def downstream(kind: str, settings: dict, checkpoint: Path | None, **changes: Any) -> Any:
    register_all_modules()
    init = dict(type="Pretrained", checkpoint=checkpoint and str(checkpoint), prefix="backbone.")
    return tiny.build(
        dict(
            type="mmpretrain.ImageClassifier",
            backbone=dict(type=f"mmrel.{kind}", init_cfg=init, **{**settings, **changes}),
            neck=dict(type="mmrel.TokenFeature", feature="avg"),
            head=dict(type="LinearClsHead", num_classes=3, in_channels=12),
        )
    )


VIT = {k: v for k, v in tiny.vit().items() if k != "type"}


def saved(kind: str, settings: dict, path: Path) -> RelViT:
    """An upstream model and its checkpoint."""
    model = tiny.build(
        dict(
            type="mmrel.RelViT",
            backbone=dict(type=f"mmrel.{kind}", **settings),
            head=dict(position=dict(type="mmrel.PatchPositionHead")),
        ),
        seed=5,
    )
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return model


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("ViT", {**VIT, "use_pos_embed": False}), ("Swin", SWIN), ("T2TViT", T2T)],
)
def test_downstream__gets_every_tensor_of_the_backbone(
    kind: str, settings: dict, tmp_path: Path
) -> None:
    """Heads are dropped; positions arrive as they were drawn, and are trained from now on."""
    upstream = saved(kind, settings, tmp_path / "upstream.pth")
    changes = dict(use_pos_embed=True) if kind == "ViT" else {}
    model = downstream(kind, settings, tmp_path / "upstream.pth", **changes)
    for name, value in upstream.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
    if kind == "ViT":
        assert model.backbone.pos_embed.requires_grad and model.backbone.use_pos_embed
        assert not upstream.backbone.pos_embed.requires_grad


@pytest.mark.parametrize(
    ("kind", "settings", "change"),
    [
        ("ViT", VIT, dict(num_registers=1)),
        ("Swin", SWIN, dict(arch=dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]))),
        ("T2TViT", T2T, dict(num_layers=3)),
    ],
)
def test_downstream__refuses_what_does_not_fit(
    kind: str, settings: dict, change: dict, tmp_path: Path
) -> None:
    saved(kind, settings, tmp_path / "upstream.pth")
    with pytest.raises(ValueError, match=rf"does not fit this {kind}: \d+ key"):
        downstream(kind, settings, tmp_path / "upstream.pth", **change)
    with pytest.raises(FileNotFoundError, match="no backbone checkpoint"):
        downstream(kind, settings, tmp_path / "no.pth")
    downstream(kind, settings, None)


def test_networks__are_registered() -> None:
    assert MODELS.get("mmrel.Swin") is Swin and MODELS.get("mmrel.T2TViT") is T2TViT
