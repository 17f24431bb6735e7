"""No door of a process that mmrel's tools start executes anything in a file."""

import os
import subprocess
import sys
import time
from argparse import ArgumentError
from collections.abc import Iterator
from pathlib import Path

import doors
import payloads
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmrel.launch import safe_loading
from mmrel.launch.runner import build_runner
from mmrel.utils import UsageError
from mmrel.utils.checkpoint_file import read_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, doors.Door]]:
    """Runner and models are built once; each test installs the reader anew."""
    yield doors.checkpoint_doors(tmp_path_factory.mktemp("doors"))
    safe_loading.restore_loading()


@pytest.fixture(autouse=True)
def _installed() -> None:
    safe_loading.load_safely()


def test_payloads__the_reported_hole_is_real(tmp_path: Path) -> None:
    """torch's own reader with ``getattr`` on its list, as MMEngine calls it, executes the program."""
    safe_loading.restore_loading()
    canary = tmp_path / "canary"
    program = payloads.PROGRAMS["globals of a rebuild"](canary)
    path = payloads.write(tmp_path / "x.pth", program, "zip")
    with torch.serialization.safe_globals([(getattr, "builtins.getattr")]):
        torch.load(path, weights_only=True)
    assert canary.exists()


@pytest.mark.parametrize("form", payloads.FORMS)
@pytest.mark.parametrize("name", payloads.PROGRAMS)
def test_doors__run_no_payload(
    name: str, form: str, opened: dict[str, doors.Door], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    path = payloads.write(tmp_path / "x.pth", payloads.PROGRAMS[name](canary), form)
    for door, enter in opened.items():
        outcome, message = doors.try_door(enter, path)
        assert not canary.exists(), f"{door} ran it"
        if door != "search for resume":
            assert outcome == "refused" and ("x.pth" in message or "of bytes" in door), door
    assert list(tmp_path.iterdir()) == [path]


def test_doors__run_no_code_in_other_archives(
    opened: dict[str, doors.Door], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    files = [
        payloads.script_archive(tmp_path / "script.pth"),
        payloads.tar_archive(tmp_path / "tar.pth", canary),
        payloads.code_in_meta(tmp_path / "meta.pth", canary),
    ]
    for path in files:
        for door, enter in opened.items():
            doors.try_door(enter, path)
            assert not canary.exists(), f"{door} ran {path.name}"


def test_doors__refuse_a_bomb_in_time(opened: dict[str, doors.Door], tmp_path: Path) -> None:
    """10,000 nested tuples, beside good weights, through each."""
    path = payloads.write(tmp_path / "x.pth", b")" + b"\x85" * 10_000, "zip")
    for door, enter in opened.items():
        start = time.perf_counter()
        assert "over 100 deep" in (doors.try_door(enter, path)[1] or str(enter(path))), door
        assert time.perf_counter() - start < 5


def test_load_safely__every_scheme_and_every_way_to_load(tmp_path: Path) -> None:
    """Installed, nothing else than the closed reader opens a file; uninstalled, all is as before."""
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {"a": torch.ones(2)}, "x": os.getcwd}, path)
    for load in (
        lambda: torch.load(path, weights_only=False),
        lambda: torch.load(path, pickle_module=None, weights_only=False, mmap=True),
        lambda: CheckpointLoader.load_checkpoint(str(path)),
        lambda: torch.hub.load_state_dict_from_url(path.as_uri(), model_dir=str(tmp_path / "hub")),
    ):
        with pytest.raises(ValueError, match="getcwd was not an allowed global"):
            load()
    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    wrapped = {loader.__module__ for loader in CheckpointLoader._schemes.values()}
    assert len(CheckpointLoader._schemes) >= 8 and all(
        hasattr(loader, "__wrapped__") for loader in CheckpointLoader._schemes.values()
    ), wrapped
    safe_loading.restore_loading()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    assert torch.load(path, weights_only=False)["x"] is os.getcwd


