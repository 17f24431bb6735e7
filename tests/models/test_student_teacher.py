"""The skeleton and the methods on it: EMA, gradients, weights of the terms, state dict, errors."""

from dataclasses import replace

import pytest
import tiny
import torch

from mmrel.models.selfsup import SelfSupervised
from mmrel.models.selfsup.self_supervised import feature_std
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

TRUE = torch.tensor(True)
CONFIGS = {
    "dino": tiny.dino(),
    "ibot": tiny.ibot(),
    "sere": tiny.sere(),
    "sere-dino": tiny.sere(tiny.dino()),
    "mocov3": tiny.mocov3(),
    "sere-mocov3": tiny.sere(tiny.mocov3()),
    "selfpatch": tiny.selfpatch(),
    "sere-selfpatch": tiny.sere(tiny.selfpatch()),
}


def total(losses: dict) -> torch.Tensor:
    return sum(value for key, value in losses.items() if "loss" in key)


@pytest.mark.parametrize("name", CONFIGS)
def test_loss__gradients_reach_the_student_only(name: str) -> None:
    """Every student parameter gets a gradient, no teacher parameter does."""
    model = tiny.build(CONFIGS[name])
    losses = model(tiny.view_batch(num_local=3 if model.local_crops else 0), mode="loss")
    total(losses).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_commit__moves_every_teacher_parameter(name: str) -> None:
    """iBOT (arXiv 2111.07832): the mask token is the student's alone, all else follows."""
    model = tiny.build(CONFIGS[name])
    before = {n: p.clone() for n, p in model.teacher.named_parameters()}
    with torch.no_grad():
        for part in (model.backbone, model.neck):
            for parameter in part.parameters():
                parameter.add_(1.0)
    model.commit(0.75, TRUE)
    for name_, teacher in model.teacher.named_parameters():
        expected = 0.75 * before[name_] + 0.25 * model.get_parameter(name_)
        torch.testing.assert_close(teacher, expected)
    assert not any("mask_token" in n or "predictor" in n or "local" in n for n in before)


def test_commit__worked_example() -> None:
    """DINO (arXiv 2104.14294), section 3.1: teacher 1, students 2, 3, 4, momentum on a cosine of 20 steps."""
    model = tiny.build(tiny.dino())
    teacher = model.teacher.backbone.ln1.weight
    momenta = [0.996, 0.9960246, 0.9960979]
    for student, momentum, expected in zip(
        (2, 3, 4), momenta, (1.004, 1.011935, 1.023595), strict=True
    ):
        model.backbone.ln1.weight.data.fill_(student)
        model.commit(momentum, TRUE)
        assert teacher.tolist() == pytest.approx([expected] * 12, abs=1e-6)


def test_commit__failed_step_changes_nothing() -> None:
    model = tiny.build(tiny.ibot())
    model(tiny.view_batch(), mode="loss")
    with torch.no_grad():
        model.backbone.ln1.weight.fill_(5.0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.commit(0.5, torch.tensor(False))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    model(tiny.view_batch(), mode="loss")
    model.commit(0.5, TRUE)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)}
    assert changed == {
        "teacher.backbone.ln1.weight",
        "head.distillation.center.value",
        "head.masked_distillation.center.value",
    }


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_commit__failed_step_of_a_spoilt_student_changes_nothing(value: float) -> None:
    """Zero times infinity is NaN: the share 0 of such a student is not enough. The sign of zero stays too."""
    model = tiny.build(tiny.ibot())
    model(tiny.view_batch(), mode="loss")
    with torch.no_grad():
        model.backbone.ln1.weight.fill_(value)
        model.teacher.backbone.ln1.bias.fill_(-0.0)
        model.head.distillation.center._pending[0][0].fill_(value)
    names = {n for n in model.state_dict() if n.startswith(("teacher.", "head."))}
    before = {n: model.state_dict()[n].numpy().tobytes() for n in names}
    model.commit(0.5, torch.tensor(False))
    assert {n: model.state_dict()[n].numpy().tobytes() for n in names} == before


def test_commit__failed_steps_do_not_pass_for_updates() -> None:
    model = tiny.build(tiny.dino())
    views = tiny.view_batch(batch=1, num_local=0)
    for number in range(80):
        model(views, mode="loss")
        model.commit(0.5, torch.tensor(number < 16))
    with pytest.raises(RuntimeError, match="not updated during 64 training iterations"):
        model(views, mode="loss")


def test_commit__a_step_in_64_is_enough() -> None:
    model = tiny.build(tiny.dino())
    views = tiny.view_batch(batch=1, num_local=0)
    for number in range(140):
        model(views, mode="loss")
        model.commit(0.5, torch.tensor(number % 60 == 0))


