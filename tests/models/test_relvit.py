"""RelViT: heads, losses and both modes, against worked examples (arXiv 2206.00481) and the pair-by-pair form."""

import math
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from reference import relvit as reference
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from mmrel.models.classifiers import RelViTClassifier
from mmrel.models.heads import PatchPairRegressionHead, PatchPositionHead, PatchRelationHead
from mmrel.models.necks import PatchTokens, TokenFeature
from mmrel.models.selfsup import RelViT
from mmrel.ops.patches import permute_patches
from mmrel.ops.position import patch_relations
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch
from mmrel.utils import register_all_modules

SIDE = tiny.GLOBAL // tiny.PATCH


def crops(batch: int = 3, seed: int = 0) -> ViewBatch:
    """One random view per image."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, tiny.GLOBAL, tiny.GLOBAL, generator=rng)
    return ViewBatch(images, None, None, None, num_global=1, num_local=0)


def layer_normed(batch: int, patches: int, channels: int) -> Tensor:
    return nn.functional.layer_norm(torch.randn(batch, patches, channels), (channels,))


def pick(head: PatchRelationHead, query: dict[int, int], key: dict[int, int]) -> None:
    """Zero maps, but for row -> feature."""
    for layer, chosen in ((head.scores.query, query), (head.scores.key, key)):
        nn.init.zeros_(layer.weight)
        for row, feature in chosen.items():
            layer.weight.data[row, feature] = 1


def two_tokens(channels: int) -> Tensor:
    """A 2 x 2 grid: z_0 = 2 e_0, z_1 = 2 e_1, the others 0."""
    tokens = torch.zeros(1, 4, channels)
    tokens[0, 0, 0] = tokens[0, 1, 1] = 2
    return tokens


def test_relation_head__orientation() -> None:
    head = PatchRelationHead(9, side=2)
    pick(head, {3: 0}, {3: 1})
    loss = float(head(two_tokens(9))["loss_rel"])
    assert loss == pytest.approx(2.0684440, abs=5e-7)
    assert 16 * loss - 15 * math.log(9) == pytest.approx(0.1367357, abs=5e-6)
    pick(head, {3: 1}, {3: 0})
    assert float(head(two_tokens(9))["loss_rel"]) == pytest.approx(2.3184440, abs=5e-7)


def test_relation_head__one_hot() -> None:
    head = PatchRelationHead(9, side=2)
    pick(head, {c: c for c in range(9)}, {c: c for c in range(9)})
    tokens = torch.eye(9)[None, :4]
    scores = head.scores(tokens)
    per_pair = scores.logsumexp(1) - scores.gather(1, head.relations[None, None])[:, 0]
    assert per_pair[0].diagonal().tolist() == pytest.approx([2.3719509] * 4, abs=5e-7)
    assert float(per_pair[0, 0, 1]) == pytest.approx(math.log(9), abs=1e-6)
    assert float(head(tokens)["loss_rel"]) == pytest.approx(2.2409061, abs=5e-7)


def test_relation_head__scale() -> None:
    """d = 18, d_h = 2: the logit becomes 4 / sqrt 2."""
    head = PatchRelationHead(18, side=2)
    pick(head, {6: 0}, {6: 1})
    assert float(head.scores(two_tokens(18))[0, 3, 0, 1]) == pytest.approx(2.8284271, abs=1e-6)
    loss = float(head(two_tokens(18))["loss_rel"])
    assert 16 * loss - 15 * math.log(9) == pytest.approx(0.3871966, abs=5e-6)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_heads__equal_pairwise_form_and_gradients(dtype: torch.dtype, rtol: float) -> None:
    """Any weights; nine heads of floor(20 / 9) = 2 channels."""
    side, channels = 3, 20
    tokens = torch.randn(2, side**2, channels, dtype=dtype, requires_grad=True)
    relation = PatchRelationHead(channels, side).to(dtype)
    query, key = (
        layer.weight.unflatten(0, (9, 2)) for layer in (relation.scores.query, relation.scores.key)
    )
    targets = reference.table(reference.relation, side).expand(2, -1, -1)
    pairs = [(relation(tokens)["loss_rel"], reference.relation_loss(tokens, query, key, targets))]
    for target, name, values in (
        ("distance", "loss_dist", reference.distance),
        ("angle", "loss_angle", reference.angle),
    ):
        head = PatchPairRegressionHead(channels, side, target).to(dtype)
        maps = head.scores.query.weight, head.scores.key.weight
        wanted = head.target.to(dtype)
        assert (wanted - reference.table(values, side)).abs().max() < 2e-6
        pairs.append((head(tokens)[name], reference.pair_mse(tokens, *maps, wanted)))
    position = PatchPositionHead(channels, side).to(dtype)
    places = torch.arange(side**2).expand(2, -1)
    linear = position.classifier
    pairs.append(
        (
            position(tokens)["loss_abs_pos"],
            reference.position_loss(tokens, linear.weight, linear.bias, places),
        )
    )
    for fast, slow in pairs:
        torch.testing.assert_close(fast, slow, rtol=rtol, atol=0)
        a, b = (torch.autograd.grad(x, tokens, retain_graph=True)[0] for x in (fast, slow))
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("side", [7, 8])
def test_heads__initial_losses(side: int) -> None:
    """Independent LayerNormed tokens of width 384: slightly above ln 9 and ln N."""
    torch.manual_seed(0)
    tokens = layer_normed(8, side**2, 384)
    relation = PatchRelationHead(384, side)(tokens)["loss_rel"]
    position = PatchPositionHead(384, side)(tokens)["loss_abs_pos"]
    assert float(relation) == pytest.approx(2.246, abs=0.01)
    assert float(position) == pytest.approx({7: 4.00, 8: 4.31}[side], abs=0.1)


def test_heads__sizes() -> None:
    """Without the dead value maps: 145,152 of 435,456, and a third of 442,368."""
    counts = {
        PatchRelationHead(384, 7): 435_456 - 145_152,
        PatchPairRegressionHead(384, 7, "distance"): 442_368 * 2 // 3,
        PatchPairRegressionHead(384, 7, "angle"): 442_368 * 2 // 3,
        PatchPositionHead(384, 7): 18_865,
        PatchPositionHead(384, 8): 24_640,
    }
    for head, count in counts.items():
        assert sum(p.numel() for p in head.parameters()) == count
        assert not [k for k in head.state_dict() if "relations" in k or "target" in k]
    for channels, width in ((192, 21), (384, 42), (768, 85)):
        assert PatchRelationHead(channels, 2).scores.query.out_features == 9 * width


def test_heads__torch_initialisation() -> None:
    """The bound of torch's linear layers is 1 / sqrt(d), and an algorithm's init_weights keeps it."""
    model = tiny.build(tiny.relvit())
    weight = model.head["relation"].scores.query.weight
    assert 0.8 / tiny.WIDTH**0.5 < float(weight.detach().abs().max()) <= 1 / tiny.WIDTH**0.5


def test_heads__zero_prediction() -> None:
    head = PatchPairRegressionHead(5, 2, "distance")
    loss = head(torch.zeros(2, 4, 5))["loss_dist"]
    assert float(loss) == pytest.approx(0.5857864, abs=1e-7)


@pytest.mark.parametrize(("side", "entropy"), [(3, math.log(9)), (7, 2.0085), (8, 1.9665)])
def test_heads__identical_tokens_learn_nothing_but_the_prior(side: int, entropy: float) -> None:
    tokens = torch.randn(2, 1, 20).expand(-1, side**2, -1)
    for seed in range(3):
        torch.manual_seed(seed)
        relation, position = PatchRelationHead(20, side), PatchPositionHead(20, side)
        scores = relation.scores(tokens)
        assert torch.allclose(scores, scores[:, :, :1, :1].expand_as(scores), atol=1e-5)
        assert float(relation(tokens)["loss_rel"]) >= entropy - 1e-4
        assert float(position(tokens)["loss_abs_pos"]) >= 2 * math.log(side) - 1e-5


def test_statistics__accuracies() -> None:
    relation, position = PatchRelationHead(9, 2), PatchPositionHead(4, 2)
    assert float(position(10 * position.classifier.weight[None])["stat/acc_abs_pos"]) == 1
    pick(relation, {4: 0}, {4: 0})
    tokens = torch.zeros(1, 4, 9)
    tokens[..., 0] = 1
    assert float(relation(tokens)["stat/acc_rel"]) == 4 / 16  # everything is called "the same"


def model_losses(model: Any, views: ViewBatch) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return model(views, mode="loss")


def test_relvit__total_is_the_sum_and_each_head_is_its_own() -> None:
    every = dict(
        distance=tiny.patch_head("PatchPairRegressionHead", target="distance"),
        angle=tiny.patch_head("PatchPairRegressionHead", target="angle"),
    )
    model = tiny.build(tiny.relvit(**every)).eval()
    losses = model_losses(model, crops())
    names = ["loss_rel", "loss_abs_pos", "loss_dist", "loss_angle"]
    assert [name for name in losses if "loss" in name] == names
    total, _ = model.parse_losses(losses)
    assert float(total) == pytest.approx(sum(float(losses[name]) for name in names), rel=1e-6)
    for name, off in zip(names, ("relation", "position", "distance", "angle"), strict=True):
        fewer = tiny.build(tiny.relvit(**{**every, off: None})).eval()
        fewer.load_state_dict(model.state_dict(), strict=False)
        rest = model_losses(fewer, crops())
        assert {k: float(v) for k, v in rest.items() if "loss" in k} == {
            k: float(v) for k, v in losses.items() if "loss" in k and k != name
        }


def permuted(views: ViewBatch, tell: bool) -> ViewBatch:
    order = torch.stack([torch.randperm(SIDE**2) for _ in range(views.batch_size)])
    images = permute_patches(views.global_crops, order, tiny.PATCH)
    return replace(views, global_crops=images, patch_order=order if tell else None)


def test_relvit__permuted_patches_give_the_same_loss() -> None:
    """Without positions the network is equivariant, so that nothing changes if the targets move along."""
    model, views = tiny.build(tiny.relvit()).eval(), crops()
    shown = permuted(views, tell=True)
    plain, moved = (model.backbone(v.global_crops).patches.double() for v in (views, shown))
    for image, order in enumerate(shown.patch_order):
        torch.testing.assert_close(moved[image], plain[image][order], rtol=0, atol=1e-5)
    same, other = model_losses(model, views), model_losses(model, shown)
    for name in ("loss_rel", "loss_abs_pos"):
        assert float(other[name]) == pytest.approx(float(same[name]), abs=1e-5)
    untold = model_losses(model, replace(shown, patch_order=None))
    assert abs(float(untold["loss_rel"]) - float(same["loss_rel"])) > 1e-4


def test_relvit__fails_with_positions() -> None:
    model, views = tiny.build(tiny.relvit(use_pos_embed=True)), crops()
    nn.init.normal_(model.backbone.pos_embed)
    model.eval()
    same, other = model_losses(model, views), model_losses(model, permuted(views, tell=True))
    assert abs(float(other["loss_rel"]) - float(same["loss_rel"])) > 1e-3


def test_relvit__restored_order_equals_permuted_targets() -> None:
    """T'[i, j] = T[pi(i), pi(j)] and place pi(i), with tokens left where they are."""
    model = tiny.build(tiny.relvit()).eval()
    shown = permuted(crops(), tell=True)
    losses = model_losses(model, shown)
    tokens = model.backbone(shown.global_crops).patches
    head = model.head["relation"]
    query, key = (
        layer.weight.unflatten(0, (9, -1)) for layer in (head.scores.query, head.scores.key)
    )
    table = patch_relations(SIDE)
    targets = torch.stack([table[order][:, order] for order in shown.patch_order])
    expected = reference.relation_loss(tokens, query, key, targets)
    assert float(losses["loss_rel"]) == pytest.approx(float(expected), rel=1e-5)
    linear = model.head["position"].classifier
    expected = reference.position_loss(tokens, linear.weight, linear.bias, shown.patch_order)
    assert float(losses["loss_abs_pos"]) == pytest.approx(float(expected), rel=1e-5)


