"""tools/train.py and tools/test.py from the command line: a whole small run, and early errors."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmrel'], allow_failed_imports=False)
data_root = 'data/none'
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root + '/train', pipeline=pipeline))
test_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root + '/val', pipeline=pipeline))
val_dataloader = test_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg = test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
randomness = dict(seed=0)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127, 127, 127], std=[60, 60, 60]),
    backbone=dict(
        type='VisionTransformer', img_size=16, patch_size=8,
        arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)),
    neck=dict(type='LinearNeck', in_channels=8, out_channels=8, norm_cfg=dict(type='SyncBN'), gap_dim=0),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=8, loss=dict(type='CrossEntropyLoss')))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in ("a", "b"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for index in range(4):
                pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return path


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a tool's main in this process and return its exit status."""

    def run(name: str, *arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        spec = importlib.util.spec_from_file_location(f"tool_{name}", TOOLS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        try:
            module.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_train_then_resume_then_test(config: Path, tool: Callable[..., int]) -> None:
    work, data = config.parent / "work", f"data_root={config.parent / 'data'}"
    common = ("--work-dir", work, "--cfg-options", data)
    assert tool("train", config, "--auto-scale-lr", *common) == 0
    first = torch.load(work / "epoch_1.pth", weights_only=False)
    lr = first["optimizer"]["param_groups"][0]["lr"]
    assert lr == pytest.approx(0.01 * 4 / 8)

    assert tool("train", config, "--resume", *common, "train_cfg.max_epochs=2") == 0
    second = torch.load(work / "epoch_2.pth", weights_only=False)
    assert second["meta"]["iter"] == 2 * first["meta"]["iter"]

    config.write_text(CONFIG.replace("'CheckpointHook'", "'mmrel.AtomicCheckpointHook'"))
    out = config.parent / "metrics.json"
    checkpoint = work / "epoch_2.pth"
    arguments = ("--work-dir", work, "--out", out, "--out-item", "metrics", "--cfg-options", data)
    assert tool("test", config, checkpoint, *arguments) == 0
    assert 0 <= json.loads(out.read_text())["accuracy/top1"] <= 100


def test_train__lr_scaling_counts_accumulation(config: Path, tool: Callable[..., int]) -> None:
    """4 images in each of 4 micro-batches against a base of 8: twice the learning rate, not half of it."""
    options = ("--cfg-options", f"data_root={config.parent / 'data'}")
    work = config.parent / "work"
    accumulate = "optim_wrapper.accumulative_counts=4"
    assert tool("train", config, "--auto-scale-lr", "--work-dir", work, *options, accumulate) == 0
    checkpoint = torch.load(work / "epoch_1.pth", weights_only=False)
    assert checkpoint["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.01 * 16 / 8)


def test_train__cfg_options_name_data_root_only(config: Path, tool: Callable[..., int]) -> None:
    work = config.parent / "work"
    options = ("--cfg-options", f"data_root={config.parent / 'data'}", "train_cfg.max_epochs=1")
    config.write_text(
        CONFIG.replace("'CheckpointHook'", "'mmrel.AtomicCheckpointHook', save_best='auto'")
    )
    assert tool("train", config, "--no-validate", "--work-dir", work, *options) == 0
    assert (work / "epoch_1.pth").is_file()
    written = (work / "tiny.py").read_text()
    assert "data/none" not in written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.py"], "The configuration 'no.py' does not exist"),
        (["CONFIG", "--resume", "no.pth"], "The checkpoint 'no.pth' does not exist"),
        (["CONFIG", "--work-dir", "CONFIG/run"], "cannot be written: Not a directory"),
        (["CONFIG", "--cfg-options", "data_root=/no/where"], "/no/where is not a folder"),
    ],
)
def test_train__user_errors_are_one_paragraph(
    arguments: list[str],
    message: str,
    config: Path,
    tool: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tool("train", *[word.replace("CONFIG", str(config)) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_train__fewer_images_than_a_batch(
    config: Path, tool: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a schedule in epochs it would become a riddle about ``convert_to_iter_based``."""
    options = ["data_root=" + str(config.parent / "data"), "train_dataloader.batch_size=64"]
    options += ["train_dataloader.drop_last=True", f"work_dir={config.parent / 'run'}"]
    assert tool("train", config, "--cfg-options", *options) == 2
    told = capsys.readouterr().err
    assert (
        "error: The training set has 8 images, fewer than a batch of 64, and drop_last=True" in told
    )
    assert "--cfg-options train_dataloader.batch_size=8, or keep" in told


def test_train__amp_and_lr_scaling_need_their_keys(
    config: Path, tool: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(CONFIG.replace("auto_scale_lr", "unused"))
    assert tool("train", config, "--auto-scale-lr") == 2
    assert "auto_scale_lr.base_batch_size" in capsys.readouterr().err


def test_test__user_errors(
    config: Path, tool: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool("test", config, "no.pth", "--out-item", "pred") == 2
    assert "--out FILE" in capsys.readouterr().err
    assert tool("test", config, "no.pth") == 2
    assert "'no.pth' does not exist" in capsys.readouterr().err
    config.write_text(CONFIG.replace("val_cfg = test_cfg", "val_cfg"))
    assert tool("test", config, "no.pth") == 2
    assert "has no test_cfg" in capsys.readouterr().err
    config.write_text(CONFIG)
    assert tool("test", config, "no.pth", "--show-dir", "x") == 2
    assert "VisualizationHook" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dist_train.sh", "dist_test.sh", "slurm_train.sh"])
def test_launchers__print_their_usage(name: str) -> None:
    result = subprocess.run(
        ["bash", str(TOOLS / name)], check=False, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ")
    assert os.access(TOOLS / name, os.X_OK)


def fake(folder: Path, name: str) -> None:
    """Put a command into ``folder`` that prints its arguments one per line."""
    path = folder / name
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)


def launched(script: str, *arguments: str, path: Path, **environment: str) -> list[str]:
    for command in ("python", "srun"):
        fake(path, command)
    result = subprocess.run(
        ["bash", str(TOOLS / script), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": f"{path}:{os.environ['PATH']}", **environment},
    )
    return result.stdout.splitlines()


def test_dist_train__arguments_and_environment(tmp_path: Path) -> None:
    words = launched(
        *("dist_train.sh", "c.py", "4", "--cfg-options", "a=[1, 2]"),
        path=tmp_path,
        NNODES="2",
        NODE_RANK="1",
        PORT="123",
        MASTER_ADDR="host",
    )
    assert words[:2] == ["-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--node_rank=1", "--master_port=123", "--master_addr=host"} <= set(words)
    assert "--nproc_per_node=4" in words
    assert words[-5:] == ["c.py", "--launcher", "pytorch", "--cfg-options", "a=[1, 2]"]


def test_dist_test__argument_order(tmp_path: Path) -> None:
    words = launched("dist_test.sh", "c.py", "w.pth", "2", "--tta", path=tmp_path)
    assert words[-5:] == ["c.py", "w.pth", "--launcher", "pytorch", "--tta"]
    assert "--nnodes=1" in words


def test_slurm_train__argument_order(tmp_path: Path) -> None:
    arguments = ("part", "job", "c.py", "work", "--amp")
    words = launched("slurm_train.sh", *arguments, path=tmp_path, GPUS="16", SRUN_ARGS="-x a")
    assert words[:3] == ["-p", "part", "--job-name=job"]
    assert {"--gres=gpu:8", "--ntasks=16", "--ntasks-per-node=8", "-x", "a"} <= set(words)
    assert words[-4:] == ["c.py", "--work-dir=work", "--launcher=slurm", "--amp"]


def preempted(folder: Path, exits: list[int], **environment: str) -> tuple[int, list[str]]:
    """Run slurm_train.sh with an srun that ends with these codes in turn; what was called."""
    srun = '#!/bin/sh\necho "srun $@" >> "$LOG"\nset -- $(cat "$LOG.exits")\n'
    srun += 'echo "${@#$1}" > "$LOG.exits"\nexit $1\n'
    for name, text in (("srun", srun), ("scontrol", '#!/bin/sh\necho "scontrol $@" >> "$LOG"\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    log = folder / "calls"
    Path(f"{log}.exits").write_text(" ".join(map(str, exits)))
    result = subprocess.run(
        ["bash", str(TOOLS / "slurm_train.sh"), "part", "job", "c.py", "work", "--amp"],
        check=False,
        capture_output=True,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "LOG": str(log), **environment},
    )
    return result.returncode, log.read_text().splitlines()


def test_slurm_train__goes_on_after_a_preemption(tmp_path: Path) -> None:
    code, calls = preempted(tmp_path, [138, 138, 0], GRACE="60")
    assert code == 0 and len(calls) == 3
    assert "--signal=USR1@60" in calls[0] and "--resume" not in calls[0]
    assert all(call.endswith("--launcher=slurm --resume --amp") for call in calls[1:])


def test_slurm_train__requeues_its_batch_job(tmp_path: Path) -> None:
    code, calls = preempted(tmp_path, [138, 138], SLURM_JOB_ID="77")
    assert code == 138 and calls[1:] == ["scontrol requeue 77"]
    code, calls = preempted(tmp_path, [0], SLURM_JOB_ID="77", SLURM_RESTART_COUNT="1")
    assert code == 0 and calls[2].endswith("--resume --amp")


@pytest.mark.parametrize("code", [1, 143])
def test_slurm_train__other_ends_are_ends(tmp_path: Path, code: int) -> None:
    returned, calls = preempted(tmp_path, [code, 0])
    assert (returned, len(calls)) == (code, 1)


@pytest.mark.slow
def test_dist_train__two_processes_on_the_cpu(config: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("for machines without a GPU")
    work = config.parent / "work"
    shutil.rmtree(work, ignore_errors=True)
    options = ["--work-dir", str(work), "--cfg-options", f"data_root={config.parent / 'data'}"]
    environment = {**os.environ, "PORT": "29617", "PYTHON": sys.executable}
    subprocess.run(
        ["bash", str(TOOLS / "dist_train.sh"), str(config), "2", *options],
        check=True,
        env=environment,
        timeout=300,
    )
    assert torch.load(work / "epoch_1.pth", weights_only=False)["meta"]["iter"] == 1
