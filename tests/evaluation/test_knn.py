"""k-NN classification against the plain loop."""

import pytest
import torch
from reference.knn import knn_votes

from mmrel.evaluation import knn_accuracy, knn_classify
from mmrel.structures import TokenViews


def features(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_classify__equals_the_plain_loop(chunk: int, temperature: float) -> None:
    train, test = features(30, 0), features(11, 1)
    labels = torch.arange(30) % 7
    ks = (1, 5, 20, 100)
    ranked = knn_classify(train, labels, test, ks, temperature, 7, chunk)
    for k in ks:
        for row, query in zip(ranked[k], test, strict=True):
            votes = knn_votes(train.tolist(), labels.tolist(), query.tolist(), k, temperature)
            expected = sorted(votes, key=lambda label: -votes[label])[: min(5, k)]
            assert row.tolist()[: len(expected)] == expected


def test_classify__nearest_wins_by_weight_not_by_count() -> None:
    """One neighbour at similarity 1 against two at 0.5: exp(1 / .07) is more than twice exp(.5 / .07)."""
    train = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.5, -(0.75**0.5)]])
    ranked = knn_classify(train, torch.tensor([1, 0, 0]), torch.tensor([[2.0, 0.0]]), (3,))
    assert ranked[3].tolist() == [[1, 0]]


def test_accuracy__top1_and_top5() -> None:
    train = (torch.eye(6), torch.arange(6))
    test = (torch.eye(6) + 0.01, torch.tensor([0, 1, 2, 3, 0, 0]))
    result = knn_accuracy(train, test, (1, 6))
    assert result["top1_k1"] == pytest.approx(100 * 4 / 6)
    assert result["top5_k1"] == result["top1_k1"]
    assert result["top5_k6"] >= result["top1_k6"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3, 2), torch.zeros(3).long(), torch.ones(2, 3), (1,)), "N labels"),
        ((torch.ones(0, 2), torch.zeros(0).long(), torch.ones(2, 2), (1,)), "none of them empty"),
        ((torch.ones(3, 2), torch.zeros(3).long(), torch.ones(2, 2), (0,)), "above 0"),
        ((torch.ones(3, 2), torch.zeros(3).long(), torch.ones(2, 2), (1,), 0.0), "above 0"),
    ],
)
def test_classify__bad_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_classify(*arguments)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("where", ["bank", "validation"])
def test_classify__features_without_direction(value: float, where: str) -> None:
    """``topk`` takes any neighbour for the nearest among NaN, and for a zero vector."""
    train, test = torch.eye(4), torch.eye(4)[:2]
    broken = train if where == "bank" else test
    broken[1] = value
    size = len(broken)
    with pytest.raises(
        ValueError, match=f"1 of {size} {where} features have no direction.*number 1"
    ):
        knn_classify(train, torch.arange(4), test, (1,))
    with pytest.raises(ValueError, match="have no direction"):
        knn_accuracy((train, torch.arange(4)), (test, torch.arange(2)), (1,))


def test_token_views__three_kinds_of_feature() -> None:
    patches = torch.arange(8.0).reshape(1, 4, 2)
    tokens = TokenViews(torch.tensor([[5.0, 7.0]]), patches, patches, (2, 2))
    assert tokens.feature("cls").tolist() == [[5.0, 7.0]]
    assert tokens.feature("avg").tolist() == [[3.0, 4.0]]
    assert tokens.feature("cls+avg").tolist() == [[5.0, 7.0, 3.0, 4.0]]
    with pytest.raises(ValueError, match="'cls'"):
        tokens.feature("mean")
