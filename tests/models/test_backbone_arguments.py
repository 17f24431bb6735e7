"""Every argument that mmrel's backbones inherit from mmpretrain acts as it does there, or is refused."""

from typing import Any

import pytest
import tiny
import torch
from mmpretrain.models.backbones import SwinTransformer, T2T_ViT, VisionTransformer
from test_relvit_backbones import SWIN, T2T
from torch import Tensor, nn

from mmrel.models.backbones import DenseViT, MoCoV3ViT, Swin, T2TViT, ViT
from mmrel.structures import TokenViews

ARCH = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
SETTINGS = dict(arch=ARCH, img_size=16, patch_size=4)
FREE = [
    dict(),
    dict(pre_norm=True),
    dict(final_norm=False),
    dict(with_cls_token=False),
    dict(layer_scale_init_value=0.3),
    dict(qkv_bias=False),
    dict(norm_cfg=dict(type="LN", eps=0.1)),
    dict(in_channels=3, patch_cfg=dict(norm_cfg=dict(type="LN"))),
    dict(patch_cfg=dict(kernel_size=6, padding=1)),
    dict(layer_cfgs=dict(act_cfg=dict(type="ReLU"))),
    dict(layer_cfgs=[dict(num_fcs=2), dict(feedforward_channels=36)]),
    dict(frozen_stages=1),
]
DROPS = [
    dict(drop_rate=0.4),
    dict(drop_path_rate=0.6),
    dict(layer_cfgs=dict(attn_drop_rate=0.4)),
    dict(drop_rate=0.4, pre_norm=True),
]