def test_relvit__positions_are_neither_trained_nor_decayed() -> None:
    """One group with everything in it; positions get no gradient and stay, the class token learns."""
    model = tiny.build(tiny.relvit())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0, error_if_nonfinite=True))
    assert len(optimizer.param_groups) == 1
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for seed in range(2):
        loss, _ = model.parse_losses(model(crops(seed=seed), mode="loss"))
        wrapper.update_params(loss)
    after = dict(model.named_parameters())
    assert after["backbone.pos_embed"].grad is None
    unchanged = {name for name, p in after.items() if torch.equal(p, before[name])}
    assert unchanged == {"backbone.pos_embed"}


ALL_HEADS = dict(
    distance=tiny.patch_head("PatchPairRegressionHead", target="distance"),
    angle=tiny.patch_head("PatchPairRegressionHead", target="angle"),
)


@pytest.mark.parametrize("order", [False, True])
def test_relvit__step_can_be_a_cuda_graph(order: bool) -> None:
    """Losses and gradients of tensors without values: the host reads none, and no shape depends on one.

    What a graph records is replayed without Python, so that a number on the host would stay the first batch's.
    """
    model = tiny.build(tiny.relvit(drop_path_rate=0.2, **ALL_HEADS))
    views = permuted(crops(), tell=order)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with FakeTensorMode() as mode, torch.autocast("cpu", torch.bfloat16):
        tensors = {name: mode.from_tensor(value) for name, value in state.items()}
        parts = {
            name: mode.from_tensor(value)
            for name, value in vars(views).items()
            if isinstance(value, Tensor)
        }
        losses = functional_call(model, tensors, (replace(views, **parts),), dict(mode="loss"))
        total, _ = model.parse_losses(losses)
        total.backward()
    assert {"loss_rel", "loss_abs_pos", "loss_dist", "loss_angle"} <= set(losses)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(tensors[name].grad is not None for name in trained)


