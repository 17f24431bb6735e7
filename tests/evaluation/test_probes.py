"""Linear probe and logistic regression on fixed features against slow references and scikit-learn."""

import builtins
import sys
from typing import Any

import pytest
import torch
from reference import probes as reference
from torch import Tensor
from torch.nn import functional

from mmrel.evaluation.probes import STRENGTHS, ProbeResult, fit_linear_heads, fit_logistic
from mmrel.evaluation.probes.linear import _Heads
from mmrel.evaluation.probes.result import ProbeData

CLASSES, CHANNELS = 6, 5
Data = tuple[Tensor, Tensor, Tensor, Tensor]


def features(
    dtype: torch.dtype = torch.float64, classes: int = CLASSES, spread: float = 1.5
) -> Data:
    """Overlapping clusters: no classifier is perfect."""
    rng = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, CHANNELS, generator=rng, dtype=dtype)
    sets = []
    for count in (90, 60):
        labels = torch.arange(count) % classes
        noise = torch.randn(count, CHANNELS, generator=rng, dtype=dtype)
        sets += [centers[labels] + spread * noise, labels]
    return tuple(sets)


def accuracy(scores: Tensor, labels: Tensor, k: int = 1) -> float:
    ranks = (scores > scores.gather(1, labels[:, None])).sum(dim=1)
    return 100 * (ranks < k).double().mean().item()


