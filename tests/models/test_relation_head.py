"""SERE's neck and heads (arXiv 2206.05184): worked examples, gradients, the slow forms over all pairs, bad input."""

from typing import Any

import pytest
import tiny
import torch
from reference import relation as reference
from torch import Tensor, nn

from mmrel.models.heads import ChannelRelationHead, SpatialRelationHead
from mmrel.models.layers import SyncBatchNorm
from mmrel.models.necks.self_relation import SelfRelation
from mmrel.models.outputs import RelationTokens
from mmrel.ops.attention_kernels import forced_kernels
from mmrel.registry import MODELS
from mmrel.structures import Geometry, NetworkTokens, TokenViews, ViewBatch

GRIDS = (3, 4), (2, 2)
BN = dict(type="BN")


def token_views(count: int, grid: tuple[int, int], channels: int, seed: int = 0) -> TokenViews:
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, 1 + grid[0] * grid[1], channels, generator=rng)
    normed = torch.full_like(tokens, torch.nan)
    return TokenViews(normed[:, 0], normed[:, 1:], tokens[:, 1:], grid)


def view_batch(num_global: int, num_local: int, batch: int, seed: int = 0) -> ViewBatch:
    rng = torch.Generator().manual_seed(seed)
    views = num_global + num_local
    corner = torch.rand(batch, views, 2, generator=rng, dtype=torch.float64) * 40
    size = torch.rand(batch, views, 2, generator=rng, dtype=torch.float64) * 30 + 20
    flip = torch.randint(0, 2, (batch, views, 1), generator=rng).double()
    geometry = Geometry(torch.cat([corner, size, flip], dim=-1), num_global)
    crops = torch.zeros(num_global * batch, 3, 2, 2)
    return ViewBatch(crops, None, geometry, None, num_global, num_local)


