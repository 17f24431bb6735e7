"""Going on from weights: every kind of file, in both networks, whole or refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from beginnings import State, begin, dino, relvit, same
from checkpoints import official
from checkpoints.official import HEADS, LAYOUTS, save
from test_full import ARCH, converted, model
from torch import nn

from mmrel.checkpoints import read_backbone_file
from mmrel.models.backbones import DenseViT
from mmrel.ops.position import fit_position_embedding
from mmrel.registry import MODELS
from mmrel.utils import register_all_modules

PATCH_14 = dict(img_size=70, patch_size=14, layer_scale_init_value=1.0)
BACKBONES: dict[str, dict[str, Any]] = {
    "dino": {},
    "ibot": {},
    "sere": {},
    "sit": {},
    "relvit": {},
    "mae": {},
    "mocov3": {},
    "timm": dict(layer_scale_init_value=1.0),
    "dinov2": PATCH_14,
    "hf-dinov2": PATCH_14,
    "hf-vit": dict(img_size=70, patch_size=14),
    "selfpatch": dict(with_cls_token=False, final_norm=False),
}


def networks(content: Any, tmp_path: Path) -> dict[str, State]:
    """Each network's backbone as the converter reads it."""
    path = save(content, tmp_path / "read.pth")
    names = ("student", "teacher")
    return {n: read_backbone_file(path, network=n, num_heads=HEADS).state for n in names}


def test_kinds__are_all_tested() -> None:
    assert BACKBONES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("layout", BACKBONES)
def test_official_files__fill_both_networks(layout: str, tmp_path: Path) -> None:
    """Student into student, teacher into teacher; a file with one network fills both."""
    case = LAYOUTS[layout]()
    if layout == "selfpatch":
        network: Any = model("selfpatch")
    else:
        network = dino(**BACKBONES[layout])
    found = begin(network, case.content, tmp_path)
    if case.student is None:
        state = read_backbone_file(tmp_path / "given.pth", num_heads=HEADS).state
        wanted = {"student": state, "teacher": state}
    else:
        wanted = networks(case.content, tmp_path)
    assert same(network.backbone, wanted["student"])
    assert same(network.teacher.backbone, wanted["teacher"])
    assert layout in found.report
    expected = "student and teacher each their own" if case.student else "the same in student"
    assert expected in found.report


@pytest.mark.parametrize("layout", ["dino", "ibot", "sere", "selfpatch", "sit", "mocov3"])
def test_full_files__bring_heads_and_centres(layout: str, tmp_path: Path) -> None:
    """What ``--full`` writes, without writing it."""
    case = LAYOUTS[layout]()
    wanted, _ = converted(case.content, tmp_path)
    network = model(layout)
    found = begin(network, case.content, tmp_path)
    assert found.fresh == {} and "Nothing begins anew" in found.report
    assert all(torch.equal(found.state[key], value) for key, value in wanted.items())
    assert ("moves the teacher before each loss" in found.report) == (layout == "mocov3")
    written = begin(model(layout), torch.load(tmp_path / "full.pth"), tmp_path)
    assert all(torch.equal(found.state[key], value) for key, value in written.state.items())


