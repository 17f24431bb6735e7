"""SelfPatch (arXiv 2206.07990, section 3): worked examples, slow forms, gradients, frozen layers, bad input."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch
from reference import selfpatch as reference
from torch import Tensor, nn

from mmrel.engine.hooks import LastLayerFreezeHook
from mmrel.models.backbones import ViT
from mmrel.models.heads import DistillationHead, PatchDistillationHead
from mmrel.models.necks import NeighbourAggregation
from mmrel.models.necks.class_attention import Aggregator, ClassAttention
from mmrel.models.outputs import AggregatedTokens, PatchLogits
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

TRUE = torch.tensor(True)
TOLERANCES = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
WIDTH, HEADS, GRIDS = 12, 2, ((4, 5), (3, 3))


def total(losses: dict) -> Tensor:
    return sum(value for key, value in losses.items() if "loss" in key)


def batch_of(num_local: int, batch: int = 1) -> ViewBatch:
    return ViewBatch(torch.zeros(2 * batch, 3, 4, 4), None, None, None, 2, num_local)


def group(tokens: Tensor, grid: tuple[int, int]) -> TokenViews:
    return TokenViews(None, tokens, tokens, grid)


def random_tokens(num_local: int, batch: int, dtype: torch.dtype, seed: int) -> list[Tensor]:
    """Raw tokens of the global crops (4 x 5 patches) and of the local ones (3 x 3)."""
    rng = torch.Generator().manual_seed(seed)
    shapes = [(2 * batch, 20, WIDTH), (num_local * batch, 9, WIDTH)]
    return [torch.randn(s, generator=rng, dtype=torch.float64).to(dtype) for s in shapes if s[0]]


def network_tokens(groups: list[Tensor]) -> NetworkTokens:
    return NetworkTokens(*(group(t, grid) for t, grid in zip(groups, GRIDS, strict=False)))


def crops_of(groups: list[Tensor]) -> list[tuple[Tensor, tuple[int, int]]]:
    return [(crop, grid) for t, grid in zip(groups, GRIDS, strict=False) for crop in t]


def neck(seed: int, dtype: torch.dtype = torch.float64, **kwargs: object) -> NeighbourAggregation:
    """A small neck whose every parameter matters."""
    torch.manual_seed(seed)
    config = tiny.selfpatch(norm_last_layer=False, **kwargs)["neck"]
    built = MODELS.build(config).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return built.to(dtype)


def dense(logits: PatchLogits) -> Tensor:
    return logits.features @ logits.prototypes.T


def factors(logits: list, batch: int = 1) -> AggregatedTokens:
    """Patch logits ``[view][patch][prototype]`` of one image as what a neck gives."""
    flat = torch.cat([torch.tensor(view, dtype=torch.float64) for view in logits])
    eye = torch.eye(flat.shape[1], dtype=torch.float64)
    counts = tuple(len(view) for view in logits)
    return AggregatedTokens(torch.zeros(len(logits), 2), PatchLogits(flat, eye, counts))


def close(actual: Tensor, expected: Tensor, tolerance: float, name: str = "") -> None:
    difference = float((actual - expected).detach().norm())
    # The keys' bias shifts all scores of a query alike: its gradient is 0 but for rounding.
    scale = 1.0 if name.endswith("attn.k.bias") else float(expected.detach().norm())
    assert difference < tolerance * scale, (name, difference, scale)


def toy_aggregator() -> Aggregator:
    """Width 4, one head, all matrices identities, a hidden layer of 4 stacked identities and their mean."""
    aggregator = Aggregator(4, 1).double()
    eye = torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        aggregator.cls_token.copy_(torch.tensor([[[0.1, -0.2, 0.3, 0]]]))
        for module in aggregator.modules():
            if isinstance(module, nn.Linear):
                module.bias.zero_()
                rows, columns = module.weight.shape
                module.weight.copy_(eye.repeat(rows // 4, columns // 4) / (columns // 4))
    return aggregator


TOY_PATCHES = torch.tensor(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.float64
)
TOY_ATTENTION = [
    [0.599240, 0.111718, 0.016354, 0.245944, 0.026745],
    [0.596293, 0.080462, 0.019173, 0.280887, 0.023185],
]
TOY_QUERIES = [
    [0.345933, -1.391017, 2.500539, -0.057419],
    [0.185231, -2.532132, 5.043385, -0.106888],
]
TOY_NORMED = [-0.168154, -1.156831, 1.599422, -0.274438]


def test_class_attention__worked_example() -> None:
    aggregator = toy_aggregator()
    parts = aggregator.state_dict()
    query, everyone = aggregator.cls_token[0], torch.arange(4)[None]
    for i, block in enumerate(aggregator.blocks):
        weights = reference.attention(query[0], TOY_PATCHES, parts, f"blocks.{i}", 1)
        assert weights[0].tolist() == pytest.approx(TOY_ATTENTION[i], abs=1e-6)
        selected = block.over_selected(query, TOY_PATCHES, everyone)
        query = block.over_all(query, TOY_PATCHES[None])
        assert query[0].tolist() == pytest.approx(TOY_QUERIES[i], abs=1e-6)
        assert selected[0].tolist() == pytest.approx(TOY_QUERIES[i], abs=1e-6)
    image = aggregator.norm(aggregator.over_crops(TOY_PATCHES[None]))
    assert image[0].tolist() == pytest.approx(TOY_NORMED, abs=1e-6)


def test_aggregation__order_of_neighbours_does_not_matter() -> None:
    """A selection that holds all patches of a crop gives the summary of the crop, in any order."""
    aggregator = neck(0).aggregator
    tokens = random_tokens(0, 1, torch.float64, 0)[0]
    order = torch.stack([torch.randperm(20) for _ in range(40)]).view(2, 20, 20)
    everything = aggregator.over_neighbours(tokens, order)
    image = aggregator.over_crops(tokens)
    torch.testing.assert_close(everything, image[:, None].expand_as(everything), rtol=1e-10, atol=0)
    few = aggregator.over_neighbours(tokens, order[..., :4])
    torch.testing.assert_close(
        aggregator.over_neighbours(tokens, order[..., [2, 0, 3, 1]]), few, rtol=1e-10, atol=1e-12
    )
    assert not torch.allclose(few, everything, atol=0.1)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("small_pieces", [False, True])
def test_neck__equals_slow_form(
    dtype: torch.dtype, tolerance: float, small_pieces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both networks, with the gradients of every parameter and token; the teacher's too, though it uses none."""
    if small_pieces:
        monkeypatch.setattr("mmrel.ops.pieces.ENTRIES_PER_THREAD", 1)
    views = batch_of(num_local=2, batch=2)
    for k in (None, 4):
        built = neck(1, dtype, k=k or 4)
        groups = [t.requires_grad_() for t in random_tokens(2, 2, dtype, 2)]
        parts = dict(built.named_parameters())
        cls, patches = reference.network(crops_of(groups), parts, HEADS, k)
        run = built.student if k is None else built.teacher
        out = run(network_tokens(groups), views)
        close(out.cls, cls if k is None else cls[:4], tolerance)
        close(dense(out.patches), torch.cat(patches), tolerance)
        assert out.patches.counts == (20, 20, 9, 9)
        if k is not None:
            close(out.cls_mean, cls.mean(0, keepdim=True), tolerance)
        leaves = [*groups, *parts.values()]
        fast = torch.autograd.grad(squares(out.cls[:4], dense(out.patches)), leaves)
        slow = torch.autograd.grad(squares(cls[:4], torch.cat(patches)), leaves)
        for name, a, b in zip(["global", "local", *parts], fast, slow, strict=True):
            close(a, b, tolerance, name)


