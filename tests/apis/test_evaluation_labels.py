"""Labels that tell checkpoints apart."""

from pathlib import Path

import pytest

from mmrel.apis.evaluation.labels import choose_labels
from mmrel.utils.errors import UsageError


@pytest.mark.parametrize(
    ("files", "methods", "labels"),
    [
        (["a/epoch_9.pth", "b/epoch_9.pth"], ["sere", "mocov3"], ["SERE", "MoCo v3"]),
        (["x/a/last.pth", "x/b/last.pth"], ["sere", "sere"], ["SERE a/last", "SERE b/last"]),
        (["a/one.pth", "a/two.pth"], ["", ""], ["one", "two"]),
        (["one.pth", "one.pt"], ["", ""], ["one 1", "one 2"]),
        (["own/x.pth"], ["mine"], ["mine"]),
    ],
)
def test_choose_labels(files: list, methods: list, labels: list) -> None:
    assert choose_labels([Path(file) for file in files], methods) == labels


@pytest.mark.parametrize("given", [["a"], ["a", "a"], ["a", " "]])
def test_choose_labels__refuses(given: list) -> None:
    with pytest.raises(UsageError, match="one label each, not empty, no two alike"):
        choose_labels([Path("a.pth"), Path("b.pth")], ["", ""], given)
    assert choose_labels([Path("a.pth")], ["sere"], ["mine"]) == ["mine"]
