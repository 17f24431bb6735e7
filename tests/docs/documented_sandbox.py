"""A folder in which documented commands run: tools and configs, small photos, small checkpoints, a few scenes.

The names are those that the pages use. Each command runs in a process of its own that is forked from this one, so that
it need not import everything again; a page's Python blocks share one namespace, as in a session.
"""

import os
import runpy
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from checkpoints import official
from documented_blocks import ROOT, Block
from documented_commands import commands
from PIL import Image

from mmrel.checkpoints.export import export_backbone
from mmrel.registry import MODELS
from mmrel.utils.config import load_config

SINGLE = {"chelsea": "cat", "coffee": "coffee", "rocket": "other_cat"}
ARCH = dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=256)
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "retina")
SHORTER = {
    "make_scenes": ["--num-train", "20", "--num-val", "20", "--overwrite"],
    "train": ["train_cfg.max_epochs=1"],  # behind --cfg-options
}
"""What is added to a command of a tool, so that a run of hours takes seconds."""


def build(folder: Path) -> None:
    """Fill the folder."""
    for name in ("tools", "configs", "docs", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    write_photos(folder)
    torch.manual_seed(0)
    pretraining = folder / "work_dirs" / "my_run" / "epoch_100.pth"
    write_pretraining(pretraining)
    export_backbone(pretraining, folder / "backbone.pth")
    export_backbone(pretraining, folder / "sere.pth")
    (folder / "work_dirs" / "quickstart").mkdir()
    (folder / "work_dirs" / "quickstart" / "backbone.pth").symlink_to(folder / "backbone.pth")
    torch.save(official.vit(width=128, depth=4), folder / "dino.pth")
    torch.save(official.vit(width=128, depth=4), folder / "dino_deitsmall16_pretrain.pth")
    dinov2 = official.vit(width=128, depth=4, patch=14, grid=(37, 37), scale="ls")
    dinov2["mask_token"] = torch.zeros(1, 128)
    torch.save(dinov2, folder / "dinov2_vits14_pretrain.pth")
    scenes = ["python", "tools/make_scenes.py", "data/scenes", "--image-size", "64"]
    log = folder / "scenes.txt"
    code = run_command(folder, scenes, log)
    assert code == 0, f"{shlex.join(scenes)}: exit code {code}\n{_end_of(log)}"


def write_photos(folder: Path) -> None:
    """scikit-image's photographs: nested and mixed in size and format, two folders that are classes, single files."""
    from skimage import data

    photos = folder / "photos"
    for index, name in enumerate(PHOTOS):
        image = Image.fromarray(getattr(data, name)()).convert("RGB")
        if name in SINGLE:
            image.save(folder / f"{SINGLE[name]}.jpg")
        image.thumbnail((200 + 20 * index, 160))
        for label, suffix in (("first", "jpg"), ("second", "png")):
            place = photos / label / f"{name}.{suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            (image if label == "first" else image.rotate(90, expand=True)).save(place)


def write_pretraining(path: Path) -> None:
    """A checkpoint as a pretraining with DINO leaves it, with random weights."""
    model = dict(
        type="mmrel.DINO",
        backbone=dict(type="mmrel.ViT", arch=ARCH, patch_size=16, img_size=224),
        neck=dict(
            type="mmrel.PrototypeProjection", in_channels=128, out_channels=16, hidden_channels=16
        ),
        head=dict(type="mmrel.DistillationHead", out_channels=16),
    )
    network = MODELS.build(model)
    path.parent.mkdir(parents=True)
    config = f"default_scope = 'mmpretrain'\nmodel = {model!r}\n"
    torch.save({"state_dict": network.state_dict(), "meta": {"cfg": config}}, path)


def run_page(folder: Path, blocks: Sequence[Block], log: Path) -> None:
    """Run a page's blocks in their order.

    Raises:
        AssertionError: one of them failed, with the end of what was printed.
    """
    for block in blocks:
        if block.needs is None and block.language == "bash":
            for words in commands(block.text):
                code = run_command(folder, words, log)
                assert code == 0, f"{block}: {shlex.join(words)}\n{_end_of(log)}"
    scripts = [b for b in blocks if b.needs is None and b.language == "python"]
    if scripts:
        code = _forked(folder, lambda: _execute(scripts), log)
        assert code == 0, f"{scripts[0].page}\n{_end_of(log)}"


def run_command(folder: Path, words: list[str], log: Path | None = None) -> int:
    """Run one command; ``python tools/x.py`` in a fork."""
    if words[0] == "python" and words[1].startswith("tools/"):
        return run_tool(folder, [*words[1:], *SHORTER.get(Path(words[1]).stem, [])], log)
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if log is not None:
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
    return done.returncode


def run_tool(folder: Path, words: list[str], log: Path | None = None) -> int:
    """Run a tool as ``python tools/x.py ...`` would, without importing torch and the hosts anew."""

    def run() -> None:
        sys.argv = words
        sys.path.insert(0, str(ROOT / "tools"))
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")

    return _forked(folder, run, log)


def _execute(scripts: Sequence[Block]) -> None:
    """Run Python blocks in one namespace; what refers to ``_base_`` is a configuration, and is loaded as one."""
    names: dict[str, object] = {}
    for block in scripts:
        if "_base_." in block.text:
            Path("documented.py").write_text(block.text, encoding="utf-8")
            load_config("documented.py")
            continue
        exec(compile(block.text, str(block), "exec"), names)


def _forked(folder: Path, work: Callable[[], None], log: Path | None) -> int:
    """Run a function in a child process whose output goes to a file; return its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.chdir(folder)
        place = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(place, 1)
        os.dup2(place, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.is_file() else ""