def squares(cls: Tensor, patches: Tensor) -> Tensor:
    return cls.square().mean() + patches.square().mean()


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_losses__equal_slow_form(dtype: torch.dtype, tolerance: float) -> None:
    """The sum of everything: 18 class terms, 10 patch terms, both centres, all gradients."""
    batch, num_local = 2, 8
    views = batch_of(num_local, batch)
    student, teacher = neck(3, dtype), neck(4, dtype)
    own = [t.requires_grad_() for t in random_tokens(num_local, batch, dtype, 5)]
    other = random_tokens(num_local, batch, dtype, 6)
    heads = DistillationHead(7).to(dtype), PatchDistillationHead(5).to(dtype)
    centers = [torch.randn_like(head.center.value) * 0.1 for head in heads]
    for head, center in zip(heads, centers, strict=True):
        head.center.value.copy_(center)
    with torch.no_grad():
        targets = teacher.teacher(network_tokens(other), views)
        slow_targets = reference.network(
            crops_of(other), dict(teacher.named_parameters()), HEADS, 4
        )
    out = student.student(network_tokens(own), views)
    cls = heads[0](out, targets, views)["loss_cls"]
    patch = heads[1](out, targets, views)["loss_patch"]

    parts = dict(student.named_parameters())
    slow = reference.network(crops_of(own), parts, HEADS, None)
    slow_cls, cls_terms = reference.cls_loss(
        slow[0], slow_targets[0][: 2 * batch], centers[0][0], batch, 0.1, 0.04
    )
    slow_patch, patch_terms = reference.patch_loss(
        slow[1], slow_targets[1], centers[1][0], batch, 0.1, 0.04
    )
    assert (cls_terms, patch_terms) == (18, 10)
    close(cls, slow_cls, tolerance)
    close(patch, slow_patch, tolerance)
    means = slow_targets[0].mean(0), torch.cat(slow_targets[1]).mean(0)
    for head, center, mean in zip(heads, centers, means, strict=True):
        head.commit(TRUE)
        close(head.center.value[0], 0.9 * center[0] + 0.1 * mean, tolerance)
    leaves = [*own, *parts.values()]
    fast_gradients = torch.autograd.grad(cls + 0.1 * patch, leaves)
    slow_gradients = torch.autograd.grad(slow_cls + 0.1 * slow_patch, leaves)
    for name, a, b in zip(["global", "local", *parts], fast_gradients, slow_gradients, strict=True):
        close(a, b, tolerance, name)


