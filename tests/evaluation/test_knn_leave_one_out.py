"""k-NN without a split: each sample by its nearest others, against the plain loop and scikit-learn."""

import pytest
import torch
from reference import knn as reference
from torch import Tensor

from mmrel.evaluation import knn_classify, leave_one_out
from mmrel.evaluation.knn import leave_one_out_accuracy


def samples(count: int = 40, classes: int = 5, width: int = 6) -> tuple[Tensor, Tensor]:
    """Overlapping clusters, so that some answers are wrong."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(classes, (count,), generator=generator)
    centers = torch.randn(classes, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return centers[labels] + noise, labels


@pytest.mark.parametrize("chunk", [1, 7, 512])
@pytest.mark.parametrize("k", [1, 5, 39])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_leave_one_out__equals_the_plain_loop(chunk: int, k: int, temperature: float) -> None:
    features, labels = samples()
    expected = reference.leave_one_out(features.tolist(), labels.tolist(), k, temperature)
    found = leave_one_out(features, labels, k, temperature, chunk)
    assert found.dtype == torch.long and found.tolist() == expected
    assert 0 < (found != labels).sum() < len(labels)
    if temperature == 0.07:
        assert leave_one_out(features, labels, k).tolist() == expected


def test_leave_one_out__equal_weights_as_scikit_learn() -> None:
    """An endless temperature makes a majority of the votes; an odd k and two classes leave no ties."""
    neighbours = pytest.importorskip("sklearn.neighbors")
    features, labels = samples(classes=2)
    for k in (1, 3, 9):
        classifier = neighbours.KNeighborsClassifier(k, metric="cosine")
        expected = classifier.fit(features.numpy(), labels.numpy()).predict(None)
        assert leave_one_out(features, labels, k, temperature=1e6).tolist() == expected.tolist()


def test_leave_one_out__equals_classification_by_the_others() -> None:
    features, labels = samples()
    for row, answer in enumerate(leave_one_out(features, labels, 10)):
        rest = torch.arange(len(labels)) != row
        ranked = knn_classify(features[rest], labels[rest], features[row : row + 1], (10,))
        assert ranked[10][0, 0] == answer


def test_leave_one_out__a_duplicate_votes_and_the_sample_itself_does_not() -> None:
    """Samples 0, 1 and 2 are alike; were 0 among its own neighbours, its label would win for k = 1."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([3, 1, 1, 0, 2])
    assert leave_one_out(features, labels, 1)[[0, 3, 4]].tolist() == [1, 2, 0]
    assert leave_one_out(features, labels, 2)[:3].tolist()[0] == 1
    copies = torch.eye(3).repeat_interleave(2, dim=0)
    assert leave_one_out(copies, torch.arange(6), 1).tolist() == [1, 0, 3, 2, 5, 4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_classification__half_precision(dtype: torch.dtype) -> None:
    """exp(1 / 0.07) is 1.6 million, more than float16 holds."""
    features, labels = (part.clone() for part in samples())
    half = features.to(dtype)
    expected = leave_one_out(half.float(), labels, 10)
    assert leave_one_out(half, labels, 10).tolist() == expected.tolist()
    ranked, wanted = (knn_classify(x, labels, x[:9], (10,))[10] for x in (half, half.float()))
    assert ranked.tolist() == wanted.tolist()


def test_classification__a_small_temperature_takes_the_nearest() -> None:
    """exp(1 / 0.001) is more than any float holds."""
    features, labels = samples()
    nearest = leave_one_out(features.float(), labels, 1)
    assert leave_one_out(features.float(), labels, 20, 1e-5).tolist() == nearest.tolist()


def test_accuracy__counts_the_right_ones() -> None:
    features, labels = samples()
    accuracy = leave_one_out_accuracy((features, labels), (5, 20))
    for k in (5, 20):
        right = leave_one_out(features, labels, k) == labels
        assert accuracy[f"top1_k{k}"] == pytest.approx(100 * right.double().mean().item())
    assert accuracy["top1_k20"] < accuracy["top5_k20"] <= 100


EYE = torch.eye(4)
FOUR = torch.arange(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(0, 3), FOUR[:0], 1), "none of them empty"),
        ((EYE, FOUR[:3], 1), "N labels"),
        ((torch.ones(3), FOUR[:3], 1), "N labels"),
        ((EYE, FOUR, 0), "above 0"),
        ((EYE, FOUR, 1, 0.0), "above 0"),
        ((EYE, FOUR, 4), "k is 4, but each of the 4 samples has 3 others; give a smaller k"),
        ((EYE[:1], FOUR[:1], 1), "has 0 others"),
        ((EYE, FOUR.float(), 1), "labels are torch.float32"),
        ((EYE, FOUR - 1, 1), "the smallest -1; give whole numbers from 0 on"),
        ((EYE * torch.tensor([1, 1, 0, 1]), FOUR, 1), "number 2 is zero"),
        ((EYE * torch.nan, FOUR, 1), "not finite"),
    ],
)
def test_leave_one_out__bad_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        leave_one_out(*arguments)
    features, labels, k, *temperature = arguments
    with pytest.raises(ValueError, match=message):
        leave_one_out_accuracy((features, labels), (1, k), *temperature)
