"""tools/wheelhouse.py: which distributions are collected; nothing is downloaded here."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmrel.utils import UsageError


@pytest.fixture
def wheelhouse() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "wheelhouse.py"
    spec = importlib.util.spec_from_file_location("wheelhouse", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reachable__leaves_out_what_only_torch_pulls(wheelhouse: ModuleType) -> None:
    packages = {
        "mmrel": dict(
            requires_dist=["torch", "numpy", 'pytest; extra == "test"', 'x; extra=="dev"']
        ),
        "torch": dict(requires_dist=["nvidia-cublas", "networkx"]),
        "pytest": dict(requires_dist=['tomli; python_version < "3.11"', "plug-in[fast]"]),
        "plug-in": dict(requires_dist=['speed; extra == "fast"', "networkx"]),
        **{name: {} for name in ("numpy", "networkx", "nvidia-cublas", "speed", "tomli", "x")},
    }
    names = wheelhouse.reachable(packages, "test", "3.12")
    assert names == {"mmrel", "numpy", "pytest", "plug-in", "speed", "networkx"}


@pytest.mark.parametrize("version", ["2.7", "3.9", "three", "312"])
def test_check_version__refuses(version: str, wheelhouse: ModuleType) -> None:
    with pytest.raises(UsageError, match="3.10 or newer"):
        wheelhouse.check_version(version)


def test_check_version__same_side_of_3_11(wheelhouse: ModuleType) -> None:
    other, same = ("3.12", "3.10") if sys.version_info < (3, 11) else ("3.10", "3.12")
    wheelhouse.check_version(same)
    with pytest.raises(UsageError, match=f"make install PYTHON={other}"):
        wheelhouse.check_version(other)


def test_build_pure_wheels__refuses_compiled_operators(
    wheelhouse: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheelhouse, "pip", lambda *arguments: None)
    (tmp_path / "onedl_mmengine-0.10.12-py3-none-any.whl").write_text("")
    wheelhouse.build_pure_wheels(tmp_path, "onedl-all")
    (tmp_path / "onedl_mmcv-2.3.6-cp312-cp312-linux_x86_64.whl").write_text("")
    with pytest.raises(UsageError, match=r"onedl_mmcv-.*is not pure Python.*pip cache purge"):
        wheelhouse.build_pure_wheels(tmp_path, "onedl-all")
