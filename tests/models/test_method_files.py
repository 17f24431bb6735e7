"""Each method file opens with its step in pseudo-code, which names the files that it runs through."""

import ast
import re
from pathlib import Path

import pytest

MMREL = Path(__file__).parents[2] / "mmrel"
METHODS = ("dino", "ibot", "mocov3", "selfpatch", "sere", "sit", "relvit")


@pytest.mark.parametrize("method", METHODS)
def test_method_file__opens_with_its_step(method: str) -> None:
    source = (MMREL / "models" / "selfsup" / f"{method}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    step = text.partition("One step::\n\n")[2].splitlines()
    assert 5 <= len(step) <= 8
    for line in step:
        named = re.findall(r"[\w/]+\.py", line.partition("#")[2])
        assert named and all((MMREL / name).is_file() for name in named), line