def test_patch_loss__worked_example() -> None:
    """Every view has the same weight (0.460657 would be the mean over patches); the centre counts patches."""
    head = PatchDistillationHead(2, student_temperature=0.1, teacher_temperature=0.04).double()
    head.center.value.copy_(torch.tensor([[0.1, 0.3]]))
    teacher = factors([[[0.3, 0.4], [0, 0.25]], [[0.5, 0.6]]])
    student = factors([[[0.2, 0.1], [0, 0.3]], [[0.4, 0.1]]])
    loss = head(student, teacher, batch_of(0))["loss_patch"]
    assert float(loss) == pytest.approx(0.414533, abs=1e-6)
    head.commit(TRUE)
    assert head.center.value[0].tolist() == pytest.approx([0.116667, 0.311667], abs=1e-6)


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [([0.3, 0.4], [0.2, 0.1], 0.389120), ([0, 0.25], [0, 0.3], 0.716688)],
)
def test_patch_loss__one_patch(teacher: list, student: list, expected: float) -> None:
    head = PatchDistillationHead(2).double()
    head.center.value.copy_(torch.tensor([[0.1, 0.3]]))
    loss = head(factors([[student]] * 2), factors([[teacher]] * 2), batch_of(0))["loss_patch"]
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_patch_center__mean_of_patches() -> None:
    """A mean of view means would give 0.35, 0.25."""
    head = PatchDistillationHead(2).double()
    logits = factors([[[1, 0], [3, 2]], [[5, 4]]])
    head(logits, logits, batch_of(0))
    head.commit(TRUE)
    assert head.center.value[0].tolist() == pytest.approx([0.3, 0.2], abs=1e-7)


def test_cls_center__all_views() -> None:
    """10 views: ones on the 2 global ones, zeros on the 8 local ones."""
    built, head = neck(0, torch.float32), DistillationHead(7)
    unit = torch.zeros(10, 6)
    unit[:2, 0] = 1
    built.cls_projector.bottleneck = lambda x: unit
    with torch.no_grad():
        built.cls_projector.last_layer.weight_g.fill_(1)
        built.cls_projector.last_layer.weight_v.copy_(torch.eye(7, 6)[:1].expand(7, 6))
        tokens = network_tokens(random_tokens(8, 1, torch.float32, 0))
        teacher = built.teacher(tokens, batch_of(8))
    assert torch.equal(teacher.cls, torch.ones(2, 7))
    head(AggregatedTokens(torch.zeros(10, 7), teacher.patches), teacher, batch_of(8))
    head.commit(TRUE)
    assert head.center.value[0].tolist() == pytest.approx([0.02] * 7, abs=1e-7)


