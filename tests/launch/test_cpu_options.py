"""What a recipe for GPUs becomes on a CPU: float32, and no more loader workers than cores."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmrel.launch import options

ROOT = Path(__file__).parents[2]
COCO = ROOT / "configs/detection/mask-rcnn_vit-small-p16_fpn_8xb2-amp-ms-crop-1x_coco.py"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def choose(cpu: bool, cores: int = 2) -> None:
        device = torch.device("cpu") if cpu else torch.device("cuda", 0)
        monkeypatch.setattr(options, "on_cpu", lambda: cpu)
        monkeypatch.setattr(options, "chosen_device", lambda: device)
        monkeypatch.setattr(options, "usable_cores", lambda: cores)

    return choose


def test_amp__on_a_cpu_a_recipe_trains_in_float32(
    machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(cpu=True)
    wrapper = dict(type="AmpOptimWrapper", loss_scale="dynamic", dtype="float16", clip_grad=None)
    config = Config(dict(optim_wrapper=wrapper))
    options.leave_out_amp(config)
    assert config.optim_wrapper == dict(type="OptimWrapper", clip_grad=None)
    assert capsys.readouterr().err.count("\n") == 1


def test_amp__stays_on_a_gpu(machine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine(cpu=False)
    config = Config.fromfile(COCO)
    before = dict(config.optim_wrapper)
    options.leave_out_amp(config)
    assert dict(config.optim_wrapper) == before and before["type"] == "AmpOptimWrapper"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["OptimWrapper", "mmrel.SelfSupOptimWrapper", dict])
def test_amp__other_wrappers_stay(kind: Any, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(cpu=True)
    monkeypatch.setattr(options, "emulates", lambda precision, device: False)
    config = Config(dict(optim_wrapper=dict(type=kind, precision="fp16")))
    options.leave_out_amp(config)
    assert config.optim_wrapper == dict(type=kind, precision="fp16")
    options.leave_out_amp(Config(dict(model=None)))


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_amp__float32_where_a_device_emulates(
    precision: str,
    cpu: bool,
    machine: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(cpu)
    monkeypatch.setattr(options, "emulates", lambda precision, device: precision == "bf16")
    wrapper = dict(type="mmrel.SelfSupOptimWrapper", precision=precision)
    config = Config(dict(optim_wrapper=wrapper))
    options.leave_out_amp(config)
    slow = precision == "bf16"
    assert config.optim_wrapper.precision == ("fp32" if slow else precision)
    told = capsys.readouterr().err
    assert (f"this {'CPU' if cpu else 'GPU'} computes slowly in bfloat16" in told) == slow
    assert slow or not told


@pytest.mark.parametrize("key", ["precision", "optim_wrapper.precision"])
def test_amp__a_precision_of_the_command_line_stays(
    key: str, machine: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(cpu=True)
    monkeypatch.setattr(options, "emulates", lambda precision, device: True)
    wrapper = dict(type="mmrel.SelfSupOptimWrapper", precision="bf16")
    config = Config(dict(optim_wrapper=wrapper))
    options.leave_out_amp(config, {"train_cfg.max_epochs": 1, key: "bf16"})
    assert config.optim_wrapper.precision == "bf16" and capsys.readouterr().err == ""
    options.leave_out_amp(config, {"train_cfg.max_epochs": 1})
    assert config.optim_wrapper.precision == "fp32"


def test_amp__images_of_ones_own_never_in_float16(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(cpu=True)
    monkeypatch.setattr(options, "emulates", lambda precision, device: False)
    wrapper = dict(type="mmrel.SelfSupOptimWrapper", precision="fp16")
    config = Config(dict(network="vit-small", optim_wrapper=wrapper))
    options.leave_out_amp(config)
    assert config.optim_wrapper.precision == "fp32"


def loaders() -> Config:
    hook = dict(type="mmrel.KNNHook", bank_dataloader=dict(num_workers=8))
    return Config(
        dict(
            train_dataloader=dict(num_workers=10),
            val_dataloader=[dict(num_workers=1), dict(num_workers=3)],
            default_hooks=dict(knn=hook),
        )
    )


def test_workers__one_for_each_core_of_a_cpu(
    machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(cpu=True, cores=2)
    config = loaders()
    options.fit_workers(config)
    assert config.train_dataloader.num_workers == 2
    assert [loader.num_workers for loader in config.val_dataloader] == [1, 2]
    assert config.default_hooks.knn.bank_dataloader.num_workers == 2
    assert "2 worker(s), one for each core, instead of 10" in capsys.readouterr().err
    options.fit_workers(config)
    assert capsys.readouterr().err == ""


def test_workers__as_the_recipe_says_on_a_gpu(machine: Any) -> None:
    machine(cpu=False, cores=2)
    config = loaders()
    options.fit_workers(config)
    assert config.to_dict() == loaders().to_dict()