def scrambled(network: nn.Module) -> nn.Module:
    """No tensor as it was initialised, so that a layer that is left out shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


def host(changes: dict[str, Any], **settings: Any) -> nn.Module:
    return scrambled(VisionTransformer(**{**SETTINGS, **settings, **changes}))


def raw(tokens: TokenViews) -> Tensor:
    extra = [] if tokens.cls is None else [tokens.cls[:, None]]
    return torch.cat([*extra, tokens.patches], dim=1)


def outputs(stock: nn.Module, own: Any, crops: Tensor, training: bool = True) -> tuple[Any, Any]:
    """What both make of the same crops with the same weights and random numbers."""
    own.load_state_dict(stock.state_dict())
    found = []
    for network in (stock, own):
        network.train(training)
        torch.manual_seed(3)
        found.append(network(crops))
    return found[0], found[1]


@pytest.mark.parametrize("changes", [*FREE, *DROPS], ids=str)
@pytest.mark.parametrize("side", [16, 24])
def test_vit__equals_mmpretrain(changes: dict[str, Any], side: int) -> None:
    stock = host(changes, out_type="raw")
    own = ViT(pos_interpolation="size", **{**SETTINGS, **changes})
    (wanted,), tokens = outputs(stock, own, torch.randn(2, 3, side, side), changes in DROPS)
    assert torch.equal(raw(tokens), wanted)


@pytest.mark.parametrize("changes", [*FREE, *DROPS], ids=str)
def test_dense_vit__equals_mmpretrain(changes: dict[str, Any]) -> None:
    changes = dict(changes)
    norm = "last" if changes.pop("final_norm", True) else "none"
    stock = host(changes, out_type="featmap", out_indices=[0, 1], final_norm=norm == "last")
    own = DenseViT(
        pos_interpolation="size", out_indices=[0, 1], out_norm=norm, **{**SETTINGS, **changes}
    )
    wanted, maps = outputs(stock, own, torch.randn(2, 3, 24, 20), changes in DROPS)
    assert len(maps) == 2 and all(torch.equal(*pair) for pair in zip(maps, wanted, strict=True))


@pytest.mark.parametrize("changes", [dict(final_norm=False), dict(drop_rate=0.3)], ids=str)
def test_t2t__equals_mmpretrain(changes: dict[str, Any]) -> None:
    stock = scrambled(T2T_ViT(out_type="raw", **{**T2T, **changes}))
    own = T2TViT(**{**T2T, **changes})
    (wanted,), tokens = outputs(stock, own, torch.randn(2, 3, 64, 64))
    assert torch.equal(tokens.cls, wanted[:, 0])


@pytest.mark.parametrize("changes", [dict(drop_rate=0.3), dict(norm_cfg=None)], ids=str)
def test_swin__equals_mmpretrain(changes: dict[str, Any]) -> None:
    stock = scrambled(SwinTransformer(**{**SWIN, **changes}))
    own = Swin(**{**SWIN, **changes})
    (wanted,), tokens = outputs(stock, own, torch.randn(2, 3, 64, 64))
    assert torch.equal(tokens.patches, wanted.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    ("kind", "settings", "refused"),
    [
        (ViT, SETTINGS, dict(out_type="cls_token")),
        (ViT, SETTINGS, dict(out_indices=[0, 1])),
        (ViT, SETTINGS, dict(interpolate_mode="bilinear")),
        (MoCoV3ViT, SETTINGS, dict(out_indices=[0])),
        (DenseViT, {**SETTINGS, "out_indices": [0]}, dict(interpolate_mode="bilinear")),
        (DenseViT, {**SETTINGS, "out_indices": [0]}, dict(out_type="raw")),
        (Swin, SWIN, dict(use_abs_pos_embed=True)),
        (Swin, SWIN, dict(out_indices=(1, 2))),
        (T2TViT, T2T, dict(with_cls_token=False)),
        (T2TViT, T2T, dict(out_indices=0)),
    ],
)
def test_arguments__without_effect_are_refused(
    kind: type, settings: dict[str, Any], refused: dict[str, Any]
) -> None:
    (name,) = refused
    with pytest.raises(ValueError, match=f"{kind.__name__.replace('MoCoV3', '')} takes no {name}="):
        kind(**settings, **refused)


def test_dropout__acts_without_positions_too() -> None:
    network = ViT(use_pos_embed=False, drop_rate=0.5, **SETTINGS).train()
    crops = torch.randn(1, 3, 16, 16)
    assert not torch.equal(network(crops).patches, network(crops).patches)


@pytest.mark.parametrize("kind", [ViT, MoCoV3ViT])
def test_frozen_stages__hold_in_training_mode(kind: type) -> None:
    network = kind(frozen_stages=1, drop_rate=0.5, drop_path_rate=0.5, **SETTINGS).train()
    assert not network.layers[0].training and not network.drop_after_pos.training
    assert network.layers[1].training and network.ln1.training
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"layers", "ln1"}
    assert all(p.requires_grad for p in network.layers[1].parameters())
    thawed = kind(frozen_stages=0, **SETTINGS)
    assert all(p.requires_grad for p in thawed.layers.parameters())
    assert not thawed.patch_embed.projection.weight.requires_grad
    with pytest.raises(ValueError, match="frozen_stages is 3; allowed: -1"):
        kind(frozen_stages=3, **SETTINGS)


def test_mocov3__unfrozen_patches_stay_frozen_with_the_stages() -> None:
    network = MoCoV3ViT(frozen_stages=1, frozen_patch_embed=False, **SETTINGS)
    assert not network.patch_embed.projection.weight.requires_grad
    assert MoCoV3ViT(frozen_patch_embed=False, **SETTINGS).patch_embed.projection.bias.requires_grad


def test_teacher_copy__draws_nothing() -> None:
    layers = dict(attn_drop_rate=0.5)
    network = ViT(drop_rate=0.5, drop_path_rate=0.5, layer_cfgs=layers, **SETTINGS)
    teacher = scrambled(network).teacher_copy().train()
    crops = torch.randn(2, 3, 16, 16)
    assert torch.equal(teacher(crops).patches, network.eval()(crops).patches)
    assert network.drop_after_pos.p == 0.5


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ViT, SETTINGS),
        (MoCoV3ViT, SETTINGS),
        (DenseViT, {**SETTINGS, "out_indices": [1]}),
        (Swin, SWIN),
        (T2TViT, T2T),
    ],
)
def test_modes__return_the_network(kind: type, settings: dict[str, Any]) -> None:
    network = kind(**settings)
    assert network.eval() is network and not network.training
    assert network.train() is network and network.training
    outer = nn.Sequential(network)
    assert outer.eval() is outer and not network.training
    model = tiny.build(tiny.dino())
    assert model.backbone.eval() is model.backbone and model.eval() is model
