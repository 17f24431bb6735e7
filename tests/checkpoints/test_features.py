"""Converted weights give the features of the original definition; positions and parts fit other networks."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.official import HEADS, LAYOUTS, save
from reference.vit import hugging_face_tokens, positions, vit_tokens
from torch import Tensor

from mmrel.checkpoints import convert, load_backbone
from mmrel.models.backbones import DenseViT, ViT
from mmrel.models.backbones.pretrained import load_fitted
from mmrel.ops.position import fit_position_embedding

RULES = dict.fromkeys(("relvit", "mae", "mocov3", "timm", "hf-dinov2"), "size")
ARCH = dict(embed_dims=48, num_layers=2, num_heads=HEADS, feedforward_channels=96)


def converted(layout: str, tmp_path: Path) -> tuple[official.Official, str, dict[str, Any]]:
    case, output = LAYOUTS[layout](), tmp_path / "backbone.pth"
    source = save(case.content, tmp_path / "official.pth")
    meta = convert(source, output, network=case.network, num_heads=HEADS).meta
    return case, str(output), meta


def pretrained(path: str) -> dict[str, str]:
    return dict(type="Pretrained", checkpoint=path, prefix="backbone.")


def build(meta: dict[str, Any], path: str, kind: type = ViT, **changes: Any) -> Any:
    size = meta["img_size"]
    settings = dict(
        arch={key: meta[key] for key in ARCH},
        img_size=size if isinstance(size, int) else tuple(size),
        patch_size=meta["patch_size"],
        with_cls_token=meta["with_cls_token"],
        layer_scale_init_value=float(meta["layer_scale"]),
        init_cfg=pretrained(path),
    )
    if kind is ViT:
        settings |= dict(final_norm=meta["final_norm"], use_pos_embed=meta["use_pos_embed"])
    model = kind(**(settings | changes))
    model.init_weights()
    model.eval()
    return model


def reference(layout: str, state: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    rule = RULES.get(layout, "dino")
    if layout == "hf-dinov2":
        return hugging_face_tokens(state, images, HEADS)
    used = layout != "relvit"
    return vit_tokens(state, images, HEADS, rule, use_class_token=used, use_positions=used)


@pytest.mark.parametrize("size", [(224, 224), (112, 336)], ids=["square", "wide"])
@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_features__equal_the_original_definition(
    layout: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """At most 1e-5 apart, before and after the final norm; the rule is the trained one."""
    case, path, meta = converted(layout, tmp_path)
    images = torch.randn(2, 3, *size)
    raw, normed = reference(layout, case.teacher, images)
    tokens = build(meta, path)(images)
    extra = raw.shape[1] - tokens.patches.shape[1]
    assert extra == int(meta["with_cls_token"]) and meta["pos_interpolation"] == RULES.get(
        layout, "dino"
    )
    assert (tokens.prenorm_patches - raw[:, extra:]).abs().max() <= 1e-5
    assert (tokens.patches - normed[:, extra:]).abs().max() <= 1e-5
    if extra:
        assert (tokens.cls - normed[:, 0]).abs().max() <= 1e-5
    if layout != "relvit":
        dense = build(meta, path, DenseViT, out_indices=(1,), out_norm="none")
        maps = dense(images)[0].flatten(2).transpose(1, 2)
        assert (maps - raw[:, extra:]).abs().max() <= 1e-5


@torch.no_grad()
def test_features__full_size(tmp_path: Path) -> None:
    """ViT-S/16 of DINO, 150 tensors, at 224 pixels and off the square."""
    state = official.vit(384, 12, 1536)
    state = {key: value * 0.1 if value.ndim > 1 else value for key, value in state.items()}
    convert(save(state, tmp_path / "official.pth"), tmp_path / "backbone.pth")
    model = ViT("deit-small", init_cfg=pretrained(str(tmp_path / "backbone.pth")))
    model.init_weights()
    for size in ((224, 224), (96, 160)):
        images = torch.randn(1, 3, *size)
        raw, normed = vit_tokens(state, images, 6)
        tokens = model(images)
        assert (tokens.cls - normed[:, 0]).abs().max() <= 1e-5
        scale = raw.abs().max()
        assert (tokens.prenorm_patches - raw[:, 1:]).abs().max() <= 1e-5 * max(1, float(scale))


@torch.no_grad()
def test_k6__the_number_of_heads_matters_and_is_checked(tmp_path: Path) -> None:
    _, path, meta = converted("dino", tmp_path)
    assert meta["num_heads"] == HEADS
    images = torch.randn(1, 3, 224, 224)
    state, _ = load_backbone(path)
    outputs = []
    for heads in (3, 6):
        model = ViT(ARCH | dict(num_heads=heads))
        model.load_state_dict(state)
        outputs.append(model(images).prenorm_patches)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3
    for kind in (ViT, DenseViT):
        options = dict(out_indices=(1,), out_norm="all") if kind is DenseViT else {}
        with pytest.raises(ValueError, match="trained with 3 attention heads, the model has 6"):
            build(meta, path, kind, arch=ARCH | dict(num_heads=6), **options)


def test_k5__class_token(tmp_path: Path) -> None:
    """SelfPatch into a network with class token is refused; DINO into one without loses its slot."""
    _, path, meta = converted("selfpatch", tmp_path)
    for kind in (ViT, DenseViT):
        options = dict(out_indices=(1,)) if kind is DenseViT else {}
        with pytest.raises(ValueError, match=r"missing: cls_token.*with_cls_token=False"):
            build(meta, path, kind, with_cls_token=True, **options)
    case, path, meta = converted("dino", tmp_path)
    for kind in (ViT, DenseViT):
        options = dict(out_indices=(1,), out_norm="all") if kind is DenseViT else {}
        model = build(meta, path, kind, with_cls_token=False, **options)
        assert model.cls_token is None
        assert torch.equal(model.pos_embed, case.teacher["pos_embed"][:, 1:])


@pytest.mark.parametrize("rule", ["dino", "size", None])
@pytest.mark.parametrize("with_cls_token", [True, False])
@pytest.mark.parametrize("layout", ["dino", "selfpatch", "mae", "dinov2"])
def test_positions__any_grid_either_rule_the_trained_one_by_default(
    layout: str, with_cls_token: bool, rule: str | None, tmp_path: Path
) -> None:
    case, path, meta = converted(layout, tmp_path)
    if with_cls_token and not meta["with_cls_token"]:
        return
    old, given = case.teacher["pos_embed"], int("cls_token" in case.teacher)
    used = rule or RULES.get(layout, "dino")
    patch = meta["patch_size"]
    for grid in ((6, 9), (20, 20)):
        size = (grid[0] * patch, grid[1] * patch)
        expected = positions(old[:, given:], 0, grid, used)
        if with_cls_token:
            expected = torch.cat([old[:, :1], expected], dim=1)
        changes = dict(img_size=size, with_cls_token=with_cls_token)
        model = build(meta, path, ViT, pos_interpolation=rule, **changes)
        torch.testing.assert_close(model.pos_embed.data, expected)
        assert model.pos_interpolation == used
        dense = build(meta, path, DenseViT, pos_interpolation=rule, out_indices=(1,), **changes)
        torch.testing.assert_close(dense.pos_embed.data, expected)
        assert dense.pos_interpolation == used


def test_positions__of_no_square_are_told_by_the_meta(tmp_path: Path) -> None:
    """4 x 9 patches are 36, which a square of 6 x 6 has too: only the image size of the meta tells."""
    state = official.vit(grid=(4, 9))
    source, output = save(state, tmp_path / "a.pth"), tmp_path / "b.pth"
    meta = convert(source, output, num_heads=HEADS, img_size=(64, 144)).meta
    assert meta["img_size"] == [64, 144] == load_backbone(output)[1]["img_size"]
    old = state["pos_embed"]
    native = build(meta, str(output))
    assert torch.equal(native.pos_embed, old) and native.patch_resolution == (4, 9)
    for kind, options in ((ViT, {}), (DenseViT, dict(out_indices=(1,), out_norm="all"))):
        square = build(meta, str(output), kind, img_size=96, **options).pos_embed.data
        assert square.shape == old.shape and not torch.allclose(square, old)
        torch.testing.assert_close(square, fit_position_embedding(old, (6, 6), 1, "dino", (4, 9)))
    with pytest.raises(ValueError, match=r"6 x 9 patches of 16 pixels, but the .* has 36"):
        convert(source, output, num_heads=HEADS, img_size=(96, 144))
    odd = save(official.vit(grid=(3, 5)), tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"of 16 entries and a cls_token.*--img-size HEIGHT WIDTH"):
        convert(odd, tmp_path / "d.pth", num_heads=HEADS)
    assert not (tmp_path / "d.pth").exists()
    state, meta = load_backbone(odd, num_heads=HEADS, img_size=(48, 80))
    model = ViT(ARCH, img_size=(48, 80))
    load_fitted(model, state, meta, "c.pth")
    assert torch.equal(model.pos_embed, state["pos_embed"])


def test_vit__mask_token_of_the_file_or_its_own(tmp_path: Path) -> None:
    case, path, meta = converted("ibot", tmp_path)
    source = save(case.content, tmp_path / "official.pth")
    convert(source, tmp_path / "student.pth", network="student", num_heads=HEADS)
    assert case.student is not None
    student = build(meta, str(tmp_path / "student.pth"), mask_token=True)
    assert torch.equal(student.mask_token, case.student["masked_embed"][None])
    assert torch.equal(student.cls_token, case.student["cls_token"])
    assert not build(meta, path, mask_token=True).mask_token.any()
    assert build(meta, str(tmp_path / "student.pth")).mask_token is None


def test_hf_dinov2__without_mask_token(tmp_path: Path) -> None:
    """transformers writes none where ``use_mask_token`` is false: the file is whole."""
    state = official.hugging_face()
    del state["embeddings.mask_token"]
    found, meta = load_backbone(save(state, tmp_path / "a.pth"), num_heads=HEADS)
    assert meta["method"] == "hf-dinov2" and "mask_token" not in found
    assert len(found) == len(state) - 4 * official.DEPTH  # query, key and value are one


class Touch:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", [ViT, DenseViT])
def test_init_cfg__executes_nothing(kind: type, tmp_path: Path) -> None:
    """A whole backbone with something else beside it; and what an official file or no state dict is told."""
    _, path, meta = converted("dino", tmp_path)
    options = dict(out_indices=(1,)) if kind is DenseViT else {}
    content = torch.load(path, weights_only=True) | {"extra": Touch(tmp_path / "canary")}
    bad = str(save(content, tmp_path / "bad.pth"))
    with pytest.raises(ValueError, match=r"system.*not loaded for safety"):
        build(meta, bad, kind, **options)
    assert not (tmp_path / "canary").exists()
    for other in (official.dino().content, [1, 2], {"backbone.x": 3}):
        save(other, tmp_path / "bad.pth")
        with pytest.raises(ValueError, match=r"No key of .*tools/convert_checkpoint.py"):
            build(meta, bad, kind, **options)


@pytest.mark.parametrize("shape", [(), (32,), (32, 3, 4)])
def test_vit__names_a_patch_kernel_that_is_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    _, path, meta = converted("dino", tmp_path)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["backbone.patch_embed.projection.weight"] = torch.zeros(shape)
    torch.save(content, path)
    with pytest.raises(ValueError, match="of another shape: patch_embed.projection.weight"):
        build(meta, path)


def test_vit__refuses_what_does_not_fit(tmp_path: Path) -> None:
    _, path, meta = converted("dino", tmp_path)
    for changes, message in (
        (dict(arch=ARCH | dict(num_layers=3)), r"12 key\(s\) missing: layers.2"),
        (dict(arch=ARCH | dict(num_layers=1)), r"12 key\(s\) unexpected: layers.1"),
        (dict(num_registers=1), r"missing: register_tokens. Build the backbone with num_reg.*=0"),
        (dict(init_cfg=pretrained(path) | dict(prefix="teacher.")), r"starts with 'teacher.'"),
    ):
        with pytest.raises(ValueError, match=message):
            build(meta, path, **changes)
    _, path, meta = converted("selfpatch", tmp_path)
    with pytest.raises(ValueError, match=r"2 key\(s\) missing: ln1.bias, ln1.weight"):
        build(meta, path, final_norm=True)
