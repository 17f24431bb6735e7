"""Register tokens: the features of DINOv2's definition, transformers' and timm's; they never leave the network."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.official import HEADS, save
from reference.vit import vit_tokens
from torch import Tensor

from mmrel.apis.backbone import get_backbone
from mmrel.checkpoints import convert, load_backbone, read_backbone_file, to_official
from mmrel.evaluation.attention import query_attention
from mmrel.models.backbones import DenseViT, ViT
from mmrel.models.backbones.intermediate import block_attention, intermediate_tokens

SIZES = [(70, 70), (112, 84)]
ARCH = dict(embed_dims=48, num_layers=2, num_heads=HEADS, feedforward_channels=96)


def check_tokens(path: Path, size: tuple[int, int], raw: Tensor, normed: Tensor, **options: Any):
    """What the file's backbone gives equals tokens ``(B, 1 + R + N, C)`` of the definition, without the registers."""
    backbone = get_backbone(path, num_heads=HEADS, **options)
    tokens = backbone(images(size))
    first = raw.shape[1] - tokens.patches.shape[1]
    assert first == backbone.num_prefix_tokens == 1 + backbone.num_registers
    torch.testing.assert_close(tokens.prenorm_patches, raw[:, first:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.patches, normed[:, first:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.cls, normed[:, 0], rtol=1e-5, atol=1e-5)
    return backbone


def images(size: tuple[int, int]) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_dinov2__features_of_the_definition(size: tuple[int, int], tmp_path: Path) -> None:
    """Its networks with registers resize positions with antialiasing, those without as DINO does."""
    state = official.dinov2(registers=4).teacher
    path = save(state, tmp_path / "reg4.pth")
    raw, normed = vit_tokens(state, images(size), HEADS, "antialias")
    backbone = check_tokens(path, size, raw, normed)
    assert backbone.pos_interpolation == "antialias" and backbone.num_registers == 4
    convert(path, tmp_path / "backbone.pth", num_heads=HEADS)
    dense = DenseViT(
        ARCH,
        img_size=70,
        patch_size=14,
        out_indices=(0, 1),
        out_norm="all",
        out_cls_token=True,
        num_registers=4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type="Pretrained", checkpoint=str(tmp_path / "backbone.pth"), prefix="backbone."
        ),
    )
    dense.init_weights()
    dense.eval()
    maps, cls = dense(images(size))[1]
    torch.testing.assert_close(maps.flatten(2).mT, normed[:, 5:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cls, normed[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_hugging_face__features_of_transformers(size: tuple[int, int], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        mlp_ratio=2,
        image_size=70,
        patch_size=14,
        num_register_tokens=3,
    )
    model = transformers.Dinov2WithRegistersModel(config).eval()
    for parameter in model.parameters():
        parameter.normal_(std=0.15)
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    found = model(images(size), output_hidden_states=True)
    check_tokens(path, size, found.hidden_states[-1], found.last_hidden_state)
    assert read_backbone_file(path, num_heads=HEADS).layout == "hf-dinov2"


def timm_like(registers: int, class_position: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """timm's file, and the same network under DINOv2's names."""
    state = official.vit(patch=14, grid=(5, 5), scale="ls")
    own = official.draw((1, registers, official.WIDTH))
    position = official.draw((1, registers + 1, official.WIDTH))
    patches = state["pos_embed"][:, 1:]
    if not class_position:  # no_embed_class=True
        same = {"register_tokens": own, "pos_embed": torch.cat([0 * position[:, :1], patches], 1)}
        return state | {"reg_token": own, "pos_embed": patches}, state | same
    same = {
        "register_tokens": own + position[:, 1:],
        "pos_embed": torch.cat([position[:, :1], patches], dim=1),
    }
    return state | {"reg_token": own, "pos_embed": torch.cat([position, patches], 1)}, state | same


@pytest.mark.parametrize("class_position", [False, True])
@torch.no_grad()
def test_timm__positions_of_class_and_registers(class_position: bool, tmp_path: Path) -> None:
    given, same = timm_like(4, class_position)
    path = save(given, tmp_path / "timm.pth")
    raw, normed = vit_tokens(same, images((70, 70)), HEADS, "size")
    check_tokens(path, (70, 70), raw, normed)
    back, _ = to_official(load_backbone(path, num_heads=HEADS)[0], "timm")
    if not class_position:
        assert back.keys() == given.keys()
        assert all(torch.equal(back[key], given[key]) for key in given)
    raw, normed = vit_tokens(same, images((70, 70)), HEADS, "size")
    check_tokens(save(back, tmp_path / "back.pth"), (70, 70), raw, normed)


@torch.no_grad()
def test_timm__without_class_token(tmp_path: Path) -> None:
    state = official.vit(patch=14, grid=(5, 5), class_token=False)
    state["reg_token"] = official.draw((1, 4, official.WIDTH))
    path = save(state, tmp_path / "gap.pth")
    same = state | {"register_tokens": state["reg_token"]}
    _, normed = vit_tokens(same, images((70, 70)), HEADS, "size")
    tokens = get_backbone(path, num_heads=HEADS)(images((70, 70)))
    assert read_backbone_file(path, num_heads=HEADS).layout == "timm" and tokens.cls is None
    torch.testing.assert_close(tokens.patches, normed[:, 4:], rtol=1e-5, atol=1e-5)


def network(**settings: Any) -> ViT:
    vit = ViT(ARCH, img_size=70, patch_size=14, num_registers=3, **settings)
    vit.init_weights()
    vit.eval()
    return vit


@torch.no_grad()
def test_vit__registers_are_in_no_output() -> None:
    vit = network()
    assert 0 < vit.register_tokens.abs().max() < 1e-5  # DINOv2's start
    torch.nn.init.normal_(vit.register_tokens)
    tokens = vit(images((70, 84)))
    assert tokens.grid == (5, 6) and tokens.patches.shape == (2, 30, 48)
    assert not torch.equal(tokens.patches, ViT.forward(without(vit), images((70, 84))).patches)
    last = intermediate_tokens(vit, images((70, 84)))[0]
    torch.testing.assert_close(last.patches, tokens.patches)
    attention = block_attention(vit, images((70, 84)))
    assert attention.shape[-1] == 1 + 3 + 30
    for query, wanted in (("cls", attention[:, :, 0, 4:]), ("mean", None)):
        found, grid = query_attention(vit, images((70, 84)), query=query)
        assert grid == (5, 6) and found.shape == (2, HEADS, 30)
        assert wanted is None or torch.equal(found, wanted)


def without(vit: ViT) -> ViT:
    twin = vit.teacher_copy()
    twin.register_tokens, twin.num_registers = None, 0
    return twin


def test_vit__freezes_and_trains_them() -> None:
    vit = network(frozen_stages=0)
    assert not vit.register_tokens.requires_grad
    vit = network()
    vit(images((70, 70))).patches.sum().backward()
    assert vit.register_tokens.grad is not None
    assert network(with_cls_token=False).num_prefix_tokens == 3
    with pytest.raises(ValueError, match="num_registers is -1"):
        ViT(ARCH, num_registers=-1)