def test_relvit__a_nan_ends_the_run_before_the_step() -> None:
    model = tiny.build(tiny.relvit())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0, error_if_nonfinite=True))
    views = crops()
    views.global_crops[0, 0, 0, 0] = float("nan")
    before = model.backbone.cls_token.detach().clone()
    loss, _ = model.parse_losses(model(views, mode="loss"))
    with pytest.raises(RuntimeError, match="non-finite"):
        wrapper.update_params(loss)
    assert torch.equal(model.backbone.cls_token, before)


def test_relvit__weight_and_class_token_options() -> None:
    head = tiny.patch_head("PatchPositionHead", loss_weight=0.5)
    plain = model_losses(tiny.build(tiny.relvit()).eval(), crops())
    weighted = model_losses(tiny.build(tiny.relvit(position=head)).eval(), crops())
    assert float(weighted["loss_abs_pos"]) == pytest.approx(float(plain["loss_abs_pos"]) / 2)
    tokens = TokenViews(torch.randn(2, 5), torch.randn(2, 4, 5), torch.zeros(2, 4, 5), (2, 2))
    added = PatchTokens(add_class_token=True).student(NetworkTokens(tokens), crops(2))
    assert torch.equal(added, tokens.patches + tokens.cls[:, None])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PatchRelationHead(9, 1), "at least 2"),
        (lambda: PatchPositionHead(9, 0), "at least 2"),
        (lambda: PatchRelationHead(8, 2), "8 channels .* 9 heads"),
        (lambda: PatchRelationHead(9, 2, label_smoothing=1.0), r"share in \[0, 1\)"),
        (lambda: PatchPairRegressionHead(9, 2, "bearing"), "'distance' or 'angle'"),
        (
            lambda: PatchRelationHead(9, 2)(torch.zeros(1, 9, 9)),
            "gives 9 patches .* built for 2 x 2",
        ),
        (lambda: RelViT(tiny.vit(), head=dict(relation=None)), "all of RelViT's heads are None"),
        (lambda: TokenFeature("patch"), "choose one of"),
    ],
)
def test_relvit__refuses(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_relvit__refuses_local_crops() -> None:
    model = tiny.build(tiny.relvit())
    with pytest.raises(ValueError, match="RelViT uses global views only"):
        model(replace(tiny.view_batch(), masks=None), mode="loss")


# The joint mode.


def classifier(**changes: Any) -> RelViTClassifier:
    register_all_modules()
    config = dict(
        type="mmrel.RelViTClassifier",
        backbone=tiny.vit(),
        pretext=dict(
            relation=tiny.patch_head("PatchRelationHead"),
            position=tiny.patch_head("PatchPositionHead"),
        ),
        neck=dict(type="mmrel.TokenFeature"),
        head=dict(type="LinearClsHead", num_classes=5, in_channels=tiny.WIDTH, init_cfg=None),
    )
    return tiny.build({**config, **changes})


def labelled(batch: int = 3) -> tuple[Tensor, list[DataSample]]:
    return crops(batch).global_crops, [DataSample().set_gt_label(i % 5) for i in range(batch)]


def test_joint__sum_of_terms_and_class_loss_leaves_patch_heads_alone() -> None:
    model = classifier().eval()
    losses = model(*labelled(), mode="loss")
    assert [name for name in losses if "loss" in name] == ["loss_cls", "loss_rel", "loss_abs_pos"]
    total, logged = model.parse_losses(losses)
    assert float(total) == pytest.approx(sum(float(losses[k]) for k in losses if "loss" in k))
    assert float(logged["loss"]) == pytest.approx(float(total))
    losses["loss_cls"].backward()
    assert all(p.grad is None for p in model.pretext.parameters())
    assert model.backbone.pos_embed.grad.abs().sum() > 0
    assert model.backbone.cls_token.grad.abs().sum() > 0


def test_joint__class_loss_and_predictions_are_the_plain_classifiers() -> None:
    joint = classifier().eval()
    plain = MODELS.build(
        dict(
            type="mmpretrain.ImageClassifier",
            backbone=tiny.vit(),
            neck=dict(type="mmrel.TokenFeature"),
            head=dict(type="LinearClsHead", num_classes=5, in_channels=tiny.WIDTH),
        )
    ).eval()
    own = plain.state_dict()
    plain.load_state_dict({key: joint.state_dict()[key] for key in own})
    images, samples = labelled()
    ours, theirs = (m(images, samples, mode="loss") for m in (joint, plain))
    assert float(ours["loss_cls"]) == float(theirs["loss"])
    for a, b in zip(*(m(images, mode="predict") for m in (joint, plain)), strict=True):
        assert torch.equal(a.pred_score, b.pred_score)


def test_joint__pretext_losses_are_the_upstream_models() -> None:
    joint, upstream = classifier().eval(), tiny.build(tiny.relvit(use_pos_embed=True)).eval()
    state = {
        key.replace("pretext.", "head."): value
        for key, value in joint.state_dict().items()
        if key.startswith(("backbone.", "pretext."))
    }
    upstream.load_state_dict(state)
    images, samples = labelled()
    ours, theirs = joint(images, samples, mode="loss"), upstream(crops(), mode="loss")
    for name in ("loss_rel", "loss_abs_pos", "stat/acc_rel", "stat/acc_abs_pos"):
        assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-6)


