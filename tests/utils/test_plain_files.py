"""YAML, JSON and pickles that MMEngine reads, in the tools' processes and for configurations."""

import json
import os
import pickle
from pathlib import Path

import mmengine
import numpy as np
import pytest

from mmrel.apis import get_backbone
from mmrel.utils.config import load_config
from mmrel.utils.errors import UsageError
from mmrel.utils.plain_files import plain_files


class Call:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.canary}",)


def evil(canary: Path) -> str:
    return f"model: !!python/object/apply:os.system ['touch {canary}']\n"


def test_yaml__the_hole_is_real(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(evil(tmp_path / "canary"))
    mmengine.load(str(path))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("first", ["x.yml", "x.yaml", "from.py", "from.json"])
def test_config__yaml_runs_nothing(first: str, tmp_path: Path) -> None:
    """Given itself, or as the ``_base_`` of another configuration; by the tools and by ``get_backbone``."""
    canary = tmp_path / "canary"
    for name in ("x.yml", "x.yaml"):
        (tmp_path / name).write_text(evil(canary))
    (tmp_path / "from.py").write_text("_base_ = ['x.yml']\n")
    (tmp_path / "from.json").write_text('{"_base_": "x.yaml"}')
    for load in (load_config, get_backbone):
        with pytest.raises(
            UsageError, match=r"cannot be read as a configuration .*python/object/apply"
        ):
            load(str(tmp_path / first))
    assert not canary.exists()


def test_config__plain_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("model: {type: A, sizes: [1, 2]}\nlr: 1.0e-3\n")
    (tmp_path / "y.py").write_text("_base_ = 'x.yml'\nmodel = dict(type='B')\n")
    config = load_config(str(tmp_path / "y.py"))
    assert config.model == {"type": "B", "sizes": [1, 2]} and config.lr == 0.001


def test_plain_files__are_only_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"boxes": np.arange(4.0), "names": ["a"]}))
    with plain_files():
        assert mmengine.load(str(path))["boxes"].tolist() == [0, 1, 2, 3]
    path.write_bytes(pickle.dumps(Call(tmp_path / "canary"), 2))
    with (
        plain_files(),
        pytest.raises(ValueError, match=r"posix\.system was not .*nothing in it was ex"),
    ):
        mmengine.load(str(path))
    assert not (tmp_path / "canary").exists()
    mmengine.load(str(path))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "content", ["[1]", "", "{", json.dumps({"_base_": 3}), json.dumps({"_base_": "none.py"})]
)
def test_config__json_that_is_no_configuration(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"x\.json cannot be read as a configuration"):
        load_config(str(path))


def test_config__python_that_fails_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("a = 1\nb = a / 0\n")
    with pytest.raises(UsageError, match="ZeroDivisionError: division by zero in line 2"):
        load_config(str(path))