def test_loss__teacher_that_never_moves_is_an_error() -> None:
    model = tiny.build(tiny.dino())
    views = tiny.view_batch(batch=1, num_local=0)
    for _ in range(64):
        model(views, mode="loss")
    with pytest.raises(RuntimeError, match=r"mmrel\.TeacherUpdateHook"):
        model(views, mode="loss")


def test_init_weights__teacher_equals_student() -> None:
    model = tiny.build(tiny.sere())
    for name, teacher in model.teacher.named_parameters():
        assert torch.equal(teacher, model.get_parameter(name)), name


def test_state_dict__layout() -> None:
    keys = set(tiny.build(tiny.sere()).state_dict())
    for prefix in (
        "backbone.mask_token",
        "neck.projection.last_layer.weight_v",
        "neck.spatial_relation.local_predictor",
        "neck.channel_relation.projection",
        "head.masked_distillation.center.value",
        "teacher.backbone.layers.1.ffn.layers.1.weight",
        "teacher.neck.spatial_relation.projection",
    ):
        assert any(key.startswith(prefix) for key in keys), prefix
    assert {key.split(".")[0] for key in keys} == {"backbone", "neck", "head", "teacher"}


def test_ibot__empty_masks() -> None:
    """No hidden patch anywhere gives a patch loss of exactly 0 and no NaN."""
    model = tiny.build(tiny.ibot())
    losses = model(tiny.view_batch(masks=torch.zeros(4, 16, dtype=torch.bool)), mode="loss")
    assert float(losses["loss_patch"]) == 0
    total(losses).backward()
    assert torch.equal(model.backbone.mask_token.grad, torch.zeros(1, 1, 12))
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_ibot__teacher_sees_unmasked_crops() -> None:
    model = tiny.build(tiny.ibot())
    torch.nn.init.normal_(model.backbone.mask_token)
    views = tiny.view_batch()
    student, teacher = model._student_tokens(views), model._teacher_tokens(views)
    plain = model.backbone(views.global_crops)
    assert torch.equal(teacher.global_crops.patches, plain.patches)
    assert not torch.equal(student.global_crops.patches, plain.patches)
    assert torch.equal(student.local_crops.cls, model.backbone(views.local_crops).cls)
    assert teacher.local_crops is None


@pytest.mark.parametrize(
    ("base", "alpha", "beta", "factor"),
    [
        (tiny.ibot(), 0.2, 0.5, 1.65),
        (tiny.dino(), 0.2, 0.5, 2.3),
        (tiny.mocov3(), 0.2, 0.5, 2.3),
        (tiny.selfpatch(), 0.2, 0.5, 1.65),
        (tiny.ibot(), 1.0, 1.0, 1.0),
    ],
)
def test_sere__weights_of_the_terms(base: dict, alpha: float, beta: float, factor: float) -> None:
    """SERE (arXiv 2206.05184): base 5, spatial 1, channel 2 at the recipe's weights give 9.45."""
    model = tiny.build(tiny.sere(base, alpha=alpha, beta=beta))
    weights = {name: head.loss_weight for name, head in model.head.items()}
    assert weights.pop("spatial_relation") == alpha
    assert weights.pop("channel_relation") == beta
    plain = {name: head.loss_weight for name, head in tiny.build(base).head.items()}
    assert weights == pytest.approx({name: factor * weight for name, weight in plain.items()})
    if factor == 1.65:
        assert factor * 5 + alpha * 1 + beta * 2 == pytest.approx(9.45)


def test_sere__from_one_module_twice() -> None:
    """The module that is given stays as it was: its weights are not multiplied, its tensors not shared."""
    base = tiny.build(tiny.ibot())
    before = {name: value.clone() for name, value in base.state_dict().items()}
    first, second = (tiny.build(tiny.sere(base)) for _ in range(2))
    assert [head.loss_weight for head in base.head.values()] == [1.0, 1.0]
    for model in (first, second):
        weights = [model.head[name].loss_weight for name in ("distillation", "masked_distillation")]
        assert weights == pytest.approx([1.65, 1.65])
    own = {p.data_ptr() for p in first.parameters()}
    assert not own & {p.data_ptr() for other in (base, second) for p in other.parameters()}
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