def test_token_feature__kinds() -> None:
    tokens = TokenViews(torch.randn(2, 5), torch.randn(2, 4, 5), torch.zeros(2, 4, 5), (2, 2))
    mean = tokens.patches.mean(1)
    assert torch.equal(TokenFeature()(tokens)[0], tokens.cls)
    assert torch.equal(TokenFeature("avg")(tokens)[0], mean)
    assert torch.equal(TokenFeature("cls+avg")(tokens)[0], torch.cat([tokens.cls, mean], 1))
    with pytest.raises(ValueError, match="class token is needed"):
        TokenFeature()(replace(tokens, cls=None))


@pytest.mark.parametrize(
    ("backbone", "width", "side"),
    [
        (tiny.vit(use_pos_embed=False), tiny.WIDTH, SIDE),
        (tiny.vit(img_size=24), tiny.WIDTH, 6),
        (
            dict(
                type="mmrel.Swin",
                arch=dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
                img_size=56,
                window_size=2,
            ),
            96,
            2,
        ),
        (
            dict(
                type="mmrel.T2TViT",
                img_size=80,
                embed_dims=12,
                num_layers=1,
                layer_cfgs=dict(num_heads=2, feedforward_channels=24),
                t2t_cfg=dict(token_dims=4),
            ),
            12,
            3,
        ),
    ],
)
def test_heads__take_width_and_grid_from_the_backbone(
    backbone: dict, width: int, side: int
) -> None:
    """In both modes; odd grids of Swin and T2T-ViT round up, as their tokens do."""
    register_all_modules()
    heads = {name: dict(type=f"mmrel.Patch{name}Head") for name in ("Relation", "Position")}
    heads["angle"] = dict(type="mmrel.PatchPairRegressionHead", target="angle")
    model = tiny.build(dict(type="mmrel.RelViT", backbone=backbone, head=heads))
    assert {head.side for head in model.head.values()} == {side}
    assert model.head["Position"].classifier.weight.shape == (side**2, width)
    images = torch.randn(2, 3, *[backbone["img_size"]] * 2)
    tokens = model.backbone(images)
    assert tokens.grid == (side, side) == model.backbone.token_grid
    assert tokens.patches.shape[-1] == width == model.backbone.token_channels
    assert sorted(model.loss(ViewBatch(images, None, None, None, 1, 0)))[0] == "loss_abs_pos"
    classifier = tiny.build(
        dict(
            type="mmrel.RelViTClassifier",
            backbone=backbone,
            pretext=heads,
            neck=dict(type="mmrel.TokenFeature", feature="avg"),
            head=dict(type="LinearClsHead", num_classes=3, in_channels=width),
        )
    )
    assert {head.side for head in classifier.pretext.values()} == {side}
    assert heads["angle"] == dict(type="mmrel.PatchPairRegressionHead", target="angle")


def test_heads__given_values_are_kept_or_refused() -> None:
    config = tiny.relvit()
    config["head"]["relation"] = dict(type="mmrel.PatchRelationHead", side=3)
    assert tiny.build(config).head["relation"].side == 3
    config["head"]["relation"] = dict(type="mmrel.PatchRelationHead", in_channels=13)
    with pytest.raises(
        ValueError, match="'relation' has in_channels=13, .* ViT are 12 wide; leave"
    ):
        tiny.build(config)
    config["backbone"]["img_size"] = (16, 24)
    config["head"]["relation"] = dict(type="mmrel.PatchRelationHead")
    with pytest.raises(ValueError, match="ViT gives 4 x 6 patches, but head 'relation' reads a"):
        tiny.build(config)
