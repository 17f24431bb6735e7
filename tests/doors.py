"""Every entry point of mmrel that reads a file, as a function of the file alone, on a tiny model.

A door returns what it read, raises one of ``DECLARED``, or has a fault. ``open_doors`` prepares them once.
"""

import io
import pickle
import shutil
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import tiny
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, load_checkpoint
from PIL import Image
from torch import nn

from mmrel.apis import get_backbone
from mmrel.apis.pretrained_model import load_pretraining
from mmrel.checkpoints import convert, convert_full, convert_to_official, load_backbone
from mmrel.checkpoints.export import export_backbone
from mmrel.datasets.bad_samples import read_bad_samples
from mmrel.datasets.converters import convert_dataset
from mmrel.datasets.image_folder import ImageFolder
from mmrel.engine.hooks.atomic_checkpoint import unreadable_reason
from mmrel.launch.arguments import ConfigOptions
from mmrel.launch.runner import LaunchedRunner
from mmrel.launch.safe_loading import load_safely
from mmrel.models.backbones.pretrained import load_init_cfg
from mmrel.utils import UsageError
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.config import load_config, merge_options
from mmrel.utils.files import read_json_object
from mmrel.visualization.records import read_records, series

DECLARED = (ValueError, OSError, UsageError, ArgumentError)
Door = Callable[[Path], Any]


class Plain(BaseModule):
    """A module of another library, loaded by MMEngine's own ``Pretrained``."""

    def __init__(self, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.layer = nn.Linear(3, 2)


@MODELS.register_module(force=True)
class DoorModel(BaseModel):
    """A model for a runner that resumes."""

    def __init__(self, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor)
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "loss") -> Any:
        return {"loss": self.layer(inputs).sum()}


class _Numbers(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return {"inputs": torch.ones(3), "data_samples": 0}


def runner(work_dir: Path) -> Any:
    """A runner of mmrel's tools with everything built that resume fills."""
    built = LaunchedRunner(
        model=dict(type="DoorModel"),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=_Numbers(), sampler=dict(type="DefaultSampler", shuffle=False), batch_size=1
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01)),
        param_scheduler=dict(type="StepLR", step_size=1),
        log_level="ERROR",
        experiment_name=f"doors{id(work_dir)}{work_dir.name}",
    )
    built._train_loop = built.build_train_loop(built._train_loop)
    built.optim_wrapper = built.build_optim_wrapper(built.optim_wrapper)
    built.param_schedulers = built.build_param_scheduler(built.param_schedulers)
    return built


def checkpoint_doors(work: Path) -> dict[str, Door]:
    """Those that take a checkpoint. ``load_safely`` is called, as the tools call it."""
    load_safely()
    out = work / "out.pth"
    plain, backbone = Plain(), MODELS.build(tiny.vit())
    config = Config(dict(model=tiny.dino(), default_scope="mmrel"))
    running, starting = runner(work / "run"), runner(work / "start")

    def init_cfg(path: Path, **options: str) -> None:
        starting.model = Plain(dict(type="Pretrained", checkpoint=str(path), **options))
        starting._init_model_weights()

    def own_init_cfg(path: Path) -> None:
        backbone.init_cfg = dict(type="Pretrained", checkpoint=str(path), prefix="backbone.")
        load_init_cfg(backbone)

    def from_bytes(path: Path) -> Any:
        return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu")

    return {
        "read": read_checkpoint,
        "search for resume": unreadable_reason,
        "resume": lambda path: running.resume(str(path)),
        "load_from": lambda path: running.load_checkpoint(str(path)),
        "MMEngine": lambda path: CheckpointLoader.load_checkpoint(str(path), "cpu", None),
        "MMEngine's load_checkpoint": lambda path: load_checkpoint(plain, str(path)),
        "torch.load": lambda path: torch.load(path, weights_only=False),
        "torch.load of bytes": from_bytes,
        "init_cfg": init_cfg,
        "init_cfg with prefix": lambda path: init_cfg(path, prefix="backbone."),
        "init_cfg of mmrel": own_init_cfg,
        "convert": lambda path: convert(path, out, num_heads=2),
        "convert to timm": lambda path: convert_to_official(path, out, "timm", num_heads=2),
        "convert --full": lambda path: convert_full(path, out, num_heads=2),
        "export": lambda path: export_backbone(path, out),
        "load_backbone": lambda path: load_backbone(path, num_heads=2),
        "features": lambda path: get_backbone(path, num_heads=2),
        "k-NN": lambda path: load_pretraining(config, str(path)),
    }


