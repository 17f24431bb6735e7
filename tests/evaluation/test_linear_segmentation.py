"""A linear classifier on patch tokens: its loss, its independence of other rates, its evaluation."""

import math
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from labelled_images import CLASSES, labelled, network

from mmrel.evaluation.iou import confusion_matrix, segmentation_scores
from mmrel.evaluation.linear_segmentation import (
    LinearHeads,
    Schedule,
    linear_segmentation,
    train_heads,
)
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_tokens import TokenSettings, collect_patches, image_tokens, patch_shares
from mmrel.models.backbones import ViT

SHORT = Schedule(learning_rates=(1e-3, 1e-2), epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def backbone() -> ViT:
    return network(tiny.vit())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledImages, LabelledImages]:
    root = tmp_path_factory.mktemp("pair")
    return labelled(root / "train", 6), labelled(root / "val", 3, 1, ((16, 24), (24, 16)))


def test_loss__shares_are_the_mean_over_pixels() -> None:
    """Cross-entropy with shares equals that of each pixel with the scores of its patch."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (8, 8), generator=generator)
    scores = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    shares, _ = patch_shares(labels, (2, 2), 4, 3)
    maps = scores.T.reshape(1, 3, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    by_pixel = F.cross_entropy(maps, labels[None])
    assert float(F.cross_entropy(scores, shares.double())) == pytest.approx(float(by_pixel))


def tokens_and_shares(count: int = 70) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(count, 5, generator=generator)
    labels = tokens[:, :3].argmax(dim=1)
    return 3 * tokens + 7, F.one_hot(labels, 3).float()


def test_training__equals_one_rate_alone() -> None:
    tokens, shares = tokens_and_shares()
    with torch.no_grad():  # Whatever the caller does.
        together = train_heads(tokens, shares, Schedule((1e-3, 1e-2, 1e-1), 4, 16))
    for index, rate in enumerate((1e-3, 1e-2, 1e-1)):
        alone = train_heads(tokens, shares, Schedule((rate,), 4, 16))
        torch.testing.assert_close(together(tokens)[index], alone(tokens)[0], rtol=1e-6, atol=1e-6)


def test_training__equals_a_plain_loop() -> None:
    """One rate, written out: batch norm by its formula, AdamW, a cosine to 0, batches by the seed."""
    tokens, shares = tokens_and_shares(40)
    found = train_heads(tokens, shares, Schedule((1e-2,), 2, 16, 0.1, seed=5))
    weight = 0.01 * torch.randn(3, 5, generator=torch.Generator().manual_seed(5))
    weight, bias = weight.requires_grad_(), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=1e-2, weight_decay=0.1)
    generator, step = torch.Generator().manual_seed(5), 0
    for _ in range(2):
        order = torch.randperm(40, generator=generator)
        for rows in (order[:16], order[16:32]):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 4)) / 2
            part = tokens[rows]
            normed = (part - part.mean(0)) / (part.var(0, unbiased=False) + 1e-5).sqrt()
            scores = normed @ weight.T + bias
            loss = -(shares[rows] * scores.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    torch.testing.assert_close(found.layers[0].weight, weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.layers[0].bias, bias, rtol=1e-5, atol=1e-6)


def test_training__learns_what_is_separable() -> None:
    tokens, shares = tokens_and_shares(400)
    heads = train_heads(tokens.half(), shares.half(), Schedule((3e-2,), 40, 32))
    right = heads(tokens)[0].argmax(1) == shares.argmax(1)
    assert right.float().mean() > 0.9
    assert not heads.training


def test_linear__one_pass_equals_the_heads_by_hand(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages]
) -> None:
    train, val = pair
    found = linear_segmentation(backbone, train, val, SHORT, keep=(1,))
    cached = collect_patches(backbone, train, TokenSettings(), 1000, 0, lambda: None, torch.float16)
    assert cached[0].dtype == torch.float16
    heads = train_heads(*cached, SHORT)
    for index, rate in enumerate(SHORT.learning_rates):
        confusion = torch.zeros(4, 4, dtype=torch.long)
        predictions = []
        for image in image_tokens(backbone, val, TokenSettings()):
            with torch.no_grad():
                scores = heads(image.tokens)[index].T.unflatten(1, image.grid)
            size = tuple(image.labels.shape)
            enlarged = F.interpolate(scores[None], size=size, mode="bilinear")[0]
            predictions.append(enlarged.argmax(0))
            confusion += confusion_matrix(predictions[-1], image.labels, 4)
        miou = segmentation_scores(confusion, CLASSES).miou
        assert found.miou_of_rates[rate] == pytest.approx(miou, abs=1e-9)
        if rate == found.learning_rate:
            assert found.miou == pytest.approx(miou, abs=1e-9)
            assert torch.equal(found.confusion, confusion)
            assert np.array_equal(found.predictions[1], predictions[1].numpy())
    assert found.miou == max(found.miou_of_rates.values())
    assert found.as_dict()["learning_rate"] == found.learning_rate


def test_linear__same_seed_same_figures(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages]
) -> None:
    def run(seed: int) -> dict[float, float]:
        schedule = Schedule((1e-2,), 2, 16, seed=seed)
        torch.rand(seed + 1)  # The global generator plays no part.
        return linear_segmentation(backbone, *pair, schedule, per_image=9).miou_of_rates

    assert run(0) == run(0) != run(1)


def test_linear__the_cache_is_bounded(
    backbone: ViT,
    pair: tuple[LabelledImages, LabelledImages],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = []
    real = train_heads
    module = "mmrel.evaluation.linear_segmentation.train_heads"
    monkeypatch.setattr(module, lambda t, s, c: rows.append(t.shape) or real(t, s, c))
    bytes_per_row = 2 * (2 * tiny.WIDTH + len(CLASSES))
    linear_segmentation(
        backbone, *pair, SHORT, out_indices=(0, 1), cache_bytes=30 * bytes_per_row + 1
    )
    assert rows == [(30, 2 * tiny.WIDTH)]


def test_linear__leaves_the_backbone_and_the_generators_alone(
    pair: tuple[LabelledImages, LabelledImages],
) -> None:
    own = network(tiny.vit()).train()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    state = torch.get_rng_state()
    linear_segmentation(own, *pair, SHORT)
    assert own.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert all(parameter.grad is None for parameter in own.parameters())


def test_heads__share_their_first_weights() -> None:
    heads = LinearHeads(4, 3, 2, seed=1)
    assert torch.equal(heads.layers[0].weight, heads.layers[1].weight)
    assert not torch.equal(heads.layers[0].weight, LinearHeads(4, 3, 1, seed=2).layers[0].weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(learning_rates=()), r"learning_rates are \[\]"),
        (dict(learning_rates=(1e-3, 1e-3)), "each once"),
        (dict(learning_rates=(0.0,)), "above 0"),
        (dict(epochs=0), "epochs is 0"),
        (dict(batch_size=1), "batch_size 1"),
        (dict(weight_decay=-1.0), "weight_decay -1.0"),
    ],
)
def test_schedule__bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


def test_linear__bad_data(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages], tmp_path: Path
) -> None:
    train, val = pair
    with pytest.raises(ValueError, match="unknown in training are violet"):
        linear_segmentation(
            backbone, train, LabelledImages(val.pairs, (*CLASSES[:3], "violet")), SHORT
        )
    huge = network(tiny.vit())
    huge.ln1.weight.data.fill_(1e6)
    with pytest.raises(ValueError, match="half precision"):
        linear_segmentation(huge, train, val, SHORT)
    with pytest.raises(ValueError, match="1 labelled patches"):
        train_heads(torch.ones(1, 3), torch.ones(1, 2), SHORT)
