"""tools/convert_checkpoint.py as a user runs it: what it prints, writes and refuses."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import official
from checkpoints.official import HEADS, save

from mmrel.models.backbones import DenseViT, ViT

TOOL = Path(__file__).parents[2] / "tools" / "convert_checkpoint.py"
NARROW = ("--num-heads", str(HEADS))


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("convert_checkpoint", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL_MODULE = _tool()


def run(*arguments: object) -> int:
    return TOOL_MODULE.main([str(argument) for argument in arguments])


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_tool__from_the_command_line_to_a_dense_backbone(tmp_path: Path) -> None:
    """An official SelfPatch training checkpoint, one command, and a detector's backbone holds it."""
    case = official.selfpatch()
    source, output = save(case.content, tmp_path / "checkpoint.pth"), tmp_path / "out.pth"
    done = subprocess.run(
        [sys.executable, str(TOOL), str(source), str(output), *NARROW],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in (
        "layout selfpatch, stored as teacher/student, below 'backbone.'; network: teacher",
        "arch custom: 48 wide, 2 blocks, 3 heads, MLP 96",
        "patch 16, grid 14 x 14 (224 x 224 pixels), positions resized by 'dino'",
        "without class token, without final norm, without layer scale",
        "mapped: 27 tensors",
        "left out: aggregation: 35",
        "left out: projection heads: 16",
        f"wrote {output}",
    ):
        assert line in done.stdout
    arch = dict(embed_dims=48, num_layers=2, num_heads=HEADS, feedforward_channels=96)
    init = dict(type="Pretrained", checkpoint=str(output), prefix="backbone.")
    model = DenseViT(arch, 512, out_indices=(0, 1), with_cls_token=False, init_cfg=init)
    model.init_weights()
    assert model.pos_embed.shape == (1, 1024, 48) and model.pos_interpolation == "dino"
    weight = case.teacher["blocks.1.mlp.fc2.weight"]
    assert torch.equal(model.layers[1].ffn.layers[1].weight, weight)


@pytest.mark.parametrize("target", ["dino", "timm"])
def test_tool__back_to_another_project(target: str, tmp_path: Path, capsys: Any) -> None:
    """From mmrel's converted file, from its training checkpoint, and directly; bit for bit."""
    case = official.ibot()
    source, ours = save(case.content, tmp_path / "a.pth"), tmp_path / "ours.pth"
    assert run(source, ours, *NARROW, "--from", "ibot", "--network", "student") == 0
    assert run(ours, tmp_path / "back.pth", "--to", target) == 0
    assert f"{target} has no place for mask_token: left out." in capsys.readouterr().out
    expected = {key: v for key, v in case.student.items() if key != "masked_embed"}
    assert same(torch.load(tmp_path / "back.pth", weights_only=True), expected)

    arch = dict(embed_dims=48, num_layers=2, num_heads=HEADS, feedforward_channels=96)
    vit = ViT(arch, mask_token=True)
    vit.init_weights()
    state = official.below("backbone.", vit.state_dict())
    state |= official.below("teacher.backbone.", vit.teacher_copy().state_dict())
    training = save({"state_dict": state, "meta": {"epoch": 1}}, tmp_path / "epoch_1.pth")
    assert run(training, tmp_path / "t.pth", "--to", target, *NARROW) == 0
    back = torch.load(tmp_path / "t.pth", weights_only=True)
    assert back.keys() == expected.keys()
    assert torch.equal(back["norm.bias"], vit.ln1.bias)


def test_tool__layer_scale_has_another_name_in_each(tmp_path: Path) -> None:
    source = save(official.vit(scale="ls"), tmp_path / "a.pth")
    for target, name in (("timm", "blocks.1.ls2.gamma"), ("dino", "blocks.1.gamma_2")):
        assert run(source, tmp_path / "b.pth", "--to", target, *NARROW) == 0
        assert name in torch.load(tmp_path / "b.pth", weights_only=True)


def test_tool__full(tmp_path: Path, capsys: Any) -> None:
    source = save(official.dino().content, tmp_path / "a.pth")
    assert run(source, tmp_path / "b.pth", "--full", *NARROW) == 0
    printed = capsys.readouterr().out
    assert "network: teacher and student" in printed and "mapped: 77 tensors" in printed
    state = torch.load(tmp_path / "b.pth", weights_only=True)["state_dict"]
    assert "head.distillation.center.value" in state
    assert "teacher.neck.projection.last_layer.weight_v" in state
    with pytest.raises(SystemExit):
        run(source, tmp_path / "c.pth", "--full", "--network", "student")
    assert run(source, tmp_path / "c.pth", "--full", "--to", "dino") == 1
    assert not (tmp_path / "c.pth").exists()


def test_tool__moves_the_teacher_of_mocov3(tmp_path: Path, capsys: Any) -> None:
    """The move that the file owes: said without the option, made with it."""
    source = save(official.mocov3().content, tmp_path / "moco.pth")
    plain, moved = tmp_path / "plain.pth", tmp_path / "moved.pth"
    assert run(source, plain, "--full", *NARROW) == 0
    assert "note: MoCo v3's code moves the teacher before each loss" in capsys.readouterr().out
    assert run(source, moved, "--full", "--teacher-momentum", 0.5, *NARROW) == 0
    assert "note:" not in capsys.readouterr().out
    before, after = (torch.load(path)["state_dict"] for path in (plain, moved))
    key = "backbone.cls_token"
    wanted = 0.5 * before[f"teacher.{key}"] + 0.5 * before[key]
    assert torch.equal(after[f"teacher.{key}"], wanted)
    assert run(source, moved, "--teacher-momentum", 0.5) == 1
    assert "Give it with --full" in capsys.readouterr().err


def test_tool__prints_notes_and_extras(tmp_path: Path, capsys: Any) -> None:
    state = {key: value.half() for key, value in official.vit(grid=(4, 9)).items()}
    state |= {"adapter.a": torch.zeros(1), "adapter.b": torch.zeros(1)}
    source = save(state, tmp_path / "a.pth")
    options = ("--img-size", 64, 144, "--allow-extra", "adapter.*", "other.*")
    assert run(source, tmp_path / "b.pth", *NARROW, *options) == 0
    printed = capsys.readouterr().out
    assert "grid 4 x 9 (64 x 144 pixels)" in printed
    assert "left out: allowed as extra: 2" in printed
    assert "note: Tensors of torch.float16 are written as float32." in printed
    assert "note: A plain ViT looks alike in dino, ibot, timm; it is taken as dino's." in printed


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, (), "There is no checkpoint at"),
        (b"", (), "is empty"),
        (b"PK\x03\x04cut", (), "truncated"),
        ({"conv1.weight": torch.zeros(1)}, (), "no vision transformer of a known layout"),
        (official.vit(), (), "--num-heads"),
        (official.vit() | {"extra": torch.zeros(1)}, NARROW, "1 key(s) unknown: extra"),
        (official.vit(grid=(2, 3)), NARROW, "no square grid"),
        (official.vit(), (*NARROW, "--img-size", 32, 32), "2 x 2 patches"),
        (official.vit(), (*NARROW, "--from", "hf-dinov2"), "key(s) missing: embeddings.cls_token"),
        (official.vit(), (*NARROW, "--full"), "Leave --full out"),
    ],
)
def test_tool__refuses_in_one_line(
    content: Any, options: tuple, message: str, tmp_path: Path, capsys: Any
) -> None:
    source = tmp_path / "a.pth"
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is not None:
        save(content, source)
    assert run(source, tmp_path / "out.pth", *options) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("convert_checkpoint: ") and error.count("\n") == 1
    assert not (tmp_path / "out.pth").exists()


def test_tool__hugging_face_folders_in_and_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder to a file, to safetensors, and to a folder again: the same tensors."""
    pytest.importorskip("safetensors")
    from checkpoints.hub_folders import hub_folder

    folder = hub_folder(tmp_path / "hub")
    assert run(folder, tmp_path / "a.safetensors") == 0
    told = capsys.readouterr().out
    assert "layout hf-vit" in told and "3 heads" in told and "left out" not in told
    assert run(tmp_path / "a.safetensors", tmp_path / "again", "--to", "hugging-face") == 0
    assert "note: A ViTModel takes other sizes" in capsys.readouterr().out
    assert run(tmp_path / "again", tmp_path / "b.pth") == 0
    assert run(tmp_path / "a.safetensors", tmp_path / "c.pth") == 0
    left, right = (
        torch.load(tmp_path / n, weights_only=True)["state_dict"] for n in ("b.pth", "c.pth")
    )
    right.pop("backbone.mask_token")
    assert same(left, right)
    assert run(folder, tmp_path / "again", "--to", "hugging-face") == 1
    assert "exists. Give the name of a new folder" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "x.pth") == 1
    assert "is a folder without weights" in capsys.readouterr().err