def test_load_safely__moves_to_the_device_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": [torch.ones(2)], "b": (torch.ones(1),), "c": 1}, path)
    loaded = torch.load(path, map_location="meta")
    assert loaded["a"][0].is_meta and loaded["b"][0].is_meta and loaded["c"] == 1
    assert not torch.load(path, map_location=lambda storage, _: storage)["a"][0].is_meta


def test_load_safely__trust_lets_the_file_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = payloads.write(tmp_path / "x.pth", payloads.shell(canary), "zip")
    safe_loading.load_safely(trust=True)
    assert read_checkpoint(path)["x"] == 0 and canary.exists()
    canary.unlink()
    assert CheckpointLoader.load_checkpoint(str(path), logger=None)["x"] == 0 and canary.exists()
    safe_loading.restore_loading()
    with pytest.raises(ValueError, match="not an allowed global"):
        read_checkpoint(path)


TOOLS = [
    "train.py",
    *(
        pytest.param(f"{t}.py", marks=pytest.mark.slow)
        for t in ("test", "knn", "convert_checkpoint")
    ),
]


@pytest.mark.parametrize("tool", TOOLS)
def test_tools__run_no_payload(tool: str, tmp_path: Path) -> None:
    """A few real processes, each with a file that the reader which MMEngine brings would execute."""
    canary = tmp_path / "canary"
    program = payloads.PROGRAMS["globals of a rebuild"](canary)
    path = payloads.write(tmp_path / "x.pth", program, "zip")
    config = ROOT / "configs/quickstart/sit_vit-tiny-p8_scenes.py"
    arguments = [config, path]
    if tool == "convert_checkpoint.py":
        arguments = [path, tmp_path / "out.pth"]
    if tool == "train.py":
        arguments = [config, "--resume", path, "--work-dir", tmp_path / "run"]
    if tool == "test.py":
        config = ROOT / "configs/segmentation/vit-tiny-p8_upernet_scenes.py"
        arguments = [config, path, "--work-dir", tmp_path / "run"]
    ended = subprocess.run(
        [sys.executable, ROOT / "tools" / tool, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert ended.returncode not in (0, -9) and not canary.exists(), ended.stderr[-500:]


def test_runner__tells_what_does_not_fit_in_one_paragraph(
    opened: dict[str, doors.Door], tmp_path: Path
) -> None:
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {"layer.weight": torch.ones(2, 3)}, "meta": {}}, path)
    with pytest.raises(UsageError, match=r"x\.pth cannot be loaded \(KeyError: 'epoch'\)"):
        opened["resume"](path)
    with pytest.raises(UsageError, match=r"init_cfg cannot be loaded .*backbone\. is not in the"):
        opened["init_cfg with prefix"](path)
    torch.save({"state_dict": {"layer.weight": 5}}, path)
    with pytest.raises(UsageError, match="no tensors under layer.weight of its state_dict"):
        opened["load_from"](path)


def test_runner__announces_trust(tmp_path: Path) -> None:
    safe_loading.load_safely(trust=True)
    settings = dict(model=dict(type="DoorModel"), work_dir=str(tmp_path), experiment_name="trusts")
    runner = build_runner(Config(settings))
    log = Path(runner.log_dir) / f"{runner.timestamp}.log"
    assert "--trust-checkpoint: the checkpoints of this run may execute code" in log.read_text()


@pytest.mark.parametrize(
    "option", ["a", "=1", "a=(1,[", "a=" + "[" * 400 + "]" * 400, "a=" + "1" * 20_000, "a=\0"]
)
def test_options__that_cannot_be_parsed_are_errors_of_the_command_line(option: str) -> None:
    with pytest.raises(ArgumentError, match=r"is no key=value|the value of a cannot be parsed"):
        doors.parsed_options(option)


@pytest.mark.parametrize("option", ["hooks.9.x=1", "train_dataloader=5", "data_root.x.y=1"])
def test_options__that_do_not_fit_are_usage_errors(option: str) -> None:
    with pytest.raises(UsageError, match=option.partition("=")[0].partition(".")[0]):
        doors.merge(option)
    assert doors.merge("train_dataloader.batch_size=8").train_dataloader.batch_size == 8
