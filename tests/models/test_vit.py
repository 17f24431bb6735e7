"""The backbone: tokens, masks, crop sizes, initialisation, errors."""

import pytest
import tiny
import torch
from mmpretrain.models.backbones import VisionTransformer

from mmrel.registry import MODELS


def build(**kwargs: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(tiny.vit(**kwargs))
    model.init_weights()
    return model


def test_forward__shapes_and_prenorm_tokens() -> None:
    model = build()
    tokens = model(torch.randn(3, 3, 16, 16))
    assert tokens.cls.shape == (3, 12)
    assert tokens.patches.shape == tokens.prenorm_patches.shape == (3, 16, 12)
    assert tokens.grid == (4, 4)
    assert torch.equal(model.ln1(tokens.prenorm_patches), tokens.patches)


def test_forward__equals_mmpretrain_at_native_size() -> None:
    model = build()
    arch = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
    stock = VisionTransformer(arch=arch, img_size=16, patch_size=4, out_type="raw")
    stock.load_state_dict(model.state_dict())
    crops = torch.randn(2, 3, 16, 16)
    tokens = model(crops)
    raw = torch.cat([tokens.cls[:, None], tokens.patches], dim=1)
    assert torch.equal(stock(crops)[0], raw)


@pytest.mark.parametrize("method", ["dino", "size"])
def test_forward__local_crops_and_non_square(method: str) -> None:
    model = build(pos_interpolation=method)
    assert model(torch.randn(2, 3, 8, 8)).patches.shape == (2, 4, 12)
    assert model(torch.randn(2, 3, 8, 20)).grid == (2, 5)


def test_forward__without_class_token_and_final_norm() -> None:
    """SelfPatch (arXiv 2206.07990): neither parameter exists, the tokens are those of the last block."""
    model = build(with_cls_token=False, final_norm=False)
    tokens = model(torch.randn(2, 3, 16, 16))
    assert tokens.cls is None
    assert torch.equal(tokens.patches, tokens.prenorm_patches)
    assert model.pos_embed.shape == (1, 16, 12)
    assert not {"cls_token", "ln1.weight", "ln1.bias"} & set(model.state_dict())
    assert torch.equal(tokens.image_feature, tokens.patches.mean(dim=1))
    with pytest.raises(ValueError, match="with_cls_token=True"):
        _ = tokens.class_token
    local = model(torch.randn(2, 3, 8, 8))
    assert local.patches.shape == (2, 4, 12)


def test_forward__without_positions_patches_are_a_set() -> None:
    """RelViT (arXiv 2206.00481): permuted patches give permuted tokens; the unused embedding is not trained."""
    model, plain = build(use_pos_embed=False), build()
    crops = torch.randn(2, 3, 16, 16)
    swapped = torch.cat([crops[..., 8:], crops[..., :8]], dim=-1)
    order = torch.arange(16).view(4, 4).roll(2, dims=1).flatten()
    torch.testing.assert_close(model(swapped).patches, model(crops).patches[:, order])
    torch.testing.assert_close(model(swapped).cls, model(crops).cls)
    assert not model.pos_embed.requires_grad and "pos_embed" in model.state_dict()

    assert not torch.allclose(plain(swapped).patches, plain(crops).patches[:, order], atol=1e-3)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_load__position_embedding_of_another_grid_and_class_token(
    given: bool, wanted: bool
) -> None:
    source = build(with_cls_token=given, img_size=24)
    model = build(with_cls_token=wanted)
    state = {k: v for k, v in source.state_dict().items() if k != "cls_token"}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == (["cls_token"] if wanted else []) and unexpected == []
    assert model.pos_embed.shape[1] == 16 + wanted


def test_mask__all_true_and_all_false() -> None:
    """iBOT: all hidden gives the mask token in every cell, none hidden is the plain path bit for bit."""
    model = build(mask_token=True)
    torch.nn.init.normal_(model.mask_token)
    crops = torch.randn(2, 3, 16, 16)
    embedded, _ = model.patch_embed(crops)
    hidden = model._hide(embedded, torch.ones(2, 16, dtype=torch.bool))
    assert torch.equal(hidden, model.mask_token.expand(2, 16, 12))
    none = model(crops, torch.zeros(2, 16, dtype=torch.bool))
    assert torch.equal(none.patches, model(crops).patches)


def test_mask__zero_gradient_without_hidden_patches() -> None:
    """The mask token gets a zero gradient, not none, so DDP has no unused parameter."""
    model = build(mask_token=True)
    model(torch.randn(2, 3, 16, 16), torch.zeros(2, 16, dtype=torch.bool)).patches.sum().backward()
    assert torch.equal(model.mask_token.grad, torch.zeros(1, 1, 12))


def test_drop_path__linear_over_depth() -> None:
    """Rates grow linearly over the blocks (stochastic depth, arXiv 1603.09382; DINO's vision_transformer.py)."""
    model = MODELS.build(dict(type="mmrel.ViT", arch="deit-tiny", drop_path_rate=0.1))
    rates = [layer.attn.out_drop.drop_prob for layer in model.layers]
    assert rates == pytest.approx([i * 0.1 / 11 for i in range(12)], abs=1e-12)
    assert rates[1] == pytest.approx(0.009091, abs=1e-6)


def test_teacher_copy__no_mask_token_no_drop_path_own_storage() -> None:
    model = build(mask_token=True, drop_path_rate=0.5)
    teacher = model.teacher_copy()
    teacher.train()
    assert set(model.state_dict()) - set(teacher.state_dict()) == {"mask_token"}
    assert not {p.data_ptr() for p in model.parameters()} & {
        p.data_ptr() for p in teacher.parameters()
    }
    crops = torch.randn(2, 3, 16, 16)
    assert torch.equal(teacher(crops).cls, teacher(crops).cls)


def test_init_weights__dino() -> None:
    model = MODELS.build(dict(type="mmrel.ViT", arch="deit-tiny", mask_token=True))
    model.init_weights()
    for weight in (
        model.layers[3].ffn.layers[1].weight,
        model.layers[0].attn.qkv.weight,
        model.pos_embed,
    ):
        assert float(weight.std()) == pytest.approx(0.02, rel=0.03)
    assert float(model.cls_token.std()) == pytest.approx(0.02, rel=0.2)
    assert not model.mask_token.any() and not model.layers[5].attn.qkv.bias.any()


def test_parameter_counts() -> None:
    """The names and shapes are mmpretrain's."""
    for arch, count in {"deit-small": 21_665_664, "deit-base": 85_798_656}.items():
        with torch.device("meta"):
            model = MODELS.build(dict(type="mmrel.ViT", arch=arch))
        assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("settings", "message"),
    [(dict(arch="vit-s"), "deit-small"), (dict(pos_interpolation="cubic"), "'dino', 'size'")],
)
def test_build__unknown_names(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build({**tiny.vit(), **settings})


def test_forward__errors() -> None:
    model = build(mask_token=True)
    with pytest.raises(ValueError, match="18x16 pixels is not a whole number of 4-pixel patches"):
        model(torch.randn(1, 3, 18, 16))
    with pytest.raises(ValueError, match=r"masks have shape \(1, 9\)"):
        model(torch.randn(1, 3, 16, 16), torch.ones(1, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask_token=True"):
        build()(torch.randn(1, 3, 16, 16), torch.ones(1, 16, dtype=torch.bool))
