"""Which files are recognised, as what, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from checkpoints import official
from checkpoints.official import HEADS, LAYOUTS, save
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor

from mmrel.checkpoints import convert, load_backbone, read_backbone_file, to_official
from mmrel.checkpoints.describe import DEFAULTS
from mmrel.models.backbones import MoCoV3ViT, ViT
from mmrel.models.backbones.pretrained import load_fitted

META = {
    "arch",
    "embed_dims",
    "num_layers",
    "num_heads",
    "feedforward_channels",
    "patch_size",
    "in_channels",
    "num_registers",
    "img_size",
    "with_cls_token",
    "final_norm",
    "layer_scale",
    "use_pos_embed",
    "pos_interpolation",
    "mean",
    "std",
    "method",
    "epoch",
    "iter",
    "source",
    "network",
}
CONFIG = """
model = dict(
    type='mmrel.SERE',
    base=dict(
        type='mmrel.IBOT',
        backbone=dict(
            arch=dict(embed_dims=12, feedforward_channels=24, num_heads=2, num_layers=2),
            img_size=16, mask_token=True, patch_size=4, type='mmrel.ViT')))
__import__('os').abort()
"""


def training(tmp_path: Path, config: dict, text: str = CONFIG) -> tuple[torch.nn.Module, Path]:
    model = tiny.build(config)
    content = {"state_dict": model.state_dict(), "meta": {"cfg": text, "epoch": 3, "iter": 12}}
    return model, save(content, tmp_path / "epoch_3.pth")


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_load__mmrel_s_own_training(network: str, tmp_path: Path) -> None:
    model, path = training(tmp_path, tiny.sere())
    with torch.no_grad():
        model.teacher.backbone.cls_token.add_(1)
    save({"state_dict": model.state_dict(), "meta": {"cfg": CONFIG, "epoch": 3, "iter": 12}}, path)
    source = model.backbone if network == "student" else model.teacher.backbone
    state, meta = load_backbone(path, network)
    assert state.keys() == source.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in source.state_dict().items())
    assert set(meta) == META
    assert (meta["method"], meta["epoch"], meta["iter"]) == ("sere", 3, 12)
    assert (meta["num_heads"], meta["img_size"], meta["patch_size"]) == (2, 16, 4)
    assert (meta["pos_interpolation"], meta["network"]) == ("dino", network)
    assert meta["source"] == "epoch_3.pth" and meta["use_pos_embed"] is True
    converted = tmp_path / "backbone.pth"
    convert(path, converted, network=network)
    again, written = load_backbone(converted, network)
    assert written == meta and all(torch.equal(again[key], state[key]) for key in state)
    other = {"teacher": "student", "student": "teacher"}[network]
    with pytest.raises(ValueError, match=f"holds the {network} alone, not the {other}"):
        load_backbone(converted, other)
    assert load_backbone(converted, None)[1]["network"] == network


def test_load__a_training_without_teacher(tmp_path: Path) -> None:
    """RelViT has one network, which is what any question for one gets."""
    vit = ViT(**{k: v for k, v in tiny.vit(use_pos_embed=False).items() if k != "type"})
    state = {f"backbone.{key}": value for key, value in vit.state_dict().items()}
    state |= {"head.rel.scores.query.weight": torch.zeros(9, 12)}
    text = CONFIG.replace("img_size=16", "img_size=16, use_pos_embed=False")
    path = save({"state_dict": state, "meta": {"cfg": text}}, tmp_path / "a.pth")
    for network in ("teacher", "student", None):
        found, meta = load_backbone(path, network)
        assert found.keys() == vit.state_dict().keys()
        assert meta["use_pos_embed"] is False and meta["network"] is None
    assert read_backbone_file(path).left_out == {"head": ["head.rel.scores.query.weight"]}


def test_load__mmpretrain_s_own_training(tmp_path: Path) -> None:
    """A classifier's checkpoint, and a self-supervised one with its EMA copy."""
    vit = VisionTransformer("deit-tiny", img_size=32, patch_size=16)
    state = official.below("backbone.", vit.state_dict())
    classifier = state | official.pair("head.layers.head", 10, 192)
    _, meta = load_backbone(save({"state_dict": classifier, "meta": {}}, tmp_path / "a.pth"))
    assert (meta["num_heads"], meta["img_size"], meta["pos_interpolation"]) == (3, 32, None)
    pair = state | official.below("momentum_encoder.module.0.", vit.state_dict())
    pair |= official.pair("momentum_encoder.module.1.fc0", 4, 4)
    path = save({"state_dict": pair}, tmp_path / "b.pth")
    for network in ("teacher", "student"):
        found, meta = load_backbone(path, network)
        assert found.keys() == vit.state_dict().keys() and meta["network"] == network


