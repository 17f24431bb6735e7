"""Two families of OpenMMLab's packages, one mmrel: the same losses, the right extras, MIM, what the README says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

from mmrel.utils import hosts

ROOT = Path(__file__).resolve().parents[1]
OTHER = ROOT / ".venv" / "bin" / "python"
RECIPE = "ibot-sere_vit-tiny-p8_scenes.py"
NAME = "ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k"
TIMES = {"time", "data_time", "eta", "memory"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds mmrel as site-packages would: the package with its ``.mim``, and the metadata."""
    site = tmp_path_factory.mktemp("site")
    arguments = ["setup.py", "-q", "build_py", "-d", str(site), "dist_info", "-o", str(site)]
    code = (
        f"import sys; sys.argv = {arguments!r}; __file__ = 'setup.py'; exec(open(__file__).read())"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120, capture_output=True
    )
    return site


def needs(installed: Path, extra: str) -> Iterator[Requirement]:
    """What ``pip install 'mmrel[extra]'`` asks for."""
    (metadata,) = installed.glob("mmrel-*.dist-info")
    for line in PathDistribution(metadata).requires or []:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            yield need


@pytest.mark.parametrize(
    "extra",
    [
        *("", "detection", "segmentation", "scenes", "fast", "logging", "safetensors", "export"),
        *("evidence", "all", "test", "dev"),
    ],
)
def test_extras__neutral_ones_bring_no_openmmlab_package(installed: Path, extra: str) -> None:
    names = {need.name for need in needs(installed, extra)}
    assert not names & {name for host in hosts.HOSTS for name in host.distributions}
    assert extra != "detection" or {"pycocotools", "shapely"} <= names
    assert (extra == "evidence") == ("elpv-dataset" in names)  # large, and not for commercial use


@pytest.mark.parametrize("part", ["", "-detection", "-segmentation", "-all"])
@pytest.mark.parametrize("family", ["onedl", "openmmlab"])
def test_extras__of_a_family_bring_that_family_alone(
    installed: Path, family: str, part: str
) -> None:
    found = {need.name: need.specifier for need in needs(installed, family + part)}
    modules = {
        "": ("mmengine", "mmcv", "mmpretrain"),
        "-detection": ("mmengine", "mmcv", "mmpretrain", "mmdet"),
        "-segmentation": ("mmengine", "mmcv", "mmpretrain", "mmseg"),
        "-all": tuple(host.module for host in hosts.HOSTS),
    }[part]
    own = {host.module: [host.onedl, *host.openmmlab] for host in hosts.HOSTS}
    wanted = {own[module][0 if family == "onedl" else 1] for module in modules}
    every = {name for names in own.values() for name in names}
    assert found.keys() & every == wanted
    if family == "openmmlab":
        assert not found["numpy"].contains("2.0.0")
        assert not found["mmcv-lite"].contains("2.2.0")


def test_constraints__the_two_families_are_those_of_the_table_in_the_docs() -> None:
    """The page on installing tells the versions that are tested: the pins, to the digit."""
    page = (ROOT / "docs" / "install.md").read_text()
    pins = {
        name: version
        for file in ("constraints.txt", "constraints-openmmlab.txt")
        for name, version in re.findall(
            r"^([\w-]+)==([\w.]+)", (ROOT / file).read_text(), re.MULTILINE
        )
    }
    for host in hosts.HOSTS:
        old, new = pins[host.openmmlab[0]], pins[host.onedl]
        row = f"| {host.module} | {host.openmmlab[0]} {old} | {host.onedl} {new} |"
        assert row in page
        assert Version(host.minimum) == Version(old)
        assert Version(new) < Version(host.below)