def test_own_files__full_exported_and_of_mmpretrain(tmp_path: Path) -> None:
    source, copy = dino(), dino()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(torch.randn(parameter.shape))
        source.head["distillation"].center.value.normal_()
    state = source.state_dict()
    found = begin(copy, {"state_dict": state, "meta": {}, "optimizer": {}}, tmp_path)
    assert found.fresh == {} and all(torch.equal(found.state[k], v) for k, v in state.items())
    begin(dino(), {"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path)

    teacher = {k.removeprefix("teacher."): v for k, v in state.items() if "teacher.backbone" in k}
    for content in (
        {"state_dict": teacher, "meta": {"num_heads": HEADS, "network": "teacher"}},
        {k.removeprefix("backbone."): v for k, v in teacher.items()},
        {"state_dict": teacher | {"head.layers.head.weight": torch.zeros(3, 48)}},
    ):
        network = dino()
        neck = {k: v.clone() for k, v in network.state_dict().items() if "neck" in k}
        found = begin(network, content, tmp_path)
        plain = {k.removeprefix("backbone."): v for k, v in teacher.items()}
        assert same(network.backbone, plain) and same(network.teacher.backbone, plain)
        assert found.fresh == {
            "neck.projection": "not in the file",
            "head.distillation": "not in the file",
        }
        assert all(torch.equal(found.state[key], value) for key, value in neck.items())
        assert "Begins anew: neck.projection (not in the file)" in found.report


def test_own_files__student_alone_fills_the_teacher(tmp_path: Path) -> None:
    source, network = dino(), dino()
    student = {k: v for k, v in source.state_dict().items() if not k.startswith("teacher.")}
    found = begin(network, {"state_dict": student}, tmp_path)
    assert found.fresh == {}
    assert same(network.teacher.backbone, source.backbone.state_dict())
    assert same(network.teacher.neck, source.neck.state_dict())


def test_sere__over_its_base(tmp_path: Path) -> None:
    """iBOT's file fills the base; the relation necks are new, in both networks alike."""
    case, network = LAYOUTS["ibot"](), model("sere")
    network.init_weights()
    found = begin(network, case.content, tmp_path)
    assert found.fresh.keys() == {"neck.spatial_relation", "neck.channel_relation"}
    assert torch.equal(
        network.head["masked_distillation"].center.value,
        case.content["ibot_loss"]["center2"].view(1, -1),
    )
    for name in ("spatial_relation", "channel_relation"):
        assert same(network.teacher.neck[name], network.neck[name].state_dict())


def test_heads__of_another_form_begin_anew_with_their_centre(tmp_path: Path) -> None:
    """11 prototypes in the file, 5 in the model; and a head that the official code does not build."""
    content = LAYOUTS["dino"]().content
    network = dino()
    found = begin(network, content, tmp_path)
    assert "(11, 1) in the file, (5, 1) in the model" in found.fresh["neck.projection"]
    assert not network.head["distillation"].center.value.any()
    assert found.fresh["head.distillation"].startswith("of another form")
    narrow = dino()
    narrow.head["distillation"].center = type(narrow.head["distillation"].center)(11)
    found = begin(narrow, content, tmp_path)
    assert found.fresh["head.distillation"] == "neck.projection is fresh"
    assert not narrow.head["distillation"].center.value.any()
    del content["dino_loss"]
    found = begin(network, content, tmp_path)
    assert "Its heads could not be taken" in found.report and "no center" in found.report


def test_parts__incomplete_in_the_file_begin_anew(tmp_path: Path) -> None:
    source, network = dino(), dino()
    before = {k: v.clone() for k, v in network.state_dict().items() if "neck" in k}
    lost = "teacher.neck.projection.mlp.2.bias"
    state = {k: v for k, v in source.state_dict().items() if k != lost}
    found = begin(network, {"state_dict": state}, tmp_path)
    assert found.fresh["neck.projection"] == f"incomplete in the file, which lacks {lost}"
    assert all(torch.equal(found.state[key], value) for key, value in before.items())


@pytest.mark.parametrize("layout", ["dino", "mocov3", "mae"])
def test_relvit__takes_the_evaluated_network(layout: str, tmp_path: Path) -> None:
    case, network = LAYOUTS[layout](), relvit()
    found = begin(network, case.content, tmp_path)
    assert same(
        network.backbone,
        read_backbone_file(tmp_path / "given.pth", num_heads=HEADS).state,
    )
    assert found.fresh == {"head.position": "not in the file"}
    begin(relvit(), {"state_dict": network.state_dict()}, tmp_path)


@pytest.mark.parametrize(("layout", "rule"), [("dino", "dino"), ("mae", "size")])
def test_positions__are_resized_by_the_files_rule(layout: str, rule: str, tmp_path: Path) -> None:
    case, network = LAYOUTS[layout](), dino(img_size=96)
    found = begin(network, case.content, tmp_path)
    expected = fit_position_embedding(case.teacher["pos_embed"], (6, 6), 1, rule)
    assert torch.equal(network.teacher.backbone.pos_embed, expected)
    assert f"from 14 x 14 to 6 x 6 patches by the rule {rule!r}" in found.report
    assert network.backbone.pos_interpolation == "dino", (
        "the config's, so that a resumed run has it"
    )


def test_positions__a_square_file_stays_one_in_an_oblong_model(tmp_path: Path) -> None:
    """36 patches are 6 x 6 in an official file, though the model has 4 x 9."""
    content = official.vit(grid=(6, 6))
    network = dino(img_size=(64, 144))
    begin(network, content, tmp_path)
    expected = fit_position_embedding(content["pos_embed"], (4, 9), 1, "dino", (6, 6))
    assert torch.equal(network.backbone.pos_embed, expected)
    oblong = official.vit(grid=(3, 5))
    network = dino(img_size=(48, 80))
    begin(network, oblong, tmp_path)
    assert torch.equal(network.backbone.pos_embed, oblong["pos_embed"])


def test_remarks__mask_token_and_heads(tmp_path: Path) -> None:
    report = begin(model("ibot"), official.vit(), tmp_path).report
    assert "The mask token is not in the file" in report
    assert "does not tell its number of attention heads; the model's, 3, was taken" in report
    report = begin(dino(with_cls_token=False, final_norm=False), official.vit(), tmp_path).report
    assert "built without cls_token, ln1.weight, ln1.bias" in report


def test_downstream__backbone_from_the_file_and_heads_anew(tmp_path: Path) -> None:
    """A classifier and a dense backbone begin with an official file's evaluated network, resized by their own rule."""
    register_all_modules()
    case = LAYOUTS["dino"]()
    classifier = MODELS.build(
        dict(
            type="mmrel.RelViTClassifier",
            backbone=dict(type="mmrel.ViT", arch=ARCH),
            neck=dict(type="mmrel.TokenFeature"),
            head=dict(type="mmpretrain.LinearClsHead", num_classes=3, in_channels=48),
            pretext=dict(position=dict(type="mmrel.PatchPositionHead", in_channels=48, side=14)),
        )
    )
    found = begin(classifier, case.content, tmp_path)
    assert found.fresh.keys() == {"head", "pretext.position"}
    assert torch.equal(classifier.backbone.cls_token, case.teacher["cls_token"])
    detector = nn.Module()
    detector.backbone = DenseViT(
        ARCH, img_size=96, out_indices=(1,), pos_interpolation="dino", load_interpolation="size"
    )
    begin(detector, case.content, tmp_path)
    expected = fit_position_embedding(case.teacher["pos_embed"], (6, 6), 1, "size")
    assert torch.equal(detector.backbone.pos_embed, expected)


@pytest.mark.parametrize("heads", [HEADS, 6])
def test_downstream__takes_the_heads_it_names_and_its_own(heads: int, tmp_path: Path) -> None:
    """A detector of 6 heads for weights of 3 goes on from both such a backbone and its own checkpoint."""
    detector = nn.Module()
    arch = ARCH | dict(num_heads=6)
    detector.backbone = DenseViT(arch, out_indices=(1,), pretrained_num_heads=HEADS)
    state = {f"backbone.{k}": v + 1 for k, v in detector.backbone.state_dict().items()}
    begin(detector, {"state_dict": state, "meta": {"num_heads": heads}}, tmp_path)
    with pytest.raises(ValueError, match="trained with 2 attention heads"):
        begin(detector, {"state_dict": state, "meta": {"num_heads": 2}}, tmp_path)


def test_mocov3__the_update_that_is_due(tmp_path: Path) -> None:
    """The official code moves the teacher before the next loss; ``teacher_momentum`` does it here."""
    content = LAYOUTS["mocov3"]().content
    plain, report = converted(content, tmp_path)
    assert report.meta["teacher_update_due"] and "--teacher-momentum" in report.notes[-1]
    moved, report = converted(content, tmp_path, teacher_momentum=0.9)
    assert not report.meta["teacher_update_due"]
    for key, value in plain.items():
        if key.startswith("teacher.") and "running" not in key and "num_batches" not in key:
            expected = 0.9 * value + (1 - 0.9) * plain[key.removeprefix("teacher.")]
            assert torch.equal(moved[key], expected), key
        else:
            assert torch.equal(moved[key], value), key
    with pytest.raises(ValueError, match="teacher_momentum is 1.5"):
        converted(content, tmp_path, teacher_momentum=1.5)
