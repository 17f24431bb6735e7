"""The whole pretraining state of official checkpoints: it loads strictly, and every tensor is accounted for."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.official import HEADS, HIDDEN, LAYOUTS, WIDTH, save
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mmrel.checkpoints import convert_full
from mmrel.checkpoints.head_layouts import HEADS as KNOWN
from mmrel.checkpoints.layouts import LAYOUTS as SCHEMES
from mmrel.checkpoints.rules import rename
from mmrel.registry import MODELS

State = dict[str, Tensor]
ARCH = dict(embed_dims=WIDTH, num_layers=2, num_heads=HEADS, feedforward_channels=HIDDEN)
BN = dict(type="BN1d")
UNUSED = {
    "dino": {},
    "ibot": {"student's unused parts": 2, "teacher's unused parts": 2},
    "sere": {"student's unused parts": 2, "teacher's unused parts": 36},
    "selfpatch": {},
    "sit": {"teacher's unused parts": 8},
    "mocov3": {},
}


def projection(**kwargs: Any) -> dict[str, Any]:
    return dict(
        in_channels=WIDTH, out_channels=11, hidden_channels=32, bottleneck_channels=16, **kwargs
    )


def contrastive(hidden: int, **kwargs: Any) -> dict[str, Any]:
    return dict(
        type="mmrel.ContrastiveProjection",
        in_channels=WIDTH,
        hidden_channels=hidden,
        out_channels=16,
        norm_cfg=BN,
        **kwargs,
    )


def model(method: str) -> nn.Module:
    vit = dict(type="mmrel.ViT", arch=ARCH)
    head = dict(type="mmrel.DistillationHead", out_channels=11)
    prototypes = dict(type="mmrel.PrototypeProjection", **projection())
    ibot = dict(
        type="mmrel.IBOT",
        backbone=vit | dict(mask_token=True),
        neck=prototypes | dict(patches=True),
        head=head,
        patch_head=dict(type="mmrel.MaskedDistillationHead", out_channels=11),
    )
    configs = {
        "dino": dict(type="mmrel.DINO", backbone=vit, neck=prototypes, head=head),
        "ibot": ibot,
        "sere": dict(type="mmrel.SERE", base=ibot, norm_cfg=dict(type="BN")),
        "selfpatch": dict(
            type="mmrel.SelfPatch",
            backbone=vit | dict(with_cls_token=False, final_norm=False),
            neck=dict(
                type="mmrel.NeighbourAggregation",
                num_heads=HEADS,
                patch_out_channels=7,
                **projection(),
            ),
            head=head,
            patch_head=dict(type="mmrel.PatchDistillationHead", out_channels=7),
        ),
        "sit": dict(
            type="mmrel.SiT",
            backbone=vit,
            neck=contrastive(
                32, activations=("ReLU", "GELU"), predictor=False, bias=True, joint_views=True
            ),
            decoder=dict(type="mmrel.PixelDecoder", in_channels=WIDTH),
            head=dict(type="mmrel.ContrastiveHead"),
        ),
        "mocov3": dict(
            type="mmrel.MoCoV3",
            backbone=dict(type="mmrel.MoCoV3ViT", arch=ARCH),
            neck=contrastive(64),
            head=dict(type="mmrel.ContrastiveHead"),
        ),
    }
    return MODELS.build(configs[method])


def converted(content: Any, tmp_path: Path, **options: Any) -> tuple[State, Any]:
    output = tmp_path / "full.pth"
    report = convert_full(save(content, tmp_path / "a.pth"), output, num_heads=HEADS, **options)
    saved = torch.load(output, weights_only=True)
    assert saved["state_dict"].keys() == report.state.keys()
    return saved["state_dict"], report


def official_networks(content: Any) -> dict[str, State]:
    """Student and teacher without wrappers, as the rules name them: backbone plain, heads beside it."""
    if "state_dict" in content:
        whole = {k.removeprefix("module."): v for k, v in content["state_dict"].items()}
        teacher = {k: v for k, v in whole.items() if k.startswith("momentum_encoder.")}
        student = {k: v for k, v in whole.items() if k not in teacher}
        content = {"student": student, "teacher": teacher}
    wrapper = r"(module\.)?(backbone\.|base_encoder\.|momentum_encoder\.)?"
    return {
        name: {re.sub("^" + wrapper, "", k): v for k, v in content[name].items()}
        for name in ("student", "teacher")
    }


def test_methods__are_all_tested() -> None:
    assert sorted(KNOWN) == sorted(UNUSED)


@pytest.mark.parametrize("method", KNOWN)
def test_full__loads_strictly_and_back_bit_for_bit(method: str, tmp_path: Path) -> None:
    case = LAYOUTS[method]()
    content = case.content
    state, report = converted(content, tmp_path)
    assert report.layout == method and report.meta["num_heads"] == HEADS
    result = model(method).load_state_dict(state, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert {group: len(keys) for group, keys in report.left_out.items()} == UNUSED[method]

    rules = (*SCHEMES[method].rules, *KNOWN[method].rules)
    rules = tuple(
        rule
        if rule in KNOWN[method].rules
        else type(rule)(rule.theirs, f"backbone.{rule.ours}", rule.part, rule.flat)
        for rule in rules
    )
    centers = {ours for _, _, ours in KNOWN[method].centers}
    for name, expected in official_networks(content).items():
        own = {
            key.removeprefix("teacher."): value
            for key, value in state.items()
            if key.startswith("teacher.") == (name == "teacher") and key not in centers
        }
        back, unknown = rename(rules, own, to_ours=False)
        assert unknown == {}
        lost = [
            rename(rules, {k: v}, to_ours=True)[0] for k, v in expected.items() if k not in back
        ]
        left_out = report.left_out.get(f"{name}'s unused parts", [])
        assert sorted(key for each in lost for key in each) == sorted(left_out)
        for key, value in back.items():
            assert torch.equal(value, expected[key]) and value.dtype == expected[key].dtype, key
    for place, key, ours in KNOWN[method].centers:
        assert torch.equal(state[ours].flatten(), content[place][key].flatten())


def test_full__own_prototypes_for_patches(tmp_path: Path) -> None:
    content = official.ibot().content
    for name, prefix in (("student", "module."), ("teacher", "")):
        content[name][f"{prefix}head.last_layer2.weight_v"] = torch.randn(5, 16)
        content[name][f"{prefix}head.last_layer2.weight_g"] = torch.ones(5, 1)
    content["ibot_loss"]["center2"] = torch.randn(1, 1, 5)
    state, report = converted(content, tmp_path)
    assert report.left_out == {}
    assert state["teacher.neck.projection.last_layer2.weight_v"].shape == (5, 16)
    assert state["head.masked_distillation.center.value"].shape == (1, 5)


def test_full__sere_without_local_crops(tmp_path: Path) -> None:
    state, report = converted(official.sere(local=False).content, tmp_path)
    assert not any("local" in key for key in state)
    assert len(report.left_out["teacher's unused parts"]) == 2 + 2 * 6


def test_k8__both_names_of_the_weight_norm(tmp_path: Path) -> None:
    """g v / |v| is the same under the classic names and under those of torch's parametrisation."""
    layer = weight_norm(nn.Linear(16, 11, bias=False))
    with torch.no_grad():
        layer.parametrizations.weight.original0.copy_(torch.rand(11, 1) + 0.5)
    new = {f"head.last_layer.{key}": value for key, value in layer.state_dict().items()}
    content = official.dino().content
    for name, prefix in (("student", "module."), ("teacher", "")):
        for key in ("weight_g", "weight_v"):
            del content[name][f"{prefix}head.last_layer.{key}"]
        content[name] |= official.below(prefix, new)
    state, _ = converted(content, tmp_path)
    dino = model("dino")
    dino.load_state_dict(state)
    own = dino.teacher.neck["projection"].last_layer
    x = torch.randn(4, 16)
    torch.testing.assert_close(own(x), layer(x))
    g, v = (
        state["neck.projection.last_layer.weight_g"],
        state["neck.projection.last_layer.weight_v"],
    )
    torch.testing.assert_close(layer.weight, g * v / v.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("method", KNOWN)
def test_full__every_head_key_too_few_or_too_many_is_named(method: str, tmp_path: Path) -> None:
    """Each tensor of the student's heads in turn, and one that nobody knows; nothing is written."""
    case, output = LAYOUTS[method](), tmp_path / "full.pth"
    content = case.content
    place = "state_dict" if "state_dict" in content else "student"
    student = content[place]
    heads = [k for k in student if re.search("head|predictor|sere", k) and "momentum" not in k]
    path = tmp_path / "a.pth"
    for key in heads:
        save(content | {place: {k: v for k, v in student.items() if k != key}}, path)
        name = re.sub(r"module\.(base_encoder\.|backbone\.)?", "", key)
        with pytest.raises(ValueError, match=re.escape(name) + r"[ .,]"):
            convert_full(path, output, num_heads=HEADS)
    save(content | {place: student | {"module.other.weight": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match="unknown: other.weight"):
        convert_full(path, output, num_heads=HEADS)
    assert not output.exists()


def test_full__refuses(tmp_path: Path) -> None:
    dino = official.dino().content
    cases: list[tuple[Any, str]] = [
        (official.mae().content, "taken as mae's and holds: single.*Leave --full out"),
        ({k: v for k, v in dino.items() if k != "student"}, "holds: teacher. The whole state"),
        (dino | {"dino_loss": {}}, "has no center under 'dino_loss'"),
        ({k: v for k, v in dino.items() if k != "dino_loss"}, "has no center under 'dino_loss'"),
        (dino | {"dino_loss": {"center": torch.zeros(1, 5)}}, "has 5 numbers, .* prototypes: 11"),
        (
            dino | {"student": dino["student"] | {"module.head.mlp.6.weight": torch.zeros(1)}},
            "heads have head.mlp.6.weight, which dino's official code does not build",
        ),
        (
            dino | {"teacher": dino["teacher"] | {"head.mlp.0.bias": torch.zeros(5)}},
            "student and teacher differ in neck.projection.mlp.0.bias",
        ),
    ]
    for content, message in cases:
        with pytest.raises(ValueError, match=message):
            converted(content, tmp_path)
    assert not (tmp_path / "full.pth").exists()
