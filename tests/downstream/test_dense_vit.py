"""DenseViT: maps, norms, freezing, attention, and loading that is never silent."""

from typing import Any

import downstream_builds as builds
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models.backbones import VisionTransformer
from torch.nn import functional as F

from mmrel.models.backbones import DenseViT, pretrained
from mmrel.ops.position import resize_position_embedding

ARCH = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96)


def _build(**changes: Any) -> DenseViT:
    settings = dict(arch=ARCH, img_size=32, patch_size=8, out_indices=(0, 1, 2, 3))
    torch.manual_seed(0)
    model = DenseViT(**(settings | changes))
    model.init_weights()
    return model


def _host(**changes: Any) -> VisionTransformer:
    torch.manual_seed(1)
    model = VisionTransformer(arch=ARCH, img_size=32, patch_size=8, **changes)
    model.init_weights()
    return model


def _save(path, state: dict[str, torch.Tensor], **meta: Any) -> str:
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}, "meta": meta}, path)
    return str(path)


def _pretrained(path: str) -> dict[str, Any]:
    return dict(type="Pretrained", checkpoint=path, prefix="backbone.")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 40, 27, generator=torch.Generator().manual_seed(3))


def test_forward__padded_sizes(images: torch.Tensor) -> None:
    assert [tuple(x.shape) for x in _build()(images)] == [(2, 48, 5, 4)] * 4


@pytest.mark.parametrize("out_norm", ["none", "last"])
def test_forward__equals_host(images: torch.Tensor, out_norm: str) -> None:
    host = _host(out_indices=[0, 1, 2, 3], out_type="featmap", final_norm=out_norm == "last")
    host.eval()
    model = _build(out_norm=out_norm).eval()
    model.load_state_dict(host.state_dict())
    assert list(model.state_dict()) == list(host.state_dict())
    for ours, theirs in zip(model(images), host(images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_forward__all_shares_the_final_norm(images: torch.Tensor) -> None:
    plain, normed = _build().eval(), _build(out_norm="all").eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        normed.ln1.weight.uniform_(0.5, 2)
    for raw, out in zip(plain(images), normed(images), strict=True):
        expected = F.layer_norm(
            raw.permute(0, 2, 3, 1), (48,), normed.ln1.weight, normed.ln1.bias, 1e-6
        )
        torch.testing.assert_close(out, expected.permute(0, 3, 1, 2))


@pytest.mark.parametrize("out_norm", ["none", "last", "all"])
def test_out_cls_token__is_that_of_each_block(images: torch.Tensor, out_norm: str) -> None:
    plain, both = (_build(out_norm=out_norm, out_cls_token=flag).eval() for flag in (False, True))
    both.load_state_dict(plain.state_dict())
    tokens, _ = both._embed(images)
    for index, (alone, (feature_map, token)) in enumerate(
        zip(plain(images), both(images), strict=True)
    ):
        assert torch.equal(alone, feature_map)
        tokens = both.layers[index](tokens)
        normed = out_norm == "all" or (out_norm == "last" and index == 3)
        torch.testing.assert_close(token, (both.ln1(tokens) if normed else tokens)[:, 0])


@pytest.mark.parametrize("readout", ["ignore", "add", "project"])
def test_out_cls_token__trains_in_mmseg_s_dpt_head(readout: str) -> None:
    """A training step and a prediction of mmseg's segmentor with DPTHead on this backbone."""
    pytest.importorskip("mmseg")
    settings = dict(
        type="EncoderDecoder",
        data_preprocessor=dict(type="SegDataPreProcessor", size=(64, 64)),
        backbone=dict(
            type="mmrel.DenseViT",
            arch=ARCH,
            img_size=64,
            out_indices=[0, 1, 2, 3],
            out_cls_token=True,
        ),
        decode_head=dict(
            type="DPTHead",
            in_channels=[48] * 4,
            channels=8,
            embed_dims=48,
            post_process_channels=[4, 8, 8, 12],
            num_classes=5,
            readout_type=readout,
            input_transform="multiple_select",
            in_index=[0, 1, 2, 3],
        ),
        test_cfg=dict(mode="whole"),
    )
    config = Config(dict(model=settings, optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1))))
    model = builds.build(config, "mmseg")
    before = model.backbone.cls_token.clone()
    batch = builds.segmentation_batch(5, [(64, 64), (64, 64)])
    losses = builds.train_step(config, model, batch, "mmseg")
    assert torch.isfinite(losses["decode.loss_ce"])
    assert not torch.equal(before, model.backbone.cls_token)
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    with torch.no_grad():
        (result,) = model.eval().test_step(builds.segmentation_batch(5, [(48, 80)]))
    assert result.pred_sem_seg.data.shape == (1, 48, 80)


def test_out_cls_token__without_one_is_refused() -> None:
    with pytest.raises(ValueError, match="out_cls_token=True returns the class token, but"):
        _build(out_cls_token=True, with_cls_token=False)