RATES = (0.003, 0.1, 1.0, 30.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_linear__many_rates_are_separate_trainings(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and accuracies of each rate, against a training of its own by torch's SGD; a smaller last batch."""
    kept: list[_Heads] = []
    start = _Heads.__init__

    def keep(self: _Heads, *args: Any) -> None:
        start(self, *args)
        kept.append(self)

    monkeypatch.setattr(_Heads, "__init__", keep)
    train_x, train_y, val_x, val_y = features(dtype)
    settings: dict[str, Any] = dict(epochs=6, batch=32, momentum=0.9, weight_decay=1e-3, seed=3)
    result = fit_linear_heads(train_x, train_y, val_x, val_y, RATES, **settings)
    for i, rate in enumerate(RATES):
        layer = reference.linear_head(train_x, train_y, rate, **settings)
        torch.testing.assert_close(
            kept[0].weights[i], layer.weight.detach(), rtol=tolerance, atol=tolerance
        )
        torch.testing.assert_close(
            kept[0].biases[i], layer.bias.detach(), rtol=tolerance, atol=tolerance
        )
        assert result.accuracy[rate] == pytest.approx(accuracy(layer(val_x), val_y))
        assert result.top5[rate] == pytest.approx(accuracy(layer(val_x), val_y, 5))
    alone = fit_linear_heads(train_x, train_y, val_x, val_y, RATES[1:2], **settings)
    torch.testing.assert_close(
        kept[1].weights[0], kept[0].weights[1], rtol=0, atol=min(tolerance, 1e-6)
    )
    assert alone.accuracy[RATES[1]] == result.accuracy[RATES[1]]
    assert len(set(result.accuracy.values())) > 1 and 20 < result.best < 100


def test_linear__progress_and_seed() -> None:
    data, seen = features(), []
    first = fit_linear_heads(*data, (0.1,), epochs=3, progress=lambda *pair: seen.append(pair))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert fit_linear_heads(*data, (0.1,), epochs=3) == first


def test_result__best_is_the_highest_and_top5_needs_five_classes() -> None:
    result = ProbeResult({0.1: 30.0, 0.2: 50.0, 0.3: 50.0}, {})
    assert (result.best, result.best_setting) == (50.0, 0.2)
    few = features(classes=4)
    assert fit_linear_heads(*few, (0.1,), epochs=1).top5 == {}
    assert fit_logistic(*few, (0.1,)).top5 == {}


def test_linear__a_rate_that_diverges_has_nothing_right() -> None:
    train_x, train_y, val_x, val_y = features(torch.float32)
    data = (100 * train_x, train_y, 100 * val_x, val_y)
    result = fit_linear_heads(*data, (0.1, 1e38), epochs=4)
    assert result.accuracy[1e38] == 0 and result.best_setting == 0.1
    assert result.accuracy[0.1] == fit_linear_heads(*data, (0.1,), epochs=4).accuracy[0.1]


@pytest.mark.parametrize("strength", [1e-3, 0.1])
def test_logistic__equals_newtons_method(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    train_x, train_y, val_x, val_y = features(spread=0.6)
    weights = reference.logistic_weights(functional.normalize(train_x, dim=1), train_y, strength)
    found = []
    monkeypatch.setattr(
        "mmrel.evaluation.probes.logistic.top_hits",
        lambda scores, *rest: found.append(scores) or scores[:, :2] > 0,
    )
    fit_logistic(train_x, train_y, val_x, val_y, (strength, 1.0))
    expected = functional.normalize(val_x, dim=1) @ weights.T
    torch.testing.assert_close(found[1], expected, rtol=1e-3, atol=1e-3)
    assert (found[1].argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_logistic__equals_scikit_learn(classes: int) -> None:
    """By its own call on normalised features, fitted anew for each strength."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    train_x, train_y, val_x, val_y = features(torch.float32, classes)
    result = fit_logistic(train_x, train_y * 7 - 3, val_x, val_y * 7 - 3)
    assert list(result.accuracy) == list(STRENGTHS)
    train, val = (functional.normalize(x.double(), dim=1).numpy() for x in (train_x, val_x))
    for strength, percent in result.accuracy.items():
        model = linear_model.LogisticRegression(
            C=1 / (strength * len(train)), fit_intercept=False, tol=1e-8, max_iter=5000
        )
        assert percent == pytest.approx(100 * model.fit(train, train_y).score(val, val_y))
    assert classes == 2 or len(set(result.accuracy.values())) > 1


def test_logistic__too_few_steps_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(
        "mmrel.evaluation.probes.logistic.print_log", lambda text, *_: lines.append(text)
    )
    fit_logistic(*features(), (1e-4,), max_iter=2)
    assert len(lines) == 1 and "strength 0.0001 stopped after 2 steps" in lines[0]


def test_logistic__without_scikit_learn_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fails(name: str, *args: Any) -> Any:
        if name.split(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "sklearn.linear_model", raising=False)
    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn.*--method linear"):
        fit_logistic(*features())


@pytest.mark.parametrize("fit", [fit_linear_heads, fit_logistic])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(train_x=torch.zeros(0, 5), train_y=torch.zeros(0).long()), "neither of them empty"),
        (dict(val_x=torch.zeros(0, 5), val_y=torch.zeros(0).long()), "validation features are"),
        (dict(val_x=torch.ones(60, 4)), "5 channels and validation features 4"),
        (dict(train_y=torch.zeros(90).long()), "all 90 training labels are 0"),
        (dict(train_y=torch.arange(91) % 6), r"with labels \(91,\)"),
        (dict(train_y=torch.rand(90)), "wanted whole numbers"),
        (dict(val_y=torch.arange(60) % 8), "2 validation class.* unknown in training.*: 6, 7"),
        (dict(val_x=torch.full((60, 5), torch.nan)), "60 of 60 validation features are not finite"),
    ],
)
def test_data__that_do_not_fit_are_refused(fit: Any, changed: dict, message: str) -> None:
    names = ("train_x", "train_y", "val_x", "val_y")
    with pytest.raises(ValueError, match=message):
        fit(**{**dict(zip(names, features(), strict=True)), **changed})


@pytest.mark.parametrize(
    "settings",
    [
        dict(learning_rates=()),
        dict(learning_rates=(0.1, 0.1)),
        dict(learning_rates=(0.0,)),
        dict(epochs=0),
        dict(batch=0),
        dict(momentum=1.0),
        dict(weight_decay=-1.0),
    ],
)
def test_linear__settings_out_of_range_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="give"):
        fit_linear_heads(*features(), **settings)


@pytest.mark.parametrize("strengths", [(), (0.0,), (0.1, 0.1)])
def test_logistic__strengths_out_of_range_are_refused(strengths: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="give numbers above 0"):
        fit_logistic(*features(), strengths)


def test_data__labels_are_counted_from_0() -> None:
    from mmrel.evaluation.probes.result import check_data

    x = torch.ones(4, 2)
    data = check_data(x, torch.tensor([5, 9, 7, 9]), x, torch.tensor([7, 7, 9, 5]))
    assert isinstance(data, ProbeData) and data.num_classes == 3
    assert data.train_labels.tolist() == [0, 2, 1, 2] and data.val_labels.tolist() == [1, 1, 2, 0]