def test_defaults__are_those_of_the_models() -> None:
    """A config may leave out what the class has by default."""
    with torch.device("meta"):
        for kind in (ViT, MoCoV3ViT):
            model, known = kind(), DEFAULTS[kind.__name__]
            arch = known["arch"]
            sizes = VisionTransformer.arch_zoo[arch] if isinstance(arch, str) else arch
            assert model.arch_settings == sizes
            assert model.pos_interpolation == known["pos_interpolation"]


def test_network__default_is_the_one_that_the_authors_evaluate(tmp_path: Path) -> None:
    for name, (make, expected) in {
        "dino": (official.dino, "teacher"),
        "mocov3": (official.mocov3, "student"),
    }.items():
        case = make()
        path = save(case.content, tmp_path / "a.pth")
        backbone = read_backbone_file(path, num_heads=HEADS)
        assert (backbone.layout, backbone.meta["network"]) == (name, expected)
        wanted = case.teacher if expected == "teacher" else case.student
        assert torch.equal(backbone.state["cls_token"], wanted["cls_token"])
        assert load_backbone(path, num_heads=HEADS)[1]["network"] == "teacher"
    alone = {"teacher": official.dino().content["teacher"]}
    path = save(alone, tmp_path / "b.pth")
    assert read_backbone_file(path, num_heads=HEADS).meta["network"] == "teacher"
    with pytest.raises(ValueError, match="has no student; it holds: teacher"):
        load_backbone(path, "student", num_heads=HEADS)


RECOGNISED: list[tuple[str, Any, str]] = [
    ("flat", lambda s: s, "dino"),
    ("state_dict", lambda s: {"state_dict": s}, "ibot"),
    ("ibot full", lambda s: {"teacher": official.below("backbone.", s), "ibot_loss": {}}, "ibot"),
    ("model", lambda s: {"model": s}, "dino"),
    ("with head", lambda s: s | official.pair("head", 3, 64), "timm"),
    ("DeiT", lambda s: {"model": s | official.pair("head", 3, 64)}, "timm"),
    ("fixed", lambda s: {"model": s | {"pos_embed": s["pos_embed"] * _no_class()}}, "mae"),
    ("lightning", lambda s: {"state_dict": s, "pytorch-lightning_version": "1.3.1"}, "relvit"),
    ("selfpatch", lambda s: {"model": _without_class(s)}, "selfpatch"),
    (
        "vissl",
        lambda s: {
            "classy_state_dict": {
                "base_model": {"model": {"trunk": official.below("_feature_blocks.", s)}}
            }
        },
        "dino",
    ),
]


def _no_class() -> Tensor:
    keep = torch.ones(1, 197, 1)
    keep[:, 0] = 0
    return keep