def parsed_options(text: str) -> dict[str, Any]:
    """What ``--cfg-options`` makes of one argument."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--cfg-options", nargs="+", action=ConfigOptions)
    with redirect_stderr(io.StringIO()):
        return parser.parse_args(["--cfg-options=" + text]).cfg_options


def merge(text: str) -> Config:
    """An option, merged into a small configuration."""
    config = Config(
        dict(
            model=tiny.dino(),
            train_dataloader=dict(batch_size=2, dataset=dict(type="ToyDataset"), num_workers=0),
            data_root="data/x",
            hooks=[dict(type="a"), dict(type="b")],
        )
    )
    merge_options(config, parsed_options(text))
    return config


BINARY = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
PICKLED = pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"fine_labels": [0]}, 2)
CLASSES = pickle.dumps({b"fine_label_names": [b"a"]}, 2)


def other_doors(work: Path) -> dict[str, Door]:
    """Those that take files of other kinds."""
    data, run = work / "data", work / "records"
    (run / "a" / "vis_data").mkdir(parents=True, exist_ok=True)

    def dataset(kind: str, file: str, **others: bytes) -> Door:
        """A data set of which one file is the door's."""
        folder = data / kind
        for name, content in others.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

        def door(path: Path) -> Any:
            (folder / file).write_bytes(path.read_bytes())
            try:
                return convert_dataset(kind, folder, work / "converted")
            finally:
                shutil.rmtree(work / "converted", ignore_errors=True)

        return door

    def archive(path: Path) -> Any:
        try:
            return convert_dataset("cifar10", path, work / "converted")
        finally:
            shutil.rmtree(work / "converted", ignore_errors=True)

    image = Image.new("RGB", (4, 4))
    (data / "images").mkdir(parents=True)
    image.save(data / "images" / "ok.png")

    def listed(path: Path) -> Any:
        found = ImageFolder(str(data / "images"), ann_file=str(path), lazy_init=True)
        found.full_init()
        assert all(
            Path(found.get_data_info(i)["img_path"]).resolve().is_relative_to(data / "images")
            for i in range(len(found))
        )
        return found

    def records(path: Path) -> Any:
        (run / "a" / "vis_data" / "scalars.json").write_bytes(path.read_bytes())
        return series(read_records(run), "loss")

    def configuration(suffix: str) -> Door:
        def door(path: Path) -> Any:
            named = path.with_suffix(suffix)
            named.write_bytes(path.read_bytes())
            try:
                return load_config(str(named))
            finally:
                named.unlink()

        return door

    return {
        "config .json": configuration(".json"),
        "config .yml": configuration(".yml"),
        "data set: archive": archive,
        "data set: CIFAR pickle": dataset("cifar100", "meta", train=PICKLED, test=PICKLED),
        "data set: CIFAR images": dataset("cifar100", "train", meta=CLASSES, test=PICKLED),
        "data set: names": dataset(
            "cifar10", "batches.meta.txt", **dict.fromkeys(BINARY, bytes(3073))
        ),
        "data set: MATLAB": dataset("flowers102", "imagelabels.mat", **{"setid.mat": b"x"}),
        "data set: list": dataset(
            "pets",
            "annotations/trainval.txt",
            **{"annotations/test.txt": b"x_1 1\n", "images/x_1.jpg": b"x", "images/ok.jpg": b"x"},
        ),
        "data set: table": dataset("elpv", "labels.csv", **{"images/cell0001.png": b"x"}),
        "list of images": listed,
        "annotation .pkl": lambda path: _annotation(path, ".pkl"),
        "annotation .json": lambda path: _annotation(path, ".json"),
        "bad samples": read_bad_samples,
        "records": records,
        "stamp": read_json_object,
    }


def _annotation(path: Path, suffix: str) -> Any:
    named = path.with_suffix(suffix)
    named.write_bytes(path.read_bytes())
    try:
        return mmengine.load(str(named))
    finally:
        named.unlink()


def try_door(door: Door, path: Any) -> tuple[str, str]:
    """``('read' | 'refused', message)``; an undeclared exception passes through."""
    limit = sys.getrecursionlimit()
    try:
        door(path)
    except DECLARED as error:
        return "refused", str(error)
    finally:
        assert sys.getrecursionlimit() == limit
    return "read", ""
