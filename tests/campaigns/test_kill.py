"""A small kill campaign; ``python tests/campaigns/kill.py`` is the large one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kills", "10", "--runs", "toy"],
        pytest.param(["--kills", "60", "--seed", "1"], marks=pytest.mark.slow),
    ],
)
def test_kill__nothing_is_lost(arguments: list[str]) -> None:
    """In a process of its own: it forks, which a test runner with threads should not."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "campaigns" / "kill.py"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"kills: {arguments[1]} " in result.stdout
    assert "faults (lost, torn, different): 0" in result.stdout
