"""Pretraining checkpoint -> plain backbone file -> DenseViT, and what is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmpretrain.models.backbones import VisionTransformer

from mmrel.checkpoints import export
from mmrel.checkpoints.config_text import backbone_config
from mmrel.checkpoints.conversion import convert
from mmrel.models.backbones import DenseViT, ViT

ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    base=dict(
        backbone=dict(
            arch=dict(embed_dims=24, feedforward_channels=48, num_heads=2, num_layers=2),
            img_size=32, mask_token=True, patch_size=8, type='mmrel.ViT'),
        type='mmrel.IBOT'),
    type='mmrel.SERE')
__import__('os').abort()
"""


def _tool() -> Any:
    path = Path(__file__).parents[2] / "tools" / "export_backbone.py"
    spec = importlib.util.spec_from_file_location("export_backbone", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


def _vit() -> ViT:
    torch.manual_seed(0)
    model = ViT(ARCH, img_size=32, patch_size=8, mask_token=True)
    model.init_weights()
    return model


@pytest.fixture(scope="module")
def networks() -> tuple[ViT, ViT]:
    student, teacher = _vit(), _vit().teacher_copy()
    with torch.no_grad():
        teacher.cls_token.add_(1)
    return student, teacher


@pytest.fixture
def checkpoint(tmp_path: Path, networks: tuple[ViT, ViT]) -> Path:
    """A file as MMEngine's runner writes it: log buffers of numpy numbers beside the tensors."""
    student, teacher = networks
    state = {f"backbone.{k}": v for k, v in student.state_dict().items()}
    state |= {f"teacher.backbone.{k}": v for k, v in teacher.state_dict().items()}
    state |= {"neck.main.x": torch.zeros(3), "teacher.neck.main.x": torch.zeros(3)}
    hub = MessageHub.get_instance("export_test")
    hub.update_scalar("train/loss", 1.5)
    hub.update_scalar("train/other", torch.tensor(0.5).numpy())
    hub.update_info("epoch", 3)
    content = {
        "meta": dict(epoch=3, iter=12, cfg=CONFIG, seed=0),
        "state_dict": state,
        "message_hub": hub.state_dict(),
        "optimizer": torch.optim.AdamW(student.parameters()).state_dict(),
    }
    path = tmp_path / "epoch_3.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_export__loads_everywhere(checkpoint, networks, tmp_path, network, capsys) -> None:
    output = tmp_path / "new" / "backbone.pth"
    assert TOOL.main([str(checkpoint), str(output), "--network", network]) == 0
    assert "30 tensors; arch custom (24 wide, 2 blocks, 2 heads, patch 8" in capsys.readouterr().out
    source = networks[network == "teacher"]
    saved = torch.load(output, weights_only=True)
    assert saved["meta"]["num_heads"] == 2 and saved["meta"]["network"] == network
    init = dict(type="Pretrained", checkpoint=str(output), prefix="backbone.")
    images = torch.randn(2, 3, 32, 32)
    dense = DenseViT(
        ARCH, img_size=32, patch_size=8, out_indices=(1,), out_norm="all", init_cfg=init
    )
    dense.init_weights()
    expected = source(images).patches.transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(dense(images)[0], expected)
    host = VisionTransformer(ARCH, img_size=32, patch_size=8)
    host.load_state_dict({k.removeprefix("backbone."): v for k, v in saved["state_dict"].items()})
    torch.testing.assert_close(host(images)[0], source(images).cls)


def test_export__wrong_head_count_is_refused_downstream(checkpoint, tmp_path) -> None:
    export.export_backbone(checkpoint, tmp_path / "b.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "b.pth"), prefix="backbone.")
    model = DenseViT(ARCH | dict(num_heads=3), 32, 8, out_indices=(1,), init_cfg=init)
    with pytest.raises(ValueError, match="2 attention heads, the model has 3"):
        model.init_weights()


def test_export__leaves_no_partial_file(checkpoint, tmp_path, monkeypatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    output = tmp_path / "out" / "b.pth"
    assert TOOL.main([str(checkpoint), str(output)]) == 1
    assert list(output.parent.iterdir()) == []
    assert TOOL.main([str(checkpoint), str(checkpoint / "b.pth")]) == 1


class _Evil:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


class _EvilAttribute:
    def __reduce__(self) -> tuple:
        return getattr, (HistoryBuffer, "__init__")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no checkpoint at"),
        (b"<html></html>", "cannot be read as a checkpoint"),
        (
            {"state_dict": {}, "x": _Evil()},
            "print was not an allowed global.*not loaded for safety",
        ),
        ({"state_dict": {}, "x": _EvilAttribute()}, "asks for the attribute .__init__."),
        ({"model": {}}, r"has no 'state_dict' \(found: \['model'\]"),
        ([1], r"has no 'state_dict' \(found: list"),
        (
            {"state_dict": {"backbone.cls_token": torch.zeros(1)}},
            r"has no teacher backbone .*Networks in this file: student",
        ),
        ({"state_dict": {"head.fc": torch.zeros(1)}}, "Networks in this file: none"),
        (
            {"state_dict": {"teacher.backbone.conv1.weight": torch.zeros(1)}},
            "is not a ViT .* need no export: name the checkpoint itself .*prefix='teacher.backbone.'",
        ),
    ],
)
def test_export__refuses(tmp_path, capsys, content, message) -> None:
    path = tmp_path / "x.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        export.export_backbone(path, tmp_path / "out.pth")
    assert TOOL.main([str(path), str(tmp_path / "out.pth")]) == 1
    captured = capsys.readouterr()
    assert "executed" not in captured.out and captured.err.count("\n") == 1
    assert not (tmp_path / "out.pth").exists()


def test_backbone_config__is_parsed_not_executed() -> None:
    config = backbone_config(CONFIG)
    assert config["img_size"] == 32 and config["arch"]["num_heads"] == 2
    assert backbone_config("model = dict(") == {}
    assert backbone_config("model = {'backbone': {'arch': 'deit-small'}}") == {"arch": "deit-small"}


def test_export__writes_what_the_converter_writes(checkpoint, tmp_path) -> None:
    """The teacher, which has nothing that only pretraining needs: the same tensors and the same meta."""
    meta = export.export_backbone(checkpoint, tmp_path / "exported.pth")
    convert(checkpoint, tmp_path / "converted.pth", network="teacher")
    exported, converted = (
        torch.load(tmp_path / f"{name}.pth", weights_only=True)
        for name in ("exported", "converted")
    )
    assert (
        exported["meta"] == converted["meta"] == {k: v for k, v in meta.items() if k != "num_keys"}
    )
    assert list(exported["state_dict"]) == list(converted["state_dict"])
    assert all(
        torch.equal(v, converted["state_dict"][k]) for k, v in exported["state_dict"].items()
    )


def test_export__does_not_write_over_what_it_reads(checkpoint) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match="is the file that is read"):
        export.export_backbone(checkpoint, checkpoint)
    assert checkpoint.read_bytes() == before
