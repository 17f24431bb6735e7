"""mmrel.LinearProbeClassifier: features, the frozen backbone, heads that do not know of each other."""

import copy
import math

import pytest
import tiny
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn import functional

from mmrel.models.backbones.intermediate import intermediate_tokens
from mmrel.models.classifiers.linear_probe import ProbeFeature
from mmrel.registry import MODELS

CLASSES = 4
KINDS = [(1, 0), (2, 0), (1, 1), (1, 2), (2, 2)]


def probe(heads: list[dict] | None = None, **kwargs: object) -> torch.nn.Module:
    """A tiny probe, with its weights drawn."""
    backbone = kwargs.pop("backbone", None) or tiny.vit(drop_path_rate=0.5)
    config = dict(type="mmrel.LinearProbeClassifier", backbone=backbone, num_classes=CLASSES)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return tiny.build({**config, "heads": heads or [{}], **kwargs})


def batch(seed: int = 0, count: int = 6) -> tuple[Tensor, list[DataSample]]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=rng).tolist()
    images = torch.randn(count, 3, tiny.GLOBAL, tiny.GLOBAL, generator=rng)
    return images, [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize(("blocks", "avgpool"), KINDS)
def test_feature__against_the_blocks_themselves(blocks: int, avgpool: int) -> None:
    """Block by block through the network's layers, as the papers describe the feature."""
    model = probe(n_last_blocks=blocks, avgpool=avgpool)
    images, _ = batch()
    backbone = model.backbone
    tokens, _ = backbone.embed(images)
    outputs = []
    for layer in backbone.layers:
        tokens = layer(tokens)
        outputs.append(backbone.ln1(tokens))
    parts = [] if avgpool == 1 else [output[:, 0] for output in outputs[-blocks:]]
    parts += [outputs[-1][:, 1:].mean(dim=1)] if avgpool else []
    expected = torch.cat(parts, dim=1)
    (found,) = model.extract_feat(images).values()
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    width = blocks * (avgpool != 1) + (avgpool > 0)
    assert model.heads[0].fc.in_features == width * tiny.WIDTH == found.shape[1]


def test_feature__mean_patch_token_without_class_token() -> None:
    backbone = tiny.vit(with_cls_token=False, final_norm=False)
    model = probe(backbone=backbone, avgpool=1)
    images, _ = batch()
    (found,) = model.extract_feat(images).values()
    torch.testing.assert_close(found, model.backbone(images).patches.mean(dim=1))


def test_backbone__is_frozen_and_in_evaluation_mode() -> None:
    """Also after train(), with stochastic depth: the same features, no gradient, no change after a step."""
    model = probe([dict(lr_mult=3.0)]).train()
    assert model.training and model.heads.training
    assert not any(module.training for module in model.backbone.modules())
    images, samples = batch()
    first, second = (next(iter(model.extract_feat(images).values())) for _ in range(2))
    assert torch.equal(first, second)
    before = copy.deepcopy(model.state_dict())
    config = dict(optimizer=dict(type="SGD", lr=1.0), paramwise_cfg=dict(custom_keys={}))
    wrapper = build_optim_wrapper(model, config)
    wrapper.update_params(model.loss(images, samples)["loss"])
    changed = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert changed == {"heads.0.fc.weight", "heads.0.fc.bias"}
    assert sum(len(group["params"]) for group in wrapper.optimizer.param_groups) == 2


def train(model: torch.nn.Module, mults: list[float], steps: int = 40) -> list[Tensor]:
    """Weights of the heads after SGD with momentum and a cosine, by the host's optimizer constructor."""
    keys = {f"heads.{i}.": dict(lr_mult=mult) for i, mult in enumerate(mults)}
    config = dict(
        optimizer=dict(type="SGD", lr=2.0, momentum=0.9), paramwise_cfg=dict(custom_keys=keys)
    )
    wrapper = build_optim_wrapper(model.double().train(), config)
    rates = [group["lr"] for group in wrapper.optimizer.param_groups]
    for step in range(steps):
        for group, rate in zip(wrapper.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        images, samples = batch(seed=step % 5)
        wrapper.update_params(model.loss(images.double(), samples)["loss"])
    return [
        torch.cat([head.fc.weight.detach(), head.fc.bias.detach()[:, None]], 1)
        for head in model.heads
    ]


@pytest.mark.parametrize("norm", [False, True])
def test_heads__many_rates_are_separate_trainings(norm: bool) -> None:
    """12 heads (so that heads.1 is a prefix of heads.10) of two features; each alone ends at the same weights."""
    mults = [0.001 * 2.1**i for i in range(12)]
    heads = [dict(lr_mult=mult, avgpool=i % 2 * 2) for i, mult in enumerate(mults)]
    together = probe(heads, batch_norm=norm)
    start = copy.deepcopy(together.state_dict())
    found = train(together, mults)
    for i, (head, mult) in enumerate(zip(heads, mults, strict=True)):
        alone = probe([head], batch_norm=norm)
        own = {
            key.replace(f"heads.{i}.", "heads.0."): value
            for key, value in start.items()
            if not key.startswith("heads.") or key.startswith(f"heads.{i}.")
        }
        alone.load_state_dict(own)
        (weights,) = train(alone, [mult])
        torch.testing.assert_close(found[i], weights, rtol=0, atol=1e-10)
        assert (found[i][:, :-1] - start[f"heads.{i}.fc.weight"]).abs().max() > 1e-4


def test_heads__one_that_diverges_leaves_the_others_alone() -> None:
    """A rate beyond all bounds: its weights are not finite, those beside it are as without it."""
    mults = [0.01, 1e308]
    together = probe([dict(lr_mult=mult) for mult in mults])
    alone = probe([dict(lr_mult=0.01)])
    start = together.state_dict()
    alone.load_state_dict({key: start[key] for key in alone.state_dict()})
    (expected,), (found, lost) = train(alone, [0.01]), train(together, mults)
    assert not lost.isfinite().all()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    images, samples = batch()
    losses = together.loss(images.double(), samples)
    assert losses["cross_entropy_best"].isfinite()


def test_loss__is_the_sum_of_cross_entropies_of_labels_or_mixtures() -> None:
    model = probe([dict(lr_mult=1.0), dict(lr_mult=0.1)])
    images, samples = batch()
    target = torch.cat([sample.gt_label for sample in samples])
    each = [functional.cross_entropy(scores, target) for scores in model(images)]
    losses = model.loss(images, samples)
    torch.testing.assert_close(losses["loss"], each[0] + each[1])
    torch.testing.assert_close(losses["cross_entropy_best"], min(each))
    mixed = [DataSample().set_gt_score(row) for row in functional.one_hot(target, CLASSES).float()]
    torch.testing.assert_close(model.loss(images, mixed)["loss"], losses["loss"])


def test_predict__scores_of_every_head_and_of_the_selected_one() -> None:
    model = probe([dict(lr_mult=1.0), dict(lr_mult=0.1, avgpool=1)], selected=1).eval()
    images, samples = batch()
    result = model.predict(images, samples)
    scores = torch.stack(model(images, mode="tensor"), dim=1).softmax(dim=-1)
    for sample, expected in zip(result, scores, strict=True):
        torch.testing.assert_close(sample.head_scores, expected)
        torch.testing.assert_close(sample.pred_score, expected[1])
        assert sample.pred_label == expected[1].argmax()
        assert sample.head_names == ("blocks1_avgpool0_lr1", "blocks1_avgpool1_lr0.1")
    assert model.predict(images)[0].pred_score.shape == (CLASSES,)
    assert result[0].gt_label == samples[0].gt_label


def test_heads__start_as_dinos() -> None:
    config = dict(type="mmrel.LinearProbeClassifier", backbone=tiny.vit(), num_classes=2000)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = tiny.build({**config, "heads": [{}, {}]})
    first, second = (head.fc for head in model.heads)
    assert float(first.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert not first.bias.any() and not torch.equal(first.weight, second.weight)


def test_dinov2__four_features_from_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [ProbeFeature(blocks, avgpool) for blocks in (1, 2) for avgpool in (0, 2)]
    model = probe([kind._asdict() | dict(lr_mult=rate) for kind in kinds for rate in (0.1, 1.0)])
    calls = []
    monkeypatch.setattr(
        "mmrel.models.classifiers.linear_probe.intermediate_tokens",
        lambda *args: calls.append(args) or intermediate_tokens(*args),
    )
    assert [scores.shape for scores in model(batch()[0])] == [(6, CLASSES)] * 8
    assert len(calls) == 1 and list(model.extract_feat(batch()[0])) == kinds
    assert model.head_names[-1] == "blocks2_avgpool2_lr1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(avgpool=3), "avgpool is 3; choose 0"),
        (dict(n_last_blocks=2, avgpool=1), "1 with avgpool=1"),
        (dict(n_last_blocks=0), "n_last_blocks is 0"),
        (dict(n_last_blocks=3), "n_last_blocks is 3, but the backbone has 2 blocks"),
        (dict(backbone=tiny.vit(with_cls_token=False)), "the backbone has none; give avgpool=1"),
        (dict(heads=[dict(lr=1.0)]), "known are lr_mult"),
        (dict(heads=[dict(lr_mult=0.0)]), "factor above 0"),
        (dict(selected=1), "selected is 1"),
        (dict(backbone=dict(type="mmpretrain.ResNet", depth=18)), "a ResNet; a linear probe reads"),
    ],
)
def test_settings__that_do_not_fit_are_refused(settings: dict, message: str) -> None:
    config = dict(type="mmrel.LinearProbeClassifier", backbone=tiny.vit(), num_classes=CLASSES)
    with (
        pytest.raises(ValueError, match=message),
        DefaultScope.overwrite_default_scope("mmpretrain"),
    ):
        MODELS.build({**config, **settings})