def test_loss__weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class loss 10 and patch loss 8 make 10.8."""
    model = tiny.build(tiny.selfpatch())
    for name, value in (
        ("distillation", {"loss_cls": 10.0}),
        ("patch_distillation", {"loss_patch": 8.0}),
    ):
        losses = {key: torch.tensor(number) for key, number in value.items()}
        monkeypatch.setattr(model.head[name], "forward", lambda *_, losses=losses: losses)
    assert float(total(model(tiny.view_batch(), mode="loss"))) == pytest.approx(10.8)


def test_gradients__by_term() -> None:
    """The patch loss trains norm, patch projection and backbone, but not the aggregation."""
    model = tiny.build(tiny.selfpatch())
    model(tiny.view_batch(), mode="loss")["loss_patch"].backward()
    trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for name, gradient in trained.items():
        untouched = any(
            x in name for x in ("aggregator.cls_token", "aggregator.blocks", "cls_proj")
        )
        assert (gradient is None) == untouched, name
        assert untouched or bool(gradient.any()), name


def test_tokens__of_both_sizes() -> None:
    """224 pixels are 196 patches, 96 are 36; in all 680 per image, of which 392 are in global crops."""
    vit = ViT("deit-tiny", with_cls_token=False, final_norm=False)
    vit.layers = vit.layers[:1]
    with torch.no_grad():
        groups = [vit(torch.zeros(n, 3, size, size)) for n, size in ((2, 224), (8, 96))]
    built = NeighbourAggregation(192, 3, out_channels=4, patch_out_channels=4, hidden_channels=8)
    with torch.no_grad():
        for run in (built.student, built.teacher):
            patches = run(NetworkTokens(*groups), batch_of(8)).patches
            assert patches.counts == (196,) * 2 + (36,) * 8
            assert len(patches.features) == 680


def test_state_dict__no_class_token_and_norm() -> None:
    vit = ViT("deit-small", with_cls_token=False, final_norm=False)
    keys = vit.state_dict()
    assert keys["pos_embed"].shape == (1, 196, 384)
    assert not any("cls_token" in key or key.startswith("ln1") for key in keys)
    model = tiny.build(tiny.selfpatch())
    parts = {k.removeprefix("neck.projection.") for k in model.state_dict() if k.startswith("neck")}
    block = ("norm1", "attn.q", "attn.k", "attn.v", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    layers = [f"aggregator.blocks.{i}.{part}" for i in (0, 1) for part in block] + [
        "aggregator.norm"
    ]
    layers += [f"{head}_projector.mlp.{i}" for head in ("cls", "patch") for i in (0, 2, 4)]
    prototypes = {
        f"{head}_projector.last_layer.weight_{x}" for head in ("cls", "patch") for x in "gv"
    }
    expected = {f"{layer}.{x}" for layer in layers for x in ("weight", "bias")}
    assert parts == expected | prototypes | {"aggregator.cls_token"}


def test_student__patches_pass_no_aggregation() -> None:
    """The student's patches do not depend on the aggregation; the teacher's and all image tokens do."""
    built, views = neck(2), batch_of(1)
    tokens = network_tokens(random_tokens(1, 1, torch.float64, 3))

    @torch.no_grad()
    def logits() -> tuple[Tensor, ...]:
        own, other = built.student(tokens, views), built.teacher(tokens, views)
        return dense(own.patches), own.cls, dense(other.patches), other.cls

    before = logits()
    raw = torch.cat(
        [g.prenorm_patches.flatten(0, 1) for g in (tokens.global_crops, tokens.local_crops)]
    )
    torch.testing.assert_close(before[0], built.patch_projector(built.aggregator.norm(raw)))
    for changed in (built.aggregator.cls_token, built.aggregator.blocks[1].mlp.fc2.weight):
        with torch.no_grad():
            changed.mul_(1.5)
        after = logits()
        assert torch.equal(after[0], before[0])
        assert all(float((a - b).norm()) > 1e-3 for a, b in zip(after[1:], before[1:], strict=True))


def test_teacher__follows_shifted_grids() -> None:
    """A map that is shifted around its border has shifted targets."""
    built, grid = neck(5), (14, 14)
    tokens = torch.randn(2, 196, WIDTH, dtype=torch.float64)

    def shift(x: Tensor) -> Tensor:
        return x.unflatten(1, grid).roll((5, 3), dims=(1, 2)).flatten(1, 2)

    plain = built.neighbour_tokens(group(tokens, grid))
    torch.testing.assert_close(
        built.neighbour_tokens(group(shift(tokens), grid)), shift(plain), rtol=1e-10, atol=1e-12
    )


def test_neck__reads_raw_tokens() -> None:
    """What a final norm would give is never read."""
    built, views = neck(0), batch_of(1)
    tokens = network_tokens(random_tokens(1, 1, torch.float64, 0))
    spoilt = NetworkTokens(
        *(replace(g, patches=g.patches * 0) for g in (tokens.global_crops, tokens.local_crops))
    )
    for run in (built.student, built.teacher):
        assert torch.equal(run(spoilt, views).cls, run(tokens, views).cls)


def test_loss__teacher_sees_local_crops() -> None:
    model = tiny.build(tiny.selfpatch())
    views = tiny.view_batch()
    assert model._teacher_tokens(views).local_crops is not None
    changed = replace(views, local_crops=views.local_crops.flip(-1))
    losses = [model(v, mode="loss")["loss_patch"].item() for v in (views, changed)]
    assert losses[0] != losses[1]


def test_loss__without_local_crops() -> None:
    """Two views are enough; one is not."""
    model = tiny.build(tiny.selfpatch())
    losses = model(tiny.view_batch(num_local=0), mode="loss")
    total(losses).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    views = tiny.view_batch(num_local=0)
    single = replace(views, global_crops=views.global_crops[:2], num_global=1)
    with pytest.raises(ValueError, match="compares different views, but the batch has 1 view"):
        model(single, mode="loss")


def test_initial_losses__of_random_networks() -> None:
    """About ln K each: with the published numbers of prototypes 11.09 and 8.32, 11.92 in all."""
    config = tiny.selfpatch(out_channels=500, patch_out_channels=300, bottleneck_channels=256)
    config["head"]["out_channels"], config["patch_head"]["out_channels"] = 500, 300
    losses = tiny.build(config)(tiny.view_batch(), mode="loss")
    assert float(losses["loss_cls"].detach()) == pytest.approx(math.log(500), abs=1.0)
    assert float(losses["loss_patch"].detach()) == pytest.approx(0.1 * math.log(300), abs=0.1)
    assert math.log(65536) + 0.1 * math.log(4096) == pytest.approx(11.92, abs=0.005)


def test_initialisation__truncated_normal() -> None:
    torch.manual_seed(0)
    built = NeighbourAggregation(384, 6, out_channels=8, patch_out_channels=8)
    built.init_weights()
    for name, parameter in built.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif (name.startswith("aggregator") and "norm" not in name) or ".mlp." in name:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
        elif "norm" in name or "weight_g" in name:
            assert bool((parameter == 1).all()), name


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16])
def test_loss__autocast(autocast: torch.dtype) -> None:
    model = tiny.build(tiny.selfpatch())
    views = tiny.view_batch()
    exact = model(views, mode="loss")
    with torch.autocast("cpu", autocast):
        rough = model(views, mode="loss")
    for key in ("loss_cls", "loss_patch"):
        assert rough[key].dtype == torch.float32
        torch.testing.assert_close(rough[key], exact[key], rtol=0.05, atol=0)
    total(rough).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_extract_tokens__class_token_is_the_image_token() -> None:
    """What k-NN sees: the teacher's aggregated and normed token."""
    model = tiny.build(tiny.selfpatch())
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        model.neck.projection.aggregator.norm.bias.add_(1)
        backbone, aggregator = model.teacher.backbone, model.teacher.neck.projection.aggregator
        expected = aggregator.norm(aggregator.over_crops(backbone(images).patches))
        assert torch.equal(model.extract_tokens(images).class_token, expected)
        assert torch.equal(model(images, mode="tensor"), expected)
        student = model.extract_tokens(images, "student").class_token
        torch.testing.assert_close(student, expected + 1)