@pytest.mark.parametrize("out_norm", ["none", "last", "all"])
@pytest.mark.parametrize("with_cls_token", [True, False])
@pytest.mark.parametrize("out_indices", [(0, 1, 2, 3), (1, 2), -2])
def test_backward__no_unused_parameter(images, out_norm, with_cls_token, out_indices) -> None:
    model = _build(out_norm=out_norm, with_cls_token=with_cls_token, out_indices=out_indices)
    sum(x.square().mean() for x in model(images)).backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_with_cp__same_values_and_gradients(images: torch.Tensor) -> None:
    models = [_build(with_cp=flag, drop_path_rate=0.5) for flag in (False, True)]
    for model in models:
        torch.manual_seed(5)
        sum(x.square().mean() for x in model(images)).backward()
    for plain, saved in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(plain.grad, saved.grad)


@pytest.mark.parametrize("stages", [-1, 0, 1, 4])
def test_frozen_stages(images: torch.Tensor, stages: int) -> None:
    model = _build(frozen_stages=stages, out_norm="all", drop_path_rate=0.5, drop_rate=0.1).train()
    maps = model(images)
    if stages < 4:
        sum(x.mean() for x in maps).backward()
    for name, param in model.named_parameters():
        part = name.split(".")
        frozen = stages >= 0 and (part[0] in ("cls_token", "pos_embed", "patch_embed"))
        frozen |= part[0] == "layers" and int(part[1]) < stages
        frozen |= part[0] == "ln1" and stages == 4
        assert param.requires_grad is not frozen, name
        assert (param.grad is None) is frozen, name
    assert [layer.training for layer in model.layers] == [i >= stages for i in range(4)]
    assert model.drop_after_pos.training is (stages < 0)
    assert maps[0].requires_grad is (stages < 4)


def test_get_attention__reproduces_the_block(images: torch.Tensor) -> None:
    model = _build().eval()
    first, last = model.get_attention(images, blocks=(0, -1))
    assert first.shape == last.shape == (2, 3, 21, 21)
    torch.testing.assert_close(last, model.get_attention(images))
    torch.testing.assert_close(last.sum(-1), torch.ones(2, 3, 21))
    tokens = model.layers[0].ln1(model._embed(images)[0])
    values = model.layers[0].attn.qkv(tokens)[..., 96:].unflatten(-1, (3, 16)).transpose(1, 2)
    expected = model.layers[0].attn.proj((first @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(model.layers[0].attn(tokens), expected)


def test_pos_interpolation__methods_differ_off_the_native_size(images: torch.Tensor) -> None:
    size, dino = _build(pos_interpolation="size").eval(), _build(pos_interpolation="dino").eval()
    native = torch.randn(1, 3, 32, 32)
    assert torch.equal(size(native)[0], dino(native)[0])
    assert not torch.equal(size(images)[0], dino(images)[0])


def test_init__random_weights_as_for_pretraining() -> None:
    model = _build(init_cfg=dict(type="Pretrained", checkpoint=None, prefix="backbone."))
    assert model.layers[1].ffn.layers[1].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.4)
    assert model.layers[1].attn.qkv.bias.abs().max() == 0


@pytest.mark.parametrize("out_norm", ["none", "all"])
@pytest.mark.parametrize("with_cls_token", [True, False])
@pytest.mark.parametrize("img_size", [32, (48, 64)])
def test_load__fits(tmp_path, out_norm, with_cls_token, img_size) -> None:
    host = _host()
    state = host.state_dict() | {"mask_token": torch.zeros(1, 1, 48)}
    model = _build(
        out_norm=out_norm,
        with_cls_token=with_cls_token,
        img_size=img_size,
        init_cfg=_pretrained(_save(tmp_path / "a.pth", state, num_heads=3)),
    )
    assert model.pos_embed.shape[1] == (16 if img_size == 32 else 48) + with_cls_token
    if img_size == 32:
        expected = host.pos_embed[:, 0 if with_cls_token else 1 :]
        assert torch.equal(model.pos_embed, expected)
    assert torch.equal(model.layers[3].ffn.layers[1].weight, host.layers[3].ffn.layers[1].weight)
    assert model.load_state_dict(state) is not None


def test_load__positions_without_class_slot_into_a_class_token_model() -> None:
    position = torch.randn(1, 16, 48)
    model = _build()
    result = model.load_state_dict({"pos_embed": position}, strict=False)
    assert result.unexpected_keys == [] and "pos_embed" not in result.missing_keys
    assert torch.equal(model.pos_embed[:, 1:], position) and model.pos_embed[:, 0].abs().max() == 0


def test_load__another_number_of_heads_only_if_it_is_named(tmp_path, images) -> None:
    """The same tensors with 3 and with 6 heads compute different maps; six must be meant."""
    path = _save(tmp_path / "a.pth", _host().state_dict(), num_heads=3)
    six = ARCH | dict(num_heads=6)
    ours = _build(init_cfg=_pretrained(path)).eval()
    theirs = _build(arch=six, pretrained_num_heads=3, init_cfg=_pretrained(path)).eval()
    for name, value in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], value), name
    assert not torch.allclose(ours(images)[0], theirs(images)[0])
    with pytest.raises(ValueError, match=r"with 3 attention heads, the model has 6 .*num_heads=3"):
        _build(arch=six, init_cfg=_pretrained(path))
    with pytest.raises(ValueError, match=r"the model has 6 and pretrained_num_heads is 2"):
        _build(arch=six, pretrained_num_heads=2, init_cfg=_pretrained(path))