def test_sere__preprocesses_as_its_base() -> None:
    mean = dict(type="mmrel.ViewPreprocessor", mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    other = dict(mean, mean=[7.0, 8.0, 9.0])
    base = dict(tiny.dino(), data_preprocessor=mean)
    wanted = tiny.build(base).data_preprocessor.mean
    assert torch.equal(tiny.build(tiny.sere(base)).data_preprocessor.mean, wanted)
    given = tiny.build(tiny.sere(base, data_preprocessor=other)).data_preprocessor.mean
    assert torch.equal(
        given, tiny.build(dict(base, data_preprocessor=other)).data_preprocessor.mean
    )
    assert not torch.equal(given, wanted)
    sit = dict(tiny.sit(), type="mmrel.SiT")
    built = tiny.build(tiny.sere(sit, local=False))
    assert type(built.data_preprocessor).__name__ == "CorruptingViewPreprocessor"


@pytest.mark.parametrize(
    ("config", "sizes"),
    [(tiny.dino(), (1, 3)), (tiny.ibot(), (1, 3)), (tiny.selfpatch(), (1, 3))],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_centers__unequal_micro_batches_are_one_batch(config: dict, sizes: tuple) -> None:
    """Of 4 images as 1 and 3, the centres are those of the 4 together."""
    whole, parts = tiny.build(config), tiny.build(config)
    views = tiny.view_batch(4)
    whole(views, mode="loss")
    first = 0
    for size in sizes:
        parts(tiny.images_of(views, slice(first, first + size)), mode="loss")
        first += size
    for model in (whole, parts):
        model.commit(0.9, TRUE)
    centers = {name: value for name, value in whole.named_buffers() if "center" in name}
    assert centers
    for name, value in centers.items():
        assert value.any()
        torch.testing.assert_close(parts.get_buffer(name), value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("config", [tiny.dino(), tiny.ibot(), tiny.selfpatch()])
def test_loss__without_local_crops(config: dict) -> None:
    model = tiny.build(config)
    losses = model(tiny.view_batch(num_local=0), mode="loss")
    total(losses).backward()
    model.commit(0.9, TRUE)
    assert all(torch.isfinite(value) for value in losses.values())
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("joint", [False, True])
def test_contrast__of_one_image_is_refused(joint: bool) -> None:
    """Without another image the loss would be 0 for any features."""
    config = tiny.mocov3()
    config["neck"]["joint_views"] = joint
    message = "no other image to tell it from" if joint else "batch norms of .* at least 2"
    with pytest.raises(ValueError, match=message):
        tiny.build(config)(tiny.view_batch(1, num_local=0), mode="loss")


def test_feature_std__of_one_image_is_0() -> None:
    assert feature_std(torch.randn(1, 5)) == 0
    features = torch.nn.functional.normalize(torch.randn(4, 5), dim=-1)
    torch.testing.assert_close(feature_std(features), features.std(dim=0).mean() * 5**0.5)


def test_loss_weight__of_0_trains_nothing() -> None:
    config = tiny.ibot()
    config["patch_head"]["loss_weight"] = 0.0
    model = tiny.build(config)
    losses = model(tiny.view_batch(), mode="loss")
    assert losses["loss_patch"] == 0
    plain = {k: v for k, v in losses.items() if k != "loss_patch"}
    (gradient,) = torch.autograd.grad(total(losses), model.backbone.cls_token, retain_graph=True)
    (wanted,) = torch.autograd.grad(total(plain), model.backbone.cls_token)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_commit__weights_in_half_precision_are_refused(dtype: torch.dtype) -> None:
    model = tiny.build(tiny.dino()).to(dtype)
    with pytest.raises(TypeError, match="momentum such as 0.9995 rounds to 1"):
        model.commit(0.9995, TRUE)


def test_sere__base_losses_are_the_scaled_base() -> None:
    base, model = tiny.build(tiny.ibot()), tiny.build(tiny.sere())
    base.load_state_dict(model.state_dict(), strict=False)
    views = tiny.view_batch()
    plain, added = base(views, mode="loss"), model(views, mode="loss")
    for key in ("loss_cls", "loss_patch"):
        torch.testing.assert_close(added[key], 1.65 * plain[key])
    assert set(added) - set(plain) >= {"loss_spatial", "loss_channel"}


def test_sere__zero_weights_build_no_heads() -> None:
    """``alpha = beta = 0``: twice the base, and no relation head is built."""
    model = tiny.build(tiny.sere(alpha=0, beta=0))
    assert set(model.neck) == {"projection"}
    assert {head.loss_weight for head in model.head.values()} == {2.0}
    assert set(tiny.build(tiny.sere(alpha=0)).neck) == {"projection", "channel_relation"}


def test_sere__two_views() -> None:
    model = tiny.build(tiny.sere(local=False))
    losses = model(tiny.view_batch(num_local=0), mode="loss")
    total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_extract_feat__is_the_teacher() -> None:
    model = tiny.build(tiny.dino())
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        model.backbone.ln1.bias.add_(1)
    assert torch.equal(model(images, mode="tensor"), model.teacher.backbone(images).cls)


def test_networks__teacher_first() -> None:
    model = tiny.build(tiny.dino())
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        model.backbone.ln1.bias.add_(1)
    assert list(model.networks) == ["teacher", "student"]
    assert torch.equal(
        model.extract_tokens(images, "student").class_token, model.backbone(images).cls
    )
    with pytest.raises(ValueError, match="network is 'momentum'.*'teacher' or 'student'"):
        model.extract_tokens(images, "momentum")


class MeanPatch(torch.nn.Module):
    """A neck and a head in one, for a method without teacher and without class token."""

    neck, needs, terms, loss_weight = "patches", frozenset(), ("loss_mean",), 2.0

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> torch.Tensor:
        return tokens.global_crops.patches.mean()

    def image_token(self, tokens: TokenViews) -> torch.Tensor:
        return tokens.patches.amax(dim=1)

    def forward(self, student: torch.Tensor, teacher: None, views: ViewBatch) -> dict:
        assert teacher is None
        return {"loss_mean": student, "stat/mean": student}


def test_self_supervised__without_a_teacher() -> None:
    part = MeanPatch()
    model = SelfSupervised(tiny.vit(with_cls_token=False), dict(patches=part), dict(mean=part))
    views = tiny.view_batch(num_local=0)
    corrupted = replace(views, corrupted_crops=torch.zeros_like(views.global_crops))
    losses = model(corrupted, mode="loss")
    torch.testing.assert_close(
        losses["loss_mean"], 2 * model.backbone(corrupted.corrupted_crops).patches.mean()
    )
    torch.testing.assert_close(losses["stat/mean"], losses["loss_mean"] / 2)
    images = torch.randn(2, 3, 16, 16)
    expected = model.backbone(images).patches.amax(dim=1)
    assert torch.equal(model(images, mode="tensor"), expected)
    with pytest.raises(ValueError, match="network is 'teacher'.*choose 'student'"):
        model.extract_tokens(images, "teacher")


def test_loss__errors() -> None:
    views = tiny.view_batch()
    with pytest.raises(ValueError, match=r"mmrel\.BlockMask"):
        tiny.build(tiny.ibot())(replace(views, masks=None), mode="loss")
    with pytest.raises(ValueError, match=r"mmrel\.MultiCrop"):
        tiny.build(tiny.sere())(replace(views, geometry=None), mode="loss")
    with pytest.raises(ValueError, match="build it with local=False"):
        tiny.build(tiny.sere())(tiny.view_batch(num_local=0), mode="loss")
    with pytest.raises(ValueError, match="build it with local=True"):
        tiny.build(tiny.sere(local=False))(views, mode="loss")
    with pytest.raises(TypeError, match="must be a ViewBatch, got Tensor"):
        tiny.build(tiny.dino())(views.global_crops, mode="loss")


def test_build__errors() -> None:
    config = tiny.dino()
    config["head"] = dict(config["head"], neck="projektion")
    with pytest.raises(
        ValueError, match=r"reads neck 'projektion', but the necks are \['projection'\]"
    ):
        MODELS.build(config)
    with pytest.raises(TypeError, match="SERE is carried by a student-teacher algorithm"):
        MODELS.build(tiny.sere(tiny.vit()))
    with pytest.raises(ValueError, match=r"num_heads is 5, which does not divide the width 12"):
        MODELS.build(tiny.sere(num_heads=5))
    with pytest.raises(ValueError, match="overlap_side"):
        MODELS.build(tiny.sere(overlap_side=1))
    with pytest.raises(ValueError, match="alpha is -1"):
        MODELS.build(tiny.sere(alpha=-1))
    with pytest.raises(
        KeyError, match=r"Did you mean mmrel\.DistillationHead\? Known: ChannelRelationHead, "
    ):
        MODELS.build({**tiny.dino(), "head": dict(type="mmrel.DistilationHead")})


@pytest.mark.parametrize("name", ["ibot", "sere-dino", "mocov3", "selfpatch"])
def test_loss__under_autocast_both_networks_read_one_rounded_copy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are those of a copy for each."""
    model = tiny.build(CONFIGS[name]).float()
    views = tiny.view_batch(num_local=3 if model.local_crops else 0)
    views = replace(
        views,
        global_crops=views.global_crops.float(),
        local_crops=None if views.local_crops is None else views.local_crops.float(),
    )
    read: list[torch.Tensor] = []
    for backbone in (model.backbone, model.teacher.backbone):
        backbone.patch_embed.register_forward_pre_hook(lambda module, args: read.append(args[0]))

    def losses() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            return model(views, mode="loss")

    once = losses()
    assert {crops.dtype for crops in read} == {torch.bfloat16}
    assert sum(crops is read[0] for crops in read) == 2
    monkeypatch.setattr(StudentTeacher, "_rounded", lambda self, views: views)
    twice = losses()
    assert all(torch.equal(once[term], twice[term]) for term in twice)
