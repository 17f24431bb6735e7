"""Losses of relations as shares of a student's that calls every answer equally likely: numbers worked out by hand."""

import math

import pytest
import tiny
import torch
from test_relation_head import relation_tokens, view_batch
from torch import Tensor

from mmrel.models.heads import (
    ChannelRelationHead,
    PatchDistillationHead,
    PatchPositionHead,
    PatchRelationHead,
    SpatialRelationHead,
)
from mmrel.models.outputs import AggregatedTokens, PatchLogits, RelationTokens
from mmrel.structures import ViewBatch


def uniform_student(tokens: RelationTokens) -> RelationTokens:
    """Zeros: all products are equal, and so all probabilities."""
    values = tokens.global_tokens, tokens.local_tokens
    first, second = (None if value is None else torch.zeros_like(value) for value in values)
    return RelationTokens(first, tokens.global_grid, second, tokens.local_grid)


@pytest.mark.parametrize(
    ("counts", "sides", "uniform"),
    [
        ((2, 4), (7, 4), 2.9964350),  # the quickstart's: (2 ln 49 + 8 ln 16) / 10
        ((2, 0), (3, 2), 2.1972246),  # ln 9
        ((3, 1), (2, 3), 1.6566044),  # (6 ln 4 + 3 ln 9) / 9
    ],
)
def test_spatial__mean_over_terms_of_ln_of_points(
    counts: tuple[int, int], sides: tuple[int, int], uniform: float
) -> None:
    views = view_batch(*counts, batch=2)
    student, teacher = relation_tokens(*counts, 2), relation_tokens(counts[0], 0, 2, seed=1)
    head = SpatialRelationHead(2, *sides)
    result = head(uniform_student(student), teacher, views)
    assert result["loss_spatial"].item() == pytest.approx(uniform, abs=1e-6)
    assert result["stat/spatial_of_uniform"].item() == pytest.approx(1, abs=1e-12)
    result = head(student, teacher, views)
    share = result["stat/spatial_of_uniform"]
    assert share.item() == pytest.approx(result["loss_spatial"].item() / uniform, rel=1e-6)
    assert not share.requires_grad and abs(share.item() - 1) > 1e-3


def test_channel__ln_of_width() -> None:
    """4 channels: ln 4 = 1.3862944."""
    views = view_batch(2, 3, batch=2)
    student, teacher = relation_tokens(2, 3, 2), relation_tokens(2, 0, 2, seed=1)
    head = ChannelRelationHead()
    result = head(uniform_student(student), teacher, views)
    assert result["stat/channel_of_uniform"].item() == pytest.approx(1, abs=1e-12)
    result = head(student, teacher, views)
    share = result["stat/channel_of_uniform"]
    assert share.item() == pytest.approx(result["loss_channel"].item() / 1.3862944, rel=1e-6)
    assert not share.requires_grad


def test_sere__shares_have_no_weight_and_are_not_in_the_total() -> None:
    model = tiny.build(tiny.sere())
    results = model(tiny.view_batch(), mode="loss")
    assert results["loss_channel"].item() == pytest.approx(
        0.5 * math.log(tiny.WIDTH) * results["stat/channel_of_uniform"].item(), rel=1e-5
    )
    total, logged = model.parse_losses(results)
    parts = [value for name, value in results.items() if name.startswith("loss")]
    assert total.item() == pytest.approx(sum(parts).item(), rel=1e-6)
    assert {"stat/spatial_of_uniform", "stat/channel_of_uniform"} < set(logged)


def silent(head: torch.nn.Module) -> torch.nn.Module:
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    return head


@pytest.mark.parametrize(
    ("head", "term"),
    [(PatchRelationHead(9, side=3), "rel"), (PatchPositionHead(9, side=3), "abs_pos")],
    ids=["relation", "position"],
)
def test_relvit__ln_of_classes(head: torch.nn.Module, term: str) -> None:
    """9 relations, and 3 x 3 places: ln 9 = 2.1972246 both times."""
    tokens = torch.randn(2, 9, 9, generator=torch.Generator().manual_seed(0))
    result = head(tokens)
    share = result[f"stat/{term}_of_uniform"]
    assert share.item() == pytest.approx(result[f"loss_{term}"].item() / 2.1972246, rel=1e-6)
    assert not share.requires_grad
    assert silent(head)(tokens)[f"stat/{term}_of_uniform"].item() == pytest.approx(1, abs=1e-6)


def factors(logits: Tensor) -> AggregatedTokens:
    """Two views of one patch each with these logits."""
    rows = torch.cat([logits, logits])
    return AggregatedTokens(rows, PatchLogits(rows, torch.eye(len(logits[0])), (1, 1)))


def test_selfpatch__ln_of_prototypes() -> None:
    """3 prototypes: ln 3 = 1.0986123."""
    views = ViewBatch(torch.zeros(2, 3, 2, 2), None, None, None, 2, 0)
    teacher = factors(torch.tensor([[0.3, 0.1, 0.0]]))
    head = PatchDistillationHead(3)
    result = head(factors(torch.tensor([[0.1, 0.3, 0.0]])), teacher, views)
    share = result["stat/patch_of_uniform"]
    assert share.item() == pytest.approx(result["loss_patch"].item() / 1.0986123, rel=1e-6)
    assert not share.requires_grad
    uniform = head(factors(torch.zeros(1, 3)), teacher, views)
    assert uniform["stat/patch_of_uniform"].item() == pytest.approx(1, abs=1e-6)
