"""Official layouts to mmrel and back: every key accounted for, bit for bit."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.official import LAYOUTS, save
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from mmrel.checkpoints import convert, load_backbone, read_backbone_file, to_official
from mmrel.checkpoints.layouts import OFFICIAL

State = dict[str, Tensor]
NARROW = dict(num_heads=official.HEADS)
VARIANTS = LAYOUTS | {
    "sere without local crops": lambda: official.sere(local=False),
    "mae fine-tuned": official.mae_finetuned,
    "dinov2 with registers": lambda: official.dinov2(registers=4),
}
SMALL = dict(width=384, depth=12, hidden=1536)


def same(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[key], right[key]) and left[key].dtype == right[key].dtype for key in left
    )


def file(content: Any, tmp_path: Path, name: str = "official.pth", **options: Any) -> Path:
    return save(content, tmp_path / name, **options)


def test_layouts__are_all_tested() -> None:
    assert sorted(OFFICIAL) == sorted(LAYOUTS)


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip__is_bitwise_and_recognised(
    variant: str, old_format: bool, tmp_path: Path
) -> None:
    """Full training checkpoints with heads, optimiser and Namespace; layout told from the keys."""
    case = VARIANTS[variant]()
    layout = variant.split(" ")[0]
    path = file(case.content, tmp_path, _use_new_zipfile_serialization=not old_format)
    networks = {"teacher": case.teacher} | ({"student": case.student} if case.student else {})
    for network, expected in networks.items():
        backbone = read_backbone_file(path, network=network, **NARROW)
        assert backbone.layout == layout
        state, dropped = to_official(backbone.state, layout)
        assert same(state, expected) and dropped == []
    default = read_backbone_file(path, **NARROW)
    assert {g: len(keys) for g, keys in default.left_out.items()} == case.left_out
    assert default.meta["network"] == (None if case.student is None else default.meta["network"])


@pytest.mark.parametrize("variant", LAYOUTS)
def test_round_trip__survives_the_written_file(variant: str, tmp_path: Path) -> None:
    """official file -> converted file -> official keys."""
    case = LAYOUTS[variant]()
    output = tmp_path / "new" / "backbone.pth"
    convert(
        file(case.content, tmp_path), output, network="teacher" if case.student else None, **NARROW
    )
    saved = torch.load(output, weights_only=True)
    assert all(key.startswith("backbone.") for key in saved["state_dict"])
    assert all(value.dtype == torch.float32 for value in saved["state_dict"].values())
    state, meta = load_backbone(output)
    assert meta == saved["meta"] and meta["method"] == variant and meta["num_heads"] == 3
    assert same(to_official(state, variant)[0], case.teacher)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_convert__every_key_too_few_is_named(layout: str, tmp_path: Path) -> None:
    """Each key of the backbone in turn; nothing is written."""
    case, output = LAYOUTS[layout](), tmp_path / "out.pth"
    settings = dict(layout=layout, network=case.network, **NARROW)
    needed = case.teacher.keys() - {"embeddings.mask_token"}  # transformers writes one only if told
    for key in needed:
        state = {name: value for name, value in case.teacher.items() if name != key}
        with pytest.raises(ValueError) as caught:
            convert(file(case.build(state), tmp_path), output, **settings)
        assert re.search(rf"(missing: |, |no ){re.escape(key)}[ ,]", str(caught.value)), key
    assert not output.exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_convert__a_key_too_many_is_named_unless_allowed(layout: str, tmp_path: Path) -> None:
    case, output = LAYOUTS[layout](), tmp_path / "out.pth"
    settings = dict(network=case.network, **NARROW)
    for extra in ("blocks.0.attn.extra.weight", "adapter.weight", "norm.extra", "head_2.weight"):
        path = file(case.build(case.teacher | {extra: torch.zeros(3)}), tmp_path)
        with pytest.raises(ValueError, match=rf"1 key.s. unknown: {extra} \(allow .*--allow-extra"):
            convert(path, output, **settings)
        assert not output.exists()
        backbone = read_backbone_file(path, allow_extra=[extra[:4] + "*"], **settings)
        assert backbone.left_out["allowed as extra"] == [extra]
        assert same(to_official(backbone.state, layout)[0], case.teacher)


def test_convert__of_a_partial_option_every_key_is_needed(tmp_path: Path) -> None:
    """Layer scale, final norm, norm of the mean: there as a whole or not at all."""
    state = official.vit(scale="gamma")
    for key in ("blocks.1.gamma_2", "norm.bias"):
        path = file({k: v for k, v in state.items() if k != key}, tmp_path)
        with pytest.raises(ValueError, match=f"1 key.s. missing: {key}"):
            read_backbone_file(path, layout="dino", **NARROW)


def test_k2_k3_k4__numbers_of_tensors_and_parameters(tmp_path: Path) -> None:
    """150 / 147 / 151 tensors, 21,665,664 / 21,664,128 numbers, as mmpretrain has them."""
    for options, tensors, numbers in (
        (dict(), 150, 21_665_664),
        (dict(class_token=False, final_norm=False), 147, 21_664_128),
    ):
        state = official.vit(**SMALL, **options)
        assert len(state) == tensors and sum(v.numel() for v in state.values()) == numbers
        ours, meta = load_backbone(file(state, tmp_path))
        assert (len(ours), sum(v.numel() for v in ours.values())) == (tensors, numbers)
        assert (meta["arch"], meta["num_heads"], meta["img_size"]) == ("deit-small", 6, 224)
        host = VisionTransformer(
            "deit-small",
            out_type="raw",
            with_cls_token=meta["with_cls_token"],
            final_norm=meta["final_norm"],
        )
        host.load_state_dict(ours)
        assert sum(p.numel() for p in host.parameters()) == numbers
    student = official.vit(**SMALL) | {"masked_embed": torch.zeros(1, 384)}
    backbone = read_backbone_file(file({"state_dict": student}, tmp_path))
    assert (backbone.layout, len(backbone.state)) == ("ibot", 151)
    assert len(official.relation_heads()) == 44 and len(official.relation_heads(False)) == 22


def test_k7__separate_attention_of_the_aggregation_is_not_fused(tmp_path: Path) -> None:
    """Class attention among the blocks is unknown, and that of ca_head stays behind whole."""
    state = official.vit(class_token=False, final_norm=False)
    for name in ("q", "k", "v"):
        for kind in ("weight", "bias"):
            parts = state[f"blocks.0.attn.qkv.{kind}"].chunk(3)
            state[f"blocks.0.attn.{name}.{kind}"] = parts["qkv".index(name)]
    fused = {k: state.pop(f"blocks.0.attn.qkv.{k}") for k in ("weight", "bias")}
    with pytest.raises(ValueError, match=r"6 key\(s\) unknown: blocks.0.attn.q.weight.*missing"):
        read_backbone_file(file(state, tmp_path), layout="selfpatch", **NARROW)
    case = official.selfpatch()
    backbone = read_backbone_file(file(case.content, tmp_path), **NARROW)
    assert not any("ca_head" in key or ".q." in key for key in backbone.state)
    assert {f"ca_head.cls_blocks.1.attn.{n}.weight" for n in ("q", "k", "v", "proj")} < set(
        backbone.left_out["aggregation"]
    )
    assert fused["weight"].shape == backbone.state["layers.0.attn.qkv.weight"].shape


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "backbone.",
        "module.backbone.",
        "module.base_encoder.",
        "_feature_blocks.",
        "trunk._feature_blocks.",
        "encoder.",
        "model.module.encoder.",
        "_orig_mod.backbone.",
    ],
)
def test_k9__prefixes_go_and_names_stay(prefix: str, tmp_path: Path) -> None:
    state = official.vit()
    path = file({"state_dict": official.below(prefix, state)}, tmp_path)
    backbone = read_backbone_file(path, layout="dino", **NARROW)
    assert backbone.prefix == prefix
    assert same(to_official(backbone.state, "dino")[0], state)
    embed, attn = state["patch_embed.proj.weight"], state["blocks.1.attn.proj.weight"]
    assert torch.equal(backbone.state["patch_embed.projection.weight"], embed)
    assert torch.equal(backbone.state["layers.1.attn.proj.weight"], attn)
    assert [key for key in backbone.state if "projection" in key] == [
        "patch_embed.projection.weight",
        "patch_embed.projection.bias",
    ]


def test_section_12__worked_example(tmp_path: Path) -> None:
    """Where the tensors of a full checkpoint end."""
    case = official.sere()
    path, output = file(case.content, tmp_path), tmp_path / "out.pth"
    convert(path, output, **NARROW)
    saved = torch.load(output, weights_only=True)["state_dict"]
    fc1 = case.content["teacher"]["module.backbone.blocks.0.mlp.fc1.weight"]
    assert torch.equal(saved["backbone.layers.0.ffn.layers.0.0.weight"], fc1)
    assert not any("sere" in key or "head" in key for key in saved)
    ours, _ = load_backbone(path, "student", **NARROW)
    bias = case.content["student"]["module.backbone.patch_embed.proj.bias"]
    assert torch.equal(ours["patch_embed.projection.bias"], bias)
    assert ours["mask_token"].shape == (1, 1, official.WIDTH)