def _without_class(state: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = {k: v for k, v in state.items() if k != "cls_token" and not k.startswith("norm.")}
    return kept | {"pos_embed": state["pos_embed"][:, 1:]}


@pytest.mark.parametrize(
    ("wrap", "expected"), [case[1:] for case in RECOGNISED], ids=[case[0] for case in RECOGNISED]
)
def test_recognise__backbones_alone(wrap: Any, expected: str, tmp_path: Path) -> None:
    """Section 8: what a plain backbone is taken for; --from says better, and a look-alike is noted."""
    path = save(wrap(official.vit(width=64)), tmp_path / "a.pth")
    backbone = read_backbone_file(path)
    assert (backbone.layout, backbone.meta["num_heads"]) == (expected, 1)
    noted = any("looks alike" in note for note in backbone.notes)
    assert noted == (expected in ("dino", "ibot", "timm") and "backbone" not in backbone.prefix)
    if expected == "dino":
        chosen = read_backbone_file(path, layout="timm")
        assert chosen.meta["pos_interpolation"] == "size" and chosen.notes == []


def test_heads__one_per_64_channels_with_exceptions(tmp_path: Path) -> None:
    def heads(width: int, layout: str = "timm", fixed: bool = False, **options: Any) -> int:
        state = official.vit(width, depth=1, hidden=8, grid=(1, 1))
        if fixed:
            state["pos_embed"][:, 0] = 0
        path = save(state, tmp_path / "a.pth")
        return read_backbone_file(path, layout=layout, **options).meta["num_heads"]

    assert [heads(width) for width in (192, 384, 768, 1024, 1280)] == [3, 6, 12, 16, 16]
    assert heads(384, "mocov3") == 12 and heads(768, "mocov3") == 12
    assert heads(384, "mocov3", num_heads=6) == 6 and heads(96, num_heads=4) == 4
    with pytest.raises(ValueError, match="width of 96 is no multiple of 64.*--num-heads"):
        heads(96)
    with pytest.raises(ValueError, match="num_heads is 5; it must divide the width 384"):
        heads(384, num_heads=5)
    with pytest.raises(ValueError, match="may be MoCo v3's, which has 12 .*another one's with 6"):
        heads(384, "dino", fixed=True)
    assert heads(384, "dino", fixed=True, num_heads=12) == 12


def test_heads__of_a_file_that_names_them_cannot_be_changed(tmp_path: Path) -> None:
    _, path = training(tmp_path, tiny.ibot())
    assert load_backbone(path, num_heads=2)[1]["num_heads"] == 2
    with pytest.raises(ValueError, match="num_heads is 3, but .* were trained with 2"):
        load_backbone(path, num_heads=3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision__others_become_float32_with_a_note(dtype: torch.dtype, tmp_path: Path) -> None:
    """A half-precision file is a re-saved copy (official files are float32): it is converted, and said so."""
    state = {key: value.to(dtype) for key, value in official.vit().items()}
    backbone = read_backbone_file(save(state, tmp_path / "a.pth"), num_heads=HEADS)
    assert {value.dtype for value in backbone.state.values()} == {torch.float32}
    assert f"Tensors of {dtype} are written as float32." in backbone.notes
    back, _ = to_official(backbone.state, "dino")
    assert all(torch.equal(back[key].to(dtype), value) for key, value in state.items())


def _resnet() -> dict[str, Tensor]:
    return {
        "conv1.weight": torch.zeros(64, 3, 7, 7),
        "bn1.weight": torch.zeros(64),
        "layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1),
        "fc.weight": torch.zeros(10, 64),
    }


def _with(**changes: Tensor) -> dict[str, Tensor]:
    return official.vit() | changes


REFUSED: dict[str, tuple[Any, str]] = {
    "ResNet": (
        _resnet(),
        r"is a ResNet \(its key layer1.0.conv1.weight\). Give a ViT checkpoint",
    ),
    "ResNet of a trainer": ({"state_dict": _resnet(), "epoch": 3}, "is a ResNet"),
    "another network": (
        {"state_dict": {"conv1.weight": torch.zeros(2), "bn1.weight": torch.zeros(2)}},
        "no vision transformer of a known layout; its keys start with: bn1, conv1",
    ),
    "no dict": ([1, 2], "holds a list, not a dict"),
    "no tensors": ({"epoch": 3}, r"holds no state dict \(not tensors: epoch\)"),
    "empty dict": ({}, r"holds no state dict \(nothing\)"),
    "empty state": ({"model": {}}, r"no state dict under 'model' \(nothing\)"),
    "VISSL without trunk": ({"classy_state_dict": {"x": 1}}, "VISSL checkpoint without base_model"),
    "two networks": (
        official.below("backbone.", official.vit()) | official.below("encoder.", official.vit()),
        "holds several vision transformers, below 'backbone.', 'encoder.'",
    ),
    "a head twice": (
        official.vit() | official.pair("head", 3, 48) | official.pair("module.head", 3, 48),
        "has 2 tensors twice",
    ),
    "a head in the backbone and beside it": (
        official.below("backbone.", official.vit() | official.pair("head", 3, 48))
        | official.pair("head", 3, 48),
        "has head.bias, head.weight twice, with and without 'backbone.'",
    ),
    "registers of another width": (
        _with(reg_token=torch.zeros(1, 4, 40)),
        r"register_tokens \(1, 4, 40\) instead of",
    ),
    "SwiGLU": (official.vit() | official.pair("blocks.0.mlp.w12", 8, 48), "SwiGLU"),
    "conv stem": (official.vit() | official.pair("patch_embed.proj.0", 8, 3, 3, 3), "vit_conv"),
    "distilled": (_with(dist_token=torch.zeros(1, 1, 48)), "distillation token"),
    "CLIP": (official.vit() | official.pair("norm_pre", 48), "norm before the blocks"),
    "chunks": (official.vit() | official.pair("blocks.0.0.norm1", 48), "blocks in chunks"),
    "whole numbers": (_with(cls_token=torch.zeros(1, 1, 48, dtype=torch.int8)), "torch.int8"),
    "sparse": (_with(cls_token=torch.zeros(1, 1, 48).to_sparse()), "torch.sparse_coo"),
    "without data": (_with(cls_token=torch.zeros(1, 1, 48, device="meta")), "meta"),
    "expanded": (
        _with(pos_embed=torch.zeros(1, 1, 48).expand(1, 1025**2, 48)),
        "more than the file of",
    ),
    "another width": (_with(cls_token=torch.zeros(1, 1, 64)), r"cls_token \(1, 1, 64\) instead of"),
    "another depth": (
        official.vit() | official.pair("blocks.2.norm1", 48),
        r"10 key\(s\) missing: blocks.2.attn.qkv.weight",
    ),
    "oblong patch": (
        official.vit() | {"patch_embed.proj.weight": torch.zeros(48, 3, 16, 8)},
        r"not a plain ViT: its patch embedding is \(48, 3, 16, 8\)",
    ),
    "flat positions": (_with(pos_embed=torch.zeros(197, 48)), r"pos_embed \(197, 48\) instead of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_load__refuses(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    path, output = save(content, tmp_path / "a.pth"), tmp_path / "out.pth"
    with pytest.raises(ValueError, match=message):
        convert(path, output, num_heads=HEADS)
    assert list(tmp_path.iterdir()) == [path]


def test_arguments__are_checked(tmp_path: Path) -> None:
    path = save(official.vit(), tmp_path / "a.pth")
    cases: list[tuple[Any, str]] = [
        (dict(layout="swin"), "layout is 'swin'; allowed: auto, dino"),
        (dict(network="ema"), "network is 'ema'; allowed: teacher, student"),
        (dict(num_heads=0), "num_heads is 0"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            read_backbone_file(path, **options)
    with pytest.raises(ValueError, match="is the file that is read"):
        convert(path, tmp_path / "x" / ".." / "a.pth", num_heads=HEADS)
    with pytest.raises(ValueError, match="is a folder"):
        convert(path, tmp_path, num_heads=HEADS)
    with pytest.raises(ValueError, match="layout is 'swin'"):
        to_official({}, "swin")


def test_to_official__accounts_for_every_key(tmp_path: Path) -> None:
    state, _ = load_backbone(save(official.vit(), tmp_path / "a.pth"), num_heads=HEADS)
    with pytest.raises(ValueError, match=r"1 key\(s\) missing: layers.0.ln2.bias"):
        to_official({k: v for k, v in state.items() if k != "layers.0.ln2.bias"}, "dino")
    with pytest.raises(ValueError, match="dino has no name for layers.0.attn.extra"):
        to_official(state | {"layers.0.attn.extra": torch.zeros(1)}, "dino")
    with pytest.raises(
        ValueError, match="selfpatch has no name for cls_token, ln1.weight, ln1.bias"
    ):
        to_official(state, "selfpatch")
    masked = state | {"mask_token": torch.zeros(1, 1, 48)}
    assert to_official(masked, "timm")[1] == ["mask_token"]
    assert to_official(masked, "ibot")[1] == []


def test_fuzz__changed_files_are_errors_or_the_same_weights(tmp_path: Path) -> None:
    """200 cases: keys lost, renamed, swapped, reshaped; ValueError, or a network that loads whole."""
    rng, loaded = np.random.default_rng(0), 0
    cases = {name: make() for name, make in LAYOUTS.items()}
    for _ in range(200):
        case = cases[rng.choice(list(cases))]
        state = dict(case.teacher)
        key, other = rng.choice(list(state), 2)
        change = rng.integers(5)
        if change == 0:
            del state[key]
        elif change == 1:
            state[f"{key}x"] = state.pop(key)
        elif change == 2:
            state[key], state[other] = state[other], state[key]
        elif change == 3:
            state[key] = state[key].flatten()[: rng.integers(1, 60)]
        else:
            state[re.sub(r"\d+", "5", key)] = state.pop(key)
        path = save(case.build(state), tmp_path / "a.pth")
        try:
            found, meta = load_backbone(path, case.network, num_heads=HEADS)
        except ValueError:
            continue
        loaded += 1
        model = ViT(
            {k: meta[k] for k in ("embed_dims", "num_layers", "num_heads", "feedforward_channels")},
            img_size=meta["img_size"],
            patch_size=meta["patch_size"],
            with_cls_token=meta["with_cls_token"],
            final_norm=meta["final_norm"],
            layer_scale_init_value=float(meta["layer_scale"]),
        )
        load_fitted(model, found, meta, str(path))
    assert 0 < loaded < 100