def relation_tokens(
    num_global: int, num_local: int, batch: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> RelationTokens:
    rng = torch.Generator().manual_seed(seed)
    counts = [n * batch for n in (num_global, num_local)]
    tokens = [
        torch.randn(n, g[0] * g[1], 4, generator=rng, dtype=torch.float64).relu().to(dtype)
        for n, g in zip(counts, GRIDS, strict=True)
    ]
    for t in tokens:
        t.requires_grad_()
    if not num_local:
        return RelationTokens(tokens[0], GRIDS[0])
    return RelationTokens(tokens[0], GRIDS[0], tokens[1], GRIDS[1])


def heads(sides: tuple[int, int] = (3, 2)) -> tuple[SpatialRelationHead, ChannelRelationHead]:
    return SpatialRelationHead(2, *sides), ChannelRelationHead()


def leaves(tokens: RelationTokens) -> list[Tensor]:
    return [t for t in (tokens.global_tokens, tokens.local_tokens) if t is not None]


def reference_losses(
    student: RelationTokens, teacher: RelationTokens, views: ViewBatch, sides: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    student_views = list(student.global_tokens.chunk(views.num_global))
    if student.local_tokens is not None:
        student_views += student.local_tokens.chunk(views.num_local)
    teacher_views = list(teacher.global_tokens.chunk(views.num_global))
    boxes = views.geometry.boxes
    return reference.multi_view_losses(student_views, teacher_views, boxes, 2, GRIDS, sides)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("counts", [(2, 0), (2, 3), (3, 1)])
def test_relation_heads__equal_reference(
    dtype: torch.dtype, tolerance: float, counts: tuple[int, int]
) -> None:
    """Every (teacher view, student view) pair, losses and gradients."""
    views = view_batch(*counts, batch=2)
    results = []
    for kind in (dtype, torch.float64):
        student = relation_tokens(*counts, 2, kind)
        teacher = relation_tokens(counts[0], 0, 2, kind, seed=1)
        if not results:
            losses = [
                next(v for k, v in head(student, teacher, views).items() if "loss" in k)
                for head in heads()
            ]
        else:
            losses = reference_losses(student, teacher, views, (3, 2))
        gradients = [g for loss in losses for g in torch.autograd.grad(loss, leaves(student))]
        results.append([*losses, *gradients])
    for fast, slow in zip(*results, strict=True):
        assert (fast.double() - slow).norm() <= tolerance * slow.norm()


@pytest.mark.parametrize("counts", [(2, 0), (2, 3), (3, 1)])
def test_relation_heads__attention_kernels(counts: tuple[int, int]) -> None:
    """As a GPU computes them under autocast: tokens sampled by products, maps never written."""
    views = view_batch(*counts, batch=2)
    student, teacher = relation_tokens(*counts, 2), relation_tokens(counts[0], 0, 2, seed=1)
    with forced_kernels(torch.float64):
        results = [head(student, teacher, views) for head in heads()]
    fast = results[0]["loss_spatial"], results[1]["loss_channel"]
    slow = reference_losses(student, teacher, views, (3, 2))
    rate = heads()[0](student, teacher, views)["stat/overlap_rate"]
    assert torch.equal(results[0]["stat/overlap_rate"], rate)
    for found, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        gradients = (torch.autograd.grad(x, leaves(student)) for x in (found, expected))
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("forced", [None, torch.float32], ids=["plain", "kernels"])
def test_relation_heads__one_graph(
    forced: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler traces losses and gradients without a break."""
    monkeypatch.setattr("mmrel.ops.attention_kernels._forced", forced)
    views = view_batch(2, 2, batch=1)
    teacher = relation_tokens(2, 0, 1, torch.float32, seed=1)
    spatial, channel = heads()

    def losses(global_tokens: Tensor, local_tokens: Tensor) -> Tensor:
        student = RelationTokens(global_tokens, GRIDS[0], local_tokens, GRIDS[1])
        results = {**spatial(student, teacher, views), **channel(student, teacher, views)}
        return results["loss_spatial"] + results["loss_channel"]

    explained = torch._dynamo.explain(losses)(*leaves(relation_tokens(2, 2, 1, torch.float32)))
    assert explained.graph_break_count == 0 and explained.graph_count == 1


def test_spatial_head__average_over_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 global terms of 4 and 20 local terms of 3 average to 3.090909."""

    def loss(student: Tensor, *_: Any) -> Tensor:
        return student.new_tensor(4.0 if student.shape[1] == 9 else 3.0)

    monkeypatch.setattr("mmrel.models.heads.relation.matched_spatial_loss", loss)
    student, teacher = relation_tokens(2, 10, 1), relation_tokens(2, 0, 1)
    result = heads()[0](student, teacher, view_batch(2, 10, 1))
    assert result["loss_spatial"].item() == pytest.approx(3.090909, abs=1e-6)


def test_spatial_head__overlap_rate() -> None:
    views = view_batch(2, 2, 1)
    boxes = torch.tensor(
        [[[0, 0, 9, 9, 0], [4, 4, 9, 9, 1], [0, 0, 4, 4, 0], [20, 20, 4, 4, 0]]],
        dtype=torch.float64,
    )
    views = ViewBatch(views.global_crops, None, Geometry(boxes, 2), None, 2, 2)
    result = heads()[0](relation_tokens(2, 2, 1), relation_tokens(2, 0, 1), views)
    assert result["stat/overlap_rate"].item() == pytest.approx(3 / 6)
    assert not result["stat/overlap_rate"].requires_grad


def test_spatial_head__no_overlap_keeps_the_constant() -> None:
    views = view_batch(2, 0, 1)
    boxes = torch.tensor([[[0.0, 0, 9, 9, 0], [50, 50, 9, 9, 0]]])
    views = ViewBatch(views.global_crops, None, Geometry(boxes, 2), None, 2, 0)
    student = relation_tokens(2, 0, 1, torch.float32)
    result = SpatialRelationHead(2)(student, relation_tokens(2, 0, 1, torch.float32), views)
    assert result["loss_spatial"].item() == pytest.approx(5.129899, abs=1e-5)
    result["loss_spatial"].backward()
    assert not student.global_tokens.grad.any()


def test_relation_heads__float32_under_autocast() -> None:
    views = view_batch(2, 3, 2)
    student, teacher = (
        relation_tokens(2, 3, 2, torch.bfloat16),
        relation_tokens(2, 0, 2, torch.bfloat16),
    )
    exact = [{k: v.item() for k, v in head(student, teacher, views).items()} for head in heads()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = [head(student, teacher, views) for head in heads()]
    for values, expected in zip(mixed, exact, strict=True):
        for name, value in values.items():
            assert value.dtype == torch.float32 and value.item() == pytest.approx(expected[name])


def test_self_relation__batch_norm_and_relu() -> None:
    """Batch norm and ReLU of one channel."""
    neck = SelfRelation(1, local=False, norm_cfg=BN)
    tokens = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1)
    views = TokenViews(tokens[:, 0], tokens, tokens, (2, 2))
    projected = neck.teacher(NetworkTokens(views), view_batch(1, 0, 1)).global_tokens
    assert projected.flatten().tolist() == pytest.approx([0, 0, 0.447212, 1.341635], abs=1e-6)
    norm = neck.projection[0]
    assert norm.running_mean.item() == pytest.approx(0.25)
    assert norm.running_var.item() == pytest.approx(1.066667, abs=1e-6)


def test_self_relation__equals_its_layers() -> None:
    """Prediction of the student, projection of the teacher, local crops through their own parts."""
    torch.manual_seed(0)
    neck = SelfRelation(6, norm_cfg=BN)
    tokens = NetworkTokens(token_views(4, (3, 4), 6), token_views(6, (2, 2), 6, seed=1))
    views = view_batch(2, 3, 2)
    student, teacher = neck.student(tokens, views), neck.teacher(tokens, views)

    def maps(part: TokenViews) -> Tensor:
        return part.prenorm_patches.transpose(1, 2).reshape(-1, 6, *part.grid)

    def tokens_of(x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)

    projected = neck.projection(maps(tokens.global_crops))
    local = neck.local_predictor(neck.local_projection(maps(tokens.local_crops)))
    torch.testing.assert_close(teacher.global_tokens, tokens_of(projected))
    torch.testing.assert_close(student.global_tokens, tokens_of(neck.predictor(projected)))
    torch.testing.assert_close(student.local_tokens, tokens_of(local))
    assert (student.global_grid, student.local_grid) == GRIDS and teacher.local_tokens is None
    assert student.global_tokens.is_contiguous() and student.local_tokens.is_contiguous()
    with pytest.raises(ValueError, match="build it with local=False"):
        neck.student(NetworkTokens(tokens.global_crops), view_batch(2, 0, 2))
    two_views = SelfRelation(6, local=False, norm_cfg=BN)
    alone = NetworkTokens(tokens.global_crops)
    assert two_views.student(alone, view_batch(2, 0, 2)).local_tokens is None


def test_self_relation__names_and_initialisation() -> None:
    torch.manual_seed(0)
    neck = SelfRelation(400)
    before = neck.predictor[0].weight.detach().clone()
    neck.init_weights()
    assert torch.equal(neck.predictor[0].weight, before)
    assert before.abs().max() <= 0.05 and before.std() == pytest.approx(0.05 / 3**0.5, rel=0.01)
    assert all(isinstance(part[-2], SyncBatchNorm) for part in neck.children())
    for norm in (neck.projection[0], neck.local_predictor[1]):
        assert (norm.weight == 1).all() and (norm.bias == 0).all() and norm.eps == 1e-5
    parts = {name.split(".")[0] for name in neck.state_dict()}
    assert parts == {"projection", "predictor", "local_projection", "local_predictor"}
    assert len(neck.state_dict()) == 22
    without_local = {name.split(".")[0] for name in SelfRelation(4, local=False).state_dict()}
    assert without_local == {"projection", "predictor"}


def test_self_relation__teacher_copy() -> None:
    neck = SelfRelation(4, norm_cfg=BN)
    teacher = neck.teacher_copy()
    names = dict(teacher.named_parameters())
    assert set(names) == {"projection.0.weight", "projection.0.bias"} <= set(neck.state_dict())
    assert names["projection.0.weight"].data_ptr() != neck.projection[0].weight.data_ptr()
    tokens = NetworkTokens(token_views(2, (3, 4), 4))
    views = view_batch(2, 0, 1)
    torch.testing.assert_close(
        teacher.teacher(tokens, views).global_tokens, neck.teacher(tokens, views).global_tokens
    )


def test_sere__gradient_paths() -> None:
    """No gradient in the teacher; one in every part of the relation necks and in the backbone."""
    model = tiny.build(tiny.sere())
    results = model(tiny.view_batch(), mode="loss")
    (results["loss_spatial"] + results["loss_channel"]).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    for kind in ("spatial_relation", "channel_relation"):
        for name, parameter in model.neck[kind].named_parameters():
            assert parameter.grad is not None and parameter.grad.any(), name
    assert model.backbone.layers[0].attn.qkv.weight.grad.any()
    assert all(p.grad is None for p in model.neck["projection"].parameters())
    assert 0 < results["stat/overlap_rate"] <= 1


def test_sere__sanity_values() -> None:
    """At random initialisation the losses lie below their uniform values."""
    results = tiny.build(tiny.sere())(tiny.view_batch(), mode="loss")
    assert 0 < results["loss_spatial"] / 0.2 < torch.tensor(9.0).log() + 0.1
    assert 0 < results["loss_channel"] / 0.5 < torch.tensor(float(tiny.WIDTH)).log() + 0.1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (dict(type="mmrel.SpatialRelationHead", num_heads=2, overlap_side=1), "overlap_side is 1"),
        (
            dict(type="mmrel.SpatialRelationHead", num_heads=2, local_overlap_side=0),
            "local_overlap_side is 0",
        ),
        (
            dict(type="mmrel.SpatialRelationHead", num_heads=2, teacher_temperature=0),
            "teacher_temperature is 0.*greater than 0",
        ),
        (
            dict(type="mmrel.ChannelRelationHead", student_temperature=-0.5),
            "student_temperature is -0.5",
        ),
    ],
)
def test_relation_heads__bad_settings(config: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MODELS.build(config)


def test_relation_heads__bad_batches() -> None:
    student, teacher = relation_tokens(2, 3, 2), relation_tokens(2, 0, 2)
    views = view_batch(2, 3, 2)
    with pytest.raises(ValueError, match="num_heads is 3"):
        SpatialRelationHead(3)(student, teacher, views)
    without_boxes = ViewBatch(views.global_crops, None, None, None, 2, 3)
    with pytest.raises(ValueError, match=r"no boxes.*MultiCrop"):
        heads()[0](student, teacher, without_boxes)
    for head in heads():
        with pytest.raises(ValueError, match="1 global view"):
            head(student, teacher, view_batch(1, 3, 2))
        with pytest.raises(ValueError, match="local=True"):
            head(relation_tokens(2, 0, 2), teacher, views)
    tokens = NetworkTokens(token_views(4, (3, 4), 4), token_views(6, (2, 2), 4))
    with pytest.raises(ValueError, match=r"3 local crops.*local=False"):
        SelfRelation(4, local=False, norm_cfg=BN).student(tokens, views)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_relation_heads__no_host_synchronisation(autocast: bool) -> None:
    views = view_batch(2, 3, 2)
    views = ViewBatch(
        views.global_crops, None, Geometry(views.geometry.boxes.cuda().float(), 2), None, 2, 3
    )
    student, teacher = (
        RelationTokens(
            *(t.detach().float().cuda() if isinstance(t, Tensor) else t for t in vars(x).values())
        )
        for x in (relation_tokens(2, 3, 2), relation_tokens(2, 0, 2))
    )
    for tokens in leaves(student):
        tokens.requires_grad_()

    def step(head: nn.Module) -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
            results = head(student, teacher, views)
        sum(v for k, v in results.items() if "loss" in k).backward()

    for head in heads():
        step(head)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for head in heads():
            step(head)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_maps__one_copy_for_both_necks_and_never_one_without_gradients() -> None:
    views = token_views(2, (3, 4), 6)
    views.prenorm_patches.requires_grad_()
    with torch.no_grad():
        assert not views.prenorm_maps.requires_grad
    maps = views.prenorm_maps
    assert maps.requires_grad and views.prenorm_maps is maps
    assert torch.equal(maps, views.prenorm_patches.transpose(1, 2).reshape(2, 6, 3, 4))
