"""The protocol of DINO and iBOT (arXiv 2104.14294, 2111.07832), wherever nothing else is said."""

import inspect

import pytest

from mmrel.engine.hooks import KNNHook
from mmrel.evaluation import knn_accuracy, knn_classify


@pytest.mark.parametrize("function", [KNNHook, knn_accuracy, knn_classify])
def test_temperature__is_that_of_the_papers(function: object) -> None:
    assert inspect.signature(function).parameters["temperature"].default == 0.07


def test_hook__class_token_of_the_teacher_and_10_and_20_neighbours() -> None:
    parameters = inspect.signature(KNNHook).parameters
    defaults = {name: parameters[name].default for name in ("feature", "network", "k", "max_bank")}
    assert defaults == {"feature": "cls", "network": "teacher", "k": (10, 20), "max_bank": None}
