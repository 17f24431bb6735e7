"""Adjusting configurations: the data folder, mixed precision, and early errors."""

import argparse
import logging
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from mmrel.launch import options as launch
from mmrel.launch import runner
from mmrel.models.layers import SyncBatchNorm
from mmrel.utils import UsageError, hosts
from mmrel.utils import config as config_tools
from mmrel.utils.data_roots import set_data_root


def write(folder: Path, text: str) -> str:
    path = folder / "config.py"
    path.write_text(text)
    return str(path)


DATA = """
data_root = 'data/x/'
a = dict(ann_file=data_root + 'ann.json', other='data/xy', deep=[dict(root=data_root)])
b = ('data/x', 3)
"""


def test_data_root__rewritten_wherever_its_value_went(tmp_path: Path) -> None:
    path = write(tmp_path, DATA)
    new = str(tmp_path)
    options = {"data_root": new, "a.ann_file": "mine.json"}
    config = config_tools.load_config(path, options)
    config_tools.merge_options(config, options)
    assert config.data_root == new
    assert config.a.ann_file == "mine.json"
    assert config.a.other == "data/xy"
    assert config.a.deep[0].root == f"{new}/"
    assert config.b == (new, 3)


def test_data_root__continued_paths(tmp_path: Path) -> None:
    config = Config.fromstring(DATA, ".py")
    write(tmp_path, "")
    set_data_root(config, f"{tmp_path}/")
    assert config.a.ann_file == f"{tmp_path}/ann.json"


def test_data_root__missing_folder_or_key(tmp_path: Path) -> None:
    config = Config.fromstring(DATA, ".py")
    with pytest.raises(UsageError, match=r"/no/where is not a folder"):
        set_data_root(config, "/no/where")
    with pytest.raises(UsageError, match=r"holds no files"):
        set_data_root(config, str(tmp_path))
    with pytest.raises(UsageError, match=r"no top-level data_root.*train_dataloader"):
        set_data_root(Config(dict(a=1)), str(tmp_path))


def test_merge_options__no_workers_means_no_persistent_ones() -> None:
    config = Config(dict(train_dataloader=dict(num_workers=2, persistent_workers=True)))
    config_tools.merge_options(config, {"train_dataloader.num_workers": 0})
    assert config.train_dataloader.persistent_workers is False


def test_merge_options__a_hook_that_is_there_can_be_switched_off() -> None:
    config = Config(dict(default_hooks=dict(knn=dict(type="mmrel.KNNHook"))))
    config_tools.merge_options(config, {"default_hooks.knn": None, "default_hooks.timer": None})
    assert config.default_hooks == dict(knn=None, timer=None)
    with pytest.raises(UsageError, match=r"default_hooks.kn=None .*does not have.*checkpoint, knn"):
        config_tools.merge_options(config, {"default_hooks.kn": None})


def test_load_config__missing_file_suggests_a_shipped_one() -> None:
    with pytest.raises(
        UsageError, match=r"does not exist.*Did you mean configs/sere/ibot-sere_vit"
    ):
        config_tools.load_config("ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py.bak")


