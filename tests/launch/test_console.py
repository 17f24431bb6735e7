"""The command ``mmrel``: every tool by name."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmrel.launch import console
from mmrel.version import __version__

TOOLS = Path(__file__).parents[2] / "tools"
MAINTENANCE = {"model_index", "visualize_reconstruction", "wheelhouse"}
"""Tools of a checkout, and one that ``visualize`` has replaced for users."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from mmrel.launch.console import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )


def test_commands__are_all_tools_for_users() -> None:
    assert set(console.COMMANDS.values()) == {t.stem for t in TOOLS.glob("*.py")} - MAINTENANCE


def test_usage__describes_every_command() -> None:
    lines = console.usage().splitlines()
    for name, tool in console.COMMANDS.items():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.split(maxsplit=1)[1] == console.summary(TOOLS / f"{tool}.py") != ""


def test_command__runs_its_tool_under_its_own_name() -> None:
    done = run("export-backbone", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: mmrel export-backbone ")


def test_command__errors_are_its_tools(tmp_path: Path) -> None:
    done = run("export-backbone", str(tmp_path / "none.pth"), str(tmp_path / "out.pth"))
    assert done.returncode == 1
    assert "none.pth" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help__lists_the_commands(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmrel", *arguments])
    console.main()
    assert capsys.readouterr().out.startswith("usage: mmrel COMMAND")


def test_version(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mmrel", "--version"])
    console.main()
    assert capsys.readouterr().out == f"mmrel {__version__}\n"


def test_unknown_command__names_the_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmrel", "pretrian", "photos"])
    with pytest.raises(SystemExit, match="2"):
        console.main()
    error = capsys.readouterr().err
    assert "'pretrian'" in error and "pretrain, finetune, features" in error