def test_load__says_that_everything_fits(tmp_path, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, logger: said.append(text))
    path = _save(tmp_path / "a.pth", _host().state_dict())
    _build(out_norm="all", init_cfg=_pretrained(path))
    assert said == [f"{path}: all 54 tensors of the backbone fit, none is missing"]


def _without(*keys: str):
    return lambda state: {k: v for k, v in state.items() if k not in keys}


@pytest.mark.parametrize(
    ("change", "meta", "message"),
    [
        (_without("cls_token"), {}, "1 key.s. missing: cls_token.*with_cls_token=False"),
        (_without("ln1.weight", "ln1.bias"), {}, "2 key.s. missing: ln1.bias, ln1.weight"),
        (lambda s: s | {"layers.4.x": s["cls_token"]}, {}, "1 key.s. unexpected: layers.4.x"),
        (
            lambda s: s | {"layers.0.ln1.bias": torch.zeros(7)},
            {},
            r"of another shape: layers.0.ln1.bias \(checkpoint \(7,\), model \(48,\)\)",
        ),
        (lambda s: s, {"num_heads": 6}, "trained with 6 attention heads, the model has 3"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 24, 48)}, {}, "24 entries cannot be resized"),
        (lambda s: {}, {}, "No key of .* starts with 'backbone.'"),
    ],
)
def test_load__misfit_is_an_error(tmp_path, change, meta, message) -> None:
    path = _save(tmp_path / "a.pth", change(_host().state_dict()), **meta)
    with pytest.raises(ValueError, match=message):
        _build(out_norm="last", init_cfg=_pretrained(path))


def test_load__many_missing_keys_are_abridged(tmp_path) -> None:
    path = _save(tmp_path / "a.pth", _host().state_dict())
    arch = ARCH | dict(num_layers=6)
    with pytest.raises(ValueError, match=r"24 key\(s\) missing: .* and 16 more"):
        _build(arch=arch, init_cfg=_pretrained(path))


def test_load__no_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"'nowhere.pth'. Export one with tools/export"):
        _build(init_cfg=_pretrained("nowhere.pth"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(arch="vit-s"), "'vit-s'; known names: .*deit-small"),
        (dict(out_norm="first"), "'first'; allowed: none, last, all"),
        (dict(pos_interpolation="linear"), "'linear'; allowed: size, dino"),
        (dict(load_interpolation="linear"), "load_interpolation is 'linear'; allowed: size, dino"),
        (dict(out_indices=(3, 5, 7, 11)), r"not valid for 4 blocks"),
        (dict(out_indices=4), r"not valid for 4 blocks"),
        (dict(out_indices=(2, 1)), r"ascending"),
        (dict(out_indices=()), r"ascending"),
        (dict(frozen_stages=5), r"frozen_stages is 5; allowed: -1"),
        (dict(frozen_stages=-2), r"frozen_stages is -2"),
        (dict(final_norm=False), "no final_norm=False; use out_norm"),
    ],
)
def test_build__bad_input(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        _build(**changes)


def test_out_indices__negative() -> None:
    assert _build(out_indices=(-2, -1)).out_indices == [2, 3]


def test_load__by_one_rule_and_forward_by_the_other(tmp_path) -> None:
    """iBOT on COCO: by size from 4 x 4 to 5 x 7 when loaded, by DINO's rule to the images' grid."""
    host = _host(out_type="featmap", final_norm=False)
    path = _save(tmp_path / "a.pth", host.state_dict())
    model = _build(
        img_size=(40, 56),
        pos_interpolation="dino",
        load_interpolation="size",
        init_cfg=_pretrained(path),
    ).eval()
    loaded = resize_position_embedding(host.pos_embed.data, (4, 4), (5, 7), 1, "size")
    assert torch.equal(model.pos_embed, loaded) and model.pos_interpolation == "dino"
    images = torch.randn(1, 3, 48, 40, generator=torch.Generator().manual_seed(3))
    tokens, _ = model._embed(images)
    patches = model.patch_embed(images)[0]
    wanted = resize_position_embedding(loaded, (5, 7), (6, 5), 1, "dino")
    torch.testing.assert_close(tokens[:, 1:], patches + wanted[:, 1:])
