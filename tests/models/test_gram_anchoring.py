"""Gram anchoring on every base: its loss, its early teacher, and what it leaves as it was."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import tiny
import torch
from reference import gram as reference

from mmrel.models.selfsup import GramAnchoring
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch

BASES: dict[str, Callable[[], dict]] = {
    "ibot": tiny.ibot,
    "dino": tiny.dino,
    "mocov3": tiny.mocov3,
    "selfpatch": tiny.selfpatch,
    "sit": tiny.sit,
    "sere": tiny.sere,
}
OK = torch.tensor(True)


def batch_for(model: torch.nn.Module) -> ViewBatch:
    """With local crops and corruption where the method takes them."""
    views = tiny.view_batch(num_local=1 if model.local_crops else 0)
    if "corruption" not in {need for head in model.head.values() for need in head.needs}:
        return views
    corruption = torch.rand(4, tiny.GLOBAL, tiny.GLOBAL) < 0.3
    corrupted = torch.where(corruption[:, None], 0.0, views.global_crops)
    return dataclasses.replace(views, corruption=corruption, corrupted_crops=corrupted)


def anchored(base: dict, **kwargs: object) -> dict:
    return dict(type="mmrel.GramAnchoring", base=base, **kwargs)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Move the student away from its teachers."""
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return model


@pytest.mark.parametrize("base", BASES)
def test_losses__are_those_of_the_base_and_one_more(base: str) -> None:
    plain = shaken(tiny.build(BASES[base]()))
    model = shaken(tiny.build(anchored(BASES[base](), weight=3.0)))
    views = batch_for(model)
    expected = plain(views, mode="loss")
    losses = model(views, mode="loss")
    gram = losses.pop("loss_gram")
    assert losses.keys() == expected.keys()
    assert all(torch.equal(losses[name], value) for name, value in expected.items())
    masks = views.masks if base in ("ibot", "sere") else None
    student = model.backbone(views.student_crops, masks).patches
    early = model.early_teacher.backbone(views.global_crops).patches
    wanted = 3 * reference.gram_anchoring_loss(student.double(), early.double()).float()
    torch.testing.assert_close(gram, wanted, rtol=1e-4, atol=1e-7)
    gram.backward()
    assert all(p.grad is None for p in model.early_teacher.parameters())
    assert float(model.backbone.layers[0].ln1.bias.grad.abs().sum()) > 0


def test_state__is_the_bases_and_the_early_teacher() -> None:
    plain, model = tiny.build(tiny.sere()), tiny.build(anchored(tiny.sere()))
    own = {name: value for name, value in plain.state_dict().items()}
    state = model.state_dict()
    early = {k: v for k, v in state.items() if k.startswith("early_teacher.")}
    assert state.keys() - early.keys() == own.keys()
    assert all(torch.equal(state[name], value) for name, value in own.items())
    assert {k.removeprefix("early_") for k in early} == {
        k for k in own if k.startswith("teacher.backbone.")
    }
    assert all(torch.equal(v, own[k.removeprefix("early_")]) for k, v in early.items())
    assert not any(p.requires_grad for p in model.early_teacher.parameters())


def test_early_teacher__is_absent_unless_a_head_needs_it() -> None:
    for base in BASES.values():
        model = tiny.build(base())
        assert model.early_teacher is None
        assert not any("early" in name for name in model.state_dict())
    with pytest.raises(ValueError, match="put mmrel.GramAnchoring around it"):
        model.renew_early_teacher()


def test_early_teacher__stays_until_it_is_renewed() -> None:
    model = shaken(tiny.build(anchored(tiny.dino())))
    before = copy.deepcopy(model.early_teacher.state_dict())
    model(batch_for(model), mode="loss")
    model.commit(0.5, OK)
    after = model.early_teacher.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    model.renew_early_teacher()
    teacher = model.teacher.state_dict()
    assert all(torch.equal(value, teacher[name]) for name, value in after.items())
    assert not torch.equal(after["backbone.cls_token"], before["backbone.cls_token"])
    memory = {p.data_ptr() for p in model.early_teacher.parameters()}
    assert not memory & {p.data_ptr() for p in model.teacher.parameters()}


def test_early_teacher__costs_nothing_before_it_takes_part() -> None:
    model = shaken(tiny.build(anchored(tiny.dino())))
    model.uses_early_teacher = False
    calls = []
    model.early_teacher.backbone.register_forward_hook(lambda *_: calls.append(1))
    losses = model(batch_for(model), mode="loss")
    assert float(losses["loss_gram"]) == 0 and not calls
    model.uses_early_teacher = True
    assert float(model(batch_for(model), mode="loss")["loss_gram"].detach()) > 0 and len(calls) == 1


def test_early_teacher__moves_with_the_model() -> None:
    model = tiny.build(anchored(tiny.dino())).to("meta")
    assert all(p.is_meta for p in model.early_teacher.parameters())


def test_module__as_base_is_copied() -> None:
    base = tiny.build(tiny.ibot())
    model = GramAnchoring(base)
    assert model.backbone is not base.backbone and model.local_crops
    assert not GramAnchoring(tiny.build(tiny.mocov3())).local_crops


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        (anchored(tiny.dino(), weight=0), ValueError, "weight is 0"),
        (anchored(tiny.relvit()), TypeError, "Gram anchoring is carried by a student-teacher"),
        (anchored(anchored(tiny.dino())), ValueError, "anchor it once"),
        (tiny.sere(anchored(tiny.ibot())), ValueError, "put mmrel.GramAnchoring around mmrel.SERE"),
        (
            tiny.relvit(gram=dict(type="mmrel.GramAnchoringHead", neck="patches")),
            ValueError,
            r"needs \['early_teacher'\]; known needs of a RelViT",
        ),
    ],
    ids=["weight", "relvit", "twice", "inside", "no teacher"],
)
def test_config__that_makes_no_sense(config: dict, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        MODELS.build(config)
