"""Projection, centres and the two distillation losses, against worked examples and the slow forms."""

from dataclasses import replace

import pytest
import tiny
import torch
from reference import dino as reference

from mmrel.models.heads import DistillationHead, MaskedDistillationHead
from mmrel.models.heads.center import RunningCenter
from mmrel.models.necks.projection import PrototypeProjection
from mmrel.models.necks.prototype import PrototypeLayer
from mmrel.models.outputs import ProjectedTokens
from mmrel.structures import ViewBatch

TRUE, FALSE = torch.tensor(True), torch.tensor(False)


def batch_of(num_global: int, num_local: int, batch: int = 1, **kwargs: object) -> ViewBatch:
    crops = torch.zeros(num_global * batch, 3, 4, 4)
    return ViewBatch(crops, None, None, None, num_global, num_local, **kwargs)


def test_center__moves_after_commit() -> None:
    """DINO (arXiv 2104.14294), eq. 4."""
    center = RunningCenter(2)
    for rows, expected in (([[1, 2], [3, 4]], [0.2, 0.3]), ([[0, 1], [2, 1]], [0.28, 0.37])):
        center.accumulate(torch.tensor(rows, dtype=torch.float).mean(0, keepdim=True))
        center.commit(TRUE)
        assert center.value[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_center__failed_step_changes_nothing() -> None:
    center = RunningCenter(2)
    center.accumulate(torch.tensor([[1.0, float("nan")]]))
    center.commit(FALSE)
    assert center.value.tolist() == [[0, 0]]
    center.accumulate(torch.tensor([[1.0, 1.0]]))
    center.commit(TRUE)
    assert center.value[0].tolist() == pytest.approx([0.1, 0.1])


def test_center__micro_batches_are_one_batch() -> None:
    rows = torch.randn(6, 4)
    whole, parts = RunningCenter(4), RunningCenter(4)
    whole.accumulate(rows.mean(0, keepdim=True))
    for chunk in rows.split(2):
        parts.accumulate(chunk.mean(0, keepdim=True))
    whole.commit(TRUE)
    parts.commit(TRUE)
    torch.testing.assert_close(whole.value, parts.value)


def test_center__weighs_micro_batches_by_their_rows() -> None:
    """Three rows of 2 and one row of 4 have the mean 2.5, not 3; equal batches are bitwise the plain mean."""
    center = RunningCenter(1, momentum=0.0)
    center.accumulate(torch.tensor([[2.0]]), rows=3)
    center.accumulate(torch.tensor([[4.0]]), rows=1)
    center.commit(TRUE)
    assert center.value.item() == 2.5
    means = torch.randn(3, 1, 50)
    center = RunningCenter(50)
    for mean in means:
        center.accumulate(mean, rows=7)
    center.commit(TRUE)
    assert torch.equal(center.value, 0.9 * torch.zeros(1, 50) + (1 - 0.9) * means.mean(0))


def test_center__evaluation_feeds_nothing() -> None:
    center = RunningCenter(1).eval()
    center.accumulate(torch.ones(1, 1))
    center.train()
    with torch.no_grad():
        center.accumulate(torch.ones(1, 1))
    center.commit(TRUE)
    assert center.value.item() == 0


def test_cls_loss__worked_example() -> None:
    """DINO (arXiv 2104.14294), eq. 3 and 4: loss, and the centre after the step."""
    head = DistillationHead(3, student_temperature=0.1, teacher_temperature=0.04)
    head.center.value.fill_(0.1)
    teacher = torch.tensor([[0.5, 0.2, -0.1], [0.1, 0.6, 0]])
    student = torch.tensor([[0.4, 0.1, 0], [0.2, 0.5, -0.2], [0.3, 0.3, 0.1]])
    losses = head(ProjectedTokens(student), ProjectedTokens(teacher), batch_of(2, 1))
    assert float(losses["loss_cls"]) == pytest.approx(1.907730, abs=2e-6)
    head.commit(TRUE)
    assert head.center.value[0].tolist() == pytest.approx([0.12, 0.13, 0.085], abs=1e-6)


@pytest.mark.parametrize(("num_local", "num_terms"), [(8, 18), (10, 22), (0, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cls_loss__equals_pairwise_form(num_local: int, num_terms: int, dtype: torch.dtype) -> None:
    """The number of terms (DINO, eq. 3), and the merged-teacher identity, gradients included."""
    generator = torch.Generator().manual_seed(1)
    batch, channels = 3, 5
    student = torch.randn((2 + num_local) * batch, channels, generator=generator, dtype=dtype)
    teacher = torch.randn(2 * batch, channels, generator=generator, dtype=dtype) * 0.1
    head = DistillationHead(channels).to(dtype)
    head.center.value.normal_(std=0.1)
    fast_in, slow_in = student.clone().requires_grad_(), student.clone().requires_grad_()
    fast = head(ProjectedTokens(fast_in), ProjectedTokens(teacher), batch_of(2, num_local, batch))[
        "loss_cls"
    ]
    slow, count = reference.cls_loss(slow_in, teacher, head.center.value[0], batch, 0.1, 0.04)
    assert count == num_terms
    tolerance = (
        dict(rtol=1e-10, atol=1e-12) if dtype == torch.float64 else dict(rtol=1e-5, atol=1e-6)
    )
    torch.testing.assert_close(fast, slow, **tolerance)
    fast.backward()
    slow.backward()
    torch.testing.assert_close(fast_in.grad, slow_in.grad, **tolerance)


def test_cls_loss__collapse_signs() -> None:
    head = DistillationHead(4)
    uniform = head(
        ProjectedTokens(torch.zeros(4, 4)), ProjectedTokens(torch.zeros(4, 4)), batch_of(2, 0, 2)
    )
    assert float(uniform["stat/teacher_entropy"]) == pytest.approx(1.386294, abs=1e-5)
    assert float(uniform["stat/teacher_kl_uniform"]) == pytest.approx(0, abs=1e-5)
    one = torch.zeros(4, 4)
    one[:, 2] = 9.0
    single = head(ProjectedTokens(one), ProjectedTokens(one), batch_of(2, 0, 2))
    assert float(single["stat/teacher_entropy"]) == pytest.approx(0, abs=1e-5)
    assert float(single["stat/teacher_kl_uniform"]) == pytest.approx(1.386294, abs=1e-5)


I1_TEACHER = torch.tensor(
    [[[1, 0], [0, 1], [0.5, 0.5], [1, 1]], [[0, 1], [1, 0], [0.2, 0.8], [0, 0]]]
)
I1_STUDENT = torch.tensor(
    [[[0.9, 0.1], [0.3, 0.4], [0.5, 0.1], [0, 1]], [[0.1, 0.2], [0.4, 0.1], [0.6, 0.6], [0.3, 0]]]
)
I1_MASKS = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)


def masked_inputs(masks: torch.Tensor) -> tuple[ProjectedTokens, ProjectedTokens, ViewBatch]:
    indices = masks.flatten().nonzero().squeeze(1)
    weights = (1 / masks.sum(1).clamp(min=1)).repeat_interleave(masks.shape[1])[indices]
    student = I1_STUDENT.flatten(0, 1)[indices]
    teacher = I1_TEACHER.flatten(0, 1)
    views = batch_of(2, 0, mask_indices=indices, mask_weights=weights)
    return (
        ProjectedTokens(torch.zeros(2, 2), student),
        ProjectedTokens(torch.zeros(2, 2), teacher[indices], teacher.mean(0, keepdim=True)),
        views,
    )


def test_patch_loss__worked_example() -> None:
    """iBOT (arXiv 2111.07832), eq. 2: loss and centre; the centre does not depend on the mask."""
    for masks, expected in ((I1_MASKS, 0.123824), (torch.zeros_like(I1_MASKS), 0.0)):
        head = MaskedDistillationHead(2, student_temperature=0.1, teacher_temperature=0.05)
        head.center.value.copy_(torch.tensor([[0.1, 0.2]]))
        loss = head(*masked_inputs(masks))["loss_patch"]
        assert float(loss) == pytest.approx(expected, abs=1e-6)
        head.commit(TRUE)
        assert head.center.value[0].tolist() == pytest.approx([0.13625, 0.23375], abs=1e-6)


@pytest.mark.parametrize("masks", [I1_MASKS, [[1, 1, 1, 0], [0, 0, 0, 1]]])
def test_patch_loss__equals_slow_form(masks: torch.Tensor | list) -> None:
    """The second masks differ in number between the crops: each crop counts alike, not each patch."""
    masks = torch.as_tensor(masks, dtype=torch.bool)
    head = MaskedDistillationHead(2, teacher_temperature=0.05).double()
    student, teacher, views = masked_inputs(masks)
    double = replace(views, mask_weights=views.mask_weights.double())
    fast = head(
        replace(student, patches=student.patches.double()),
        replace(teacher, patches=teacher.patches.double(), patch_mean=teacher.patch_mean.double()),
        double,
    )["loss_patch"]
    center = torch.zeros(2, dtype=torch.float64)
    slow = reference.patch_loss(I1_STUDENT.double(), I1_TEACHER.double(), masks, center, 0.1, 0.05)
    torch.testing.assert_close(fast, slow, rtol=1e-7, atol=0)


def test_prototype_layer__weight_norm() -> None:
    """``g * <x, v / |v|>``, with the names of torch's weight_norm (DINOHead in DINO's vision_transformer.py)."""
    layer = PrototypeLayer(2, 3, frozen_norm=True)
    layer.weight_v.data = torch.tensor([[2.0, 0], [1, 1], [-3, 4]])
    logits = layer(torch.nn.functional.normalize(torch.tensor([3.0, 4.0]), dim=0))
    assert logits.tolist() == pytest.approx([0.6, 0.989949, 0.28], abs=1e-6)
    assert not layer.weight_g.requires_grad and layer.weight_g.shape == (3, 1)


def test_prototype_layer__initialisation() -> None:
    layer = PrototypeLayer(256, 512, frozen_norm=False)
    assert float(layer.weight_v.abs().max()) <= 1 / 16
    assert float(layer.weight_v.std()) == pytest.approx(1 / 16 / 3**0.5, rel=0.02)
    assert layer.weight_g.requires_grad and bool((layer.weight_g == 1).all())


@pytest.mark.parametrize("patch_prototypes", [None, 5])
def test_projection__equals_all_tokens_then_select(patch_prototypes: int | None) -> None:
    """Only useful tokens are projected, and the mean comes from the mean bottleneck: the same numbers."""
    torch.manual_seed(0)
    config = tiny.projection(7, patches=True, patch_out_channels=patch_prototypes)
    config.pop("type")
    neck = PrototypeProjection(**config).double()
    neck.init_weights()
    model = tiny.build(tiny.ibot()).double()
    views = tiny.view_batch(dtype=torch.float64)
    tokens = model._student_tokens(views)
    layer = neck.last_layer2 or neck.last_layer
    bottleneck = neck.bottleneck(tokens.global_crops.patches.flatten(0, 1))
    every = layer(bottleneck)
    student, teacher = neck.student(tokens, views), neck.teacher(tokens, views)
    exact = dict(rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(student.patches, every[views.mask_indices], **exact)
    torch.testing.assert_close(teacher.patches, every[views.mask_indices], **exact)
    torch.testing.assert_close(teacher.patch_mean, every.mean(0, keepdim=True), **exact)
    assert student.cls.shape == (10, 7) and teacher.cls.shape == (4, 7)


def test_projection__shared_prototypes() -> None:
    """``shared_head`` of iBOT's public code (main_ibot.py)."""
    shared = PrototypeProjection(8, 8192, patches=True, norm_last_layer=False)
    unshared = PrototypeProjection(
        8, 8192, patches=True, patch_out_channels=8192, norm_last_layer=False
    )
    counts = [sum(p.numel() for p in neck.parameters()) for neck in (shared, unshared)]
    assert counts[1] - counts[0] == 256 * 8192 + 8192
    assert shared._patch_layer is shared.last_layer


@pytest.mark.parametrize("head", [DistillationHead, MaskedDistillationHead])
def test_head__bad_temperatures(head: type) -> None:
    with pytest.raises(ValueError, match="student_temperature is 0; it must be greater than 0"):
        head(4, student_temperature=0)
    with pytest.raises(ValueError, match=r"start=-0\.1"):
        head(4, teacher_temperature=-0.1)


def test_head__temperature_follows_epochs() -> None:
    """``teacher_temp_schedule`` of DINO's public code (DINOLoss in main_dino.py)."""
    head = DistillationHead(4, teacher_temperature=dict(start=0.04, end=0.07, warmup_epochs=30))
    for epoch, expected in {
        0: 0.04,
        1: 0.041034,
        15: 0.055517,
        29: 0.07,
        30: 0.07,
        99: 0.07,
    }.items():
        head.set_epoch(epoch)
        assert head.teacher_temperature.value == pytest.approx(expected, abs=1e-6)