def test_installed_family__from_the_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    present: set[str] = set()
    monkeypatch.setattr(
        hosts, "_distribution_version", lambda name: "1.0" if name in present else None
    )
    assert hosts.installed_family() is None
    present.add("mmcv")
    assert hosts.installed_family() == "openmmlab"
    assert "pip install 'mmdet>=3.3.0,<4.0.0'" in hosts.missing_host("mmdet")
    assert "mmrel[" not in hosts.missing_host("mmdet")
    present.add("onedl-mmengine")
    assert hosts.installed_family() == "onedl"
    assert "pip install 'mmrel[onedl-detection]'" in hosts.missing_host("mmdet")


def test_check_hosts__both_families_at_once_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "HOSTS", hosts.HOSTS[1:2])
    monkeypatch.setattr(hosts, "_distribution_version", lambda name: "2.1.0")
    with pytest.warns(UserWarning, match="pip uninstall onedl-mmcv mmcv-lite mmcv"):
        hosts.check_hosts()


def mim(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run MIM elsewhere, on the installation in that folder."""
    pytest.importorskip("mim", exc_type=ImportError)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "mim", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )


def test_mim_search__lists_the_recipe(installed: Path, tmp_path: Path) -> None:
    done = mim(installed, tmp_path, "search", "mmrel", "--config", NAME, "--exclude-field", "paper")
    assert f"configs/sere/{NAME}.py"[:40] in done.stdout, done.stderr


def test_mim_download__says_that_there_is_nothing(installed: Path, tmp_path: Path) -> None:
    done = mim(installed, tmp_path, "download", "mmrel", "--config", NAME, "--dest", "weights")
    assert done.returncode
    assert "no_checkpoints_are_published" in done.stderr.splitlines()[-3:].__str__()


def images(folder: Path) -> Path:
    """24 pictures of noise in two classes."""
    generator = np.random.default_rng(0)
    for index in range(24):
        path = folder / "classification" / "train" / f"c{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    return folder


def options(folder: Path) -> list[str]:
    """Six steps of four pictures on one thread, without k-NN; each step is logged."""
    return [
        "--cfg-options",
        f"data_root={folder}",
        "train_dataloader.batch_size=4",
        "train_dataloader.persistent_workers=False",
        "train_cfg.max_epochs=1",
        "default_hooks.logger.interval=1",
        "default_hooks.knn=None",
        "visualizer.vis_backends.0.type=LocalVisBackend",
    ]


def logged(work_dir: Path) -> list[dict[str, float]]:
    """What every step logged, in full precision, without the times."""
    (path,) = work_dir.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: v for name, v in line.items() if name not in TIMES} for line in lines]


@pytest.fixture(scope="module")
def trained(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """The pictures, and what MIM's training by this environment's family logged."""
    folder = tmp_path_factory.mktemp("trained")
    data = images(folder / "data")
    arguments = ["train", "mmrel", RECIPE, "--gpus", "0", "--work-dir", "run", *options(data)]
    done = mim(installed, folder, *arguments)
    assert "Training finished successfully" in done.stdout, done.stderr[-3000:]
    return data, logged(folder / "run")


def test_mim_train__runs_a_shipped_recipe_by_name(trained: tuple[Path, list[dict]]) -> None:
    assert [line["iter"] for line in trained[1]] == [1, 2, 3, 4, 5, 6]
    assert len({line["loss"] for line in trained[1]}) == 6


@pytest.mark.skipif(
    hosts.installed_family() != "openmmlab" or not OTHER.exists(),
    reason="compares .venv-openmmlab with .venv",
)
def test_train__six_log_lines_equal_in_both_families(
    trained: tuple[Path, list[dict]], tmp_path: Path
) -> None:
    """OpenMMLab's own packages trained already; onedl's do the same now."""
    config = ROOT / "configs" / "quickstart" / RECIPE
    command = [OTHER, ROOT / "tools" / "train.py", config, "--work-dir", tmp_path]
    subprocess.run(
        [*map(str, command), *options(trained[0])],
        check=True,
        capture_output=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert logged(tmp_path) == trained[1]