@pytest.mark.parametrize(
    "text",
    [
        "_base_ = 'mmdet::_base_/default_runtime.py'",
        "default_scope = 'mmdet'",
        "model = dict(backbone=dict(type='mmdet.ResNet'))",
    ],
)
def test_load_config__without_mmdet_names_the_extra(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mmdet", None)
    own = hosts.installed_family() == "openmmlab"
    brings = "'mmdet>=3.3.0,<4.0.0'" if own else r"'mmrel\[onedl-detection\]'"
    with pytest.raises(UsageError, match=f"'mmdet'.*pip install {brings}"):
        config_tools.load_config(write(tmp_path, text))


def test_load_config__other_missing_module_keeps_its_error(tmp_path: Path) -> None:
    text = "custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)"
    with pytest.raises(ImportError, match="no_such_module"):
        config_tools.load_config(write(tmp_path, text))


def test_work_dir__not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = Config(dict(work_dir=str(tmp_path / "file" / "run")))
    with pytest.raises(UsageError, match=r"cannot be written: .*--work-dir"):
        config_tools.prepare_work_dir(config)


def test_work_dir__read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr(config_tools.tempfile, "TemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"cannot be written: Read-only file system"):
        config_tools.prepare_work_dir(Config(dict(work_dir=str(tmp_path / "run"))))


def test_check_pretrained__missing_file_named(tmp_path: Path) -> None:
    existing = tmp_path / "a.pth"
    existing.write_text("")
    for good in (None, str(existing), "https://host/a.pth"):
        init = dict(type="Pretrained", checkpoint=good)
        config_tools.check_pretrained(Config(dict(model=dict(backbone=dict(init_cfg=init)))))
    init = dict(type="Pretrained", checkpoint="no.pth")
    with pytest.raises(UsageError, match=r"init_cfg.checkpoint: 'no.pth' does not exist.*export"):
        config_tools.check_pretrained(Config(dict(model=dict(backbone=[dict(init_cfg=init)]))))


def test_check_load_from__missing_file_named() -> None:
    config_tools.check_load_from(Config(dict(load_from=None)))
    with pytest.raises(UsageError, match=r"The checkpoint 'no.pth' does not exist.*work dir"):
        config_tools.check_load_from(Config(dict(load_from="no.pth")))


@pytest.mark.parametrize(
    ("given", "expected"), [(None, "fp16"), ("fp32", "fp16"), ("fp16", "fp16"), ("bf16", "bf16")]
)
def test_amp__selfsup_wrapper(given: str | None, expected: str) -> None:
    wrapper = dict(type="mmrel.SelfSupOptimWrapper")
    if given:
        wrapper["precision"] = given
    config = Config(dict(optim_wrapper=wrapper))
    launch.enable_amp(config)
    assert config.optim_wrapper.precision == expected


def test_amp__optim_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(dict(optim_wrapper=dict(optimizer=dict(type="SGD"))))
    monkeypatch.setattr(launch, "on_cpu", lambda: False)
    launch.enable_amp(config)
    assert config.optim_wrapper.type == "AmpOptimWrapper"
    assert config.optim_wrapper.loss_scale == "dynamic"
    monkeypatch.setattr(launch, "on_cpu", lambda: True)
    with pytest.raises(UsageError, match="needs a GPU"):
        launch.enable_amp(config)


def test_amp__overflow_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that overflows makes the scaler skip a step; it must not end the run before that."""
    clip = dict(max_norm=1.0, error_if_nonfinite=True)
    config = Config(dict(optim_wrapper=dict(type="OptimWrapper", clip_grad=clip)))
    monkeypatch.setattr(launch, "on_cpu", lambda: False)
    launch.enable_amp(config)
    assert config.optim_wrapper.clip_grad == dict(max_norm=1.0, error_if_nonfinite=False)


def test_amp__unknown_wrapper() -> None:
    config = Config(dict(optim_wrapper=dict(type="ApexOptimWrapper")))
    with pytest.raises(UsageError, match=r"not with 'ApexOptimWrapper'"):
        launch.enable_amp(config)


def test_work_dir__command_line_then_config_then_name() -> None:
    args = argparse.Namespace(work_dir="a", config="x/name.py")
    config = Config(dict(work_dir="b"))
    launch.set_work_dir(config, args)
    assert config.work_dir == "a"
    args.work_dir = None
    launch.set_work_dir(config, args)
    assert config.work_dir == "a"
    empty = Config(dict())
    launch.set_work_dir(empty, args)
    assert empty.work_dir == "work_dirs/name"


def test_loader_defaults__only_for_mmpretrain() -> None:
    for scope, filled in (("mmpretrain", True), ("mmdet", False)):
        config = Config(dict(default_scope=scope, train_dataloader=dict(batch_size=2)))
        launch.set_loader_defaults(config, "train_dataloader", dict(pin_memory=True))
        assert ("pin_memory" in config.train_dataloader) == filled
        launch.set_loader_defaults(config, "val_dataloader", dict(pin_memory=True))


def test_sync_norms__torchs_are_reverted_where_processes_share_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.SyncBatchNorm(4), SyncBatchNorm(4))
    weight = model[1].weight
    launched = object.__new__(runner.LaunchedRunner)
    launched.logger = logging.getLogger("test")
    launched._distributed = True
    monkeypatch.setattr(runner, "on_cpu", lambda: True)
    monkeypatch.setattr(runner.Runner, "wrap_model", lambda self, cfg, wrapped: wrapped)
    wrapped = launched.wrap_model(None, model)
    assert not isinstance(wrapped[1], nn.SyncBatchNorm)
    assert wrapped[1].weight is weight
    assert wrapped[2] is model[2] and type(wrapped[2]) is SyncBatchNorm