def test_freeze__both_last_layers() -> None:
    model = tiny.build(tiny.selfpatch(norm_last_layer=False))
    wrapper = SimpleNamespace(frozen_parameters=None)
    runner = SimpleNamespace(model=model, epoch=0, optim_wrapper=wrapper)
    hook = LastLayerFreezeHook(epochs=1)
    hook.before_train_epoch(runner)
    names = {
        n for n, p in model.named_parameters() if any(p is f for f in wrapper.frozen_parameters)
    }
    layers = [f"neck.projection.{head}_projector.last_layer" for head in ("cls", "patch")]
    assert names == {f"{layer}.weight_{x}" for layer in layers for x in "gv"}
    runner.epoch = 1
    hook.before_train_epoch(runner)
    assert wrapper.frozen_parameters == []


def test_norm_last_layer__of_both_projections() -> None:
    model = tiny.build(tiny.selfpatch(norm_last_layer=True))
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad and "teacher" not in n}
    layers = [f"neck.projection.{head}_projector.last_layer" for head in ("cls", "patch")]
    assert frozen == {f"{layer}.weight_g" for layer in layers}


def test_sere__on_selfpatch() -> None:
    """Relation heads on its patch tokens; two terms of the base, so the factor is iBOT's."""
    base = tiny.build(tiny.selfpatch())
    model = tiny.build(tiny.sere(tiny.selfpatch()))
    base.load_state_dict(model.state_dict(), strict=False)
    weights = {name: head.loss_weight for name, head in model.head.items()}
    assert weights == {
        "distillation": pytest.approx(1.65),
        "patch_distillation": pytest.approx(0.165),
        "spatial_relation": 0.2,
        "channel_relation": 0.5,
    }
    views = tiny.view_batch()
    plain, added = base(views, mode="loss"), model(views, mode="loss")
    for key in ("loss_cls", "loss_patch"):
        torch.testing.assert_close(added[key], 1.65 * plain[key])
    assert set(added) - set(plain) >= {"loss_spatial", "loss_channel"}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: neck(0, k=9), "k is 9, but a patch has 8 neighbours"),
        (lambda: neck(0, border="clip"), "k is 4, but .* in a corner has 3 neighbours"),
        (lambda: ClassAttention(12, 5), "num_heads is 5, which does not divide the width 12"),
        (lambda: Aggregator(12, 2, depth=0), "depth is 0; .* at least 1 block"),
        (lambda: MODELS.build(selfpatch_on(with_cls_token=True)), "class token or a final norm"),
        (lambda: MODELS.build(selfpatch_on(final_norm=True)), "class token or a final norm"),
    ],
)
def test_build__errors(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def selfpatch_on(**backbone: object) -> dict:
    config = tiny.selfpatch()
    return {**config, "backbone": {**config["backbone"], **backbone}}


def test_loss__errors() -> None:
    views = tiny.view_batch()
    coarse = tiny.selfpatch()
    coarse["backbone"]["patch_size"] = 4
    with pytest.raises(
        ValueError, match="grid of patches is 2x2; .* larger crops or smaller patches"
    ):
        tiny.build(coarse)(views, mode="loss")
    head = PatchDistillationHead(2).double()
    short, long = factors([[[0, 1]]]), factors([[[0, 1]], [[0, 1]]])
    with pytest.raises(ValueError, match=r"\(1, 1\) patches and the teacher of \(1,\)"):
        head(long, short, batch_of(0))
    built = neck(0)
    wrong = group(torch.zeros(2, 21, WIDTH, dtype=torch.float64), (4, 5))
    with pytest.raises(ValueError, match=r"\(2, 21, 12\); a grid of 4x5 needs"):
        built.teacher(NetworkTokens(wrong), batch_of(0))
    with pytest.raises(ValueError, match=r"center has shape \(1, 3\)"):
        PatchDistillationHead(3).double()(long, long, batch_of(0))
