"""Folders of weights, safetensors and JSON from others: what is read, and what is refused by its name."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.json_file import read_json
from mmrel.utils.safetensors_file import save_weights

safetensors = pytest.importorskip("safetensors.torch")

STATE = {"a": torch.randn(3, 4), "b": torch.randn(2)}
CONFIG = {"model_type": "vit", "num_attention_heads": 3}


def folder(path: Path, index: dict[str, str] | None = None, **shards: dict[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    for name, state in shards.items():
        safetensors.save_file(state, path / f"{name}.safetensors")
    if index is not None:
        text = json.dumps({"weight_map": index})
        (path / "model.safetensors.index.json").write_text(text)
    return path


def test_read__one_file_with_its_settings(tmp_path: Path) -> None:
    path = folder(tmp_path / "hub", model=STATE)
    (path / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    for given in (path, str(path), path / "model.safetensors"):
        found = read_checkpoint(given)
        settings = found.pop("hugging_face")
        assert settings["config"] == CONFIG and settings["preprocessor"]["image_mean"][0] == 0.5
        assert all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_read__shards(suffix: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "hub")
    names = {"a": f"x-1.{suffix}", "b": f"x-2.{suffix}"}
    for key, name in names.items():
        save = safetensors.save_file if suffix == "safetensors" else torch.save
        save({key: STATE[key]}, path / name)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    index = path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    for given in (path, index):
        found = read_checkpoint(given)
        assert found["hugging_face"]["config"] == CONFIG
        assert all(torch.equal(found["state_dict"][key], value) for key, value in STATE.items())


def test_read__settings_of_something_else_are_not_taken(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.pth")
    torch.save({"state_dict": STATE, "meta": {"epoch": 3}}, tmp_path / "mmengine.pth")
    (tmp_path / "config.json").write_text('{"learning_rate": 1}')
    assert read_checkpoint(tmp_path / "a.pth").keys() == STATE.keys()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert "hugging_face" in read_checkpoint(tmp_path / "a.pth")
    assert "hugging_face" not in read_checkpoint(tmp_path / "mmengine.pth")
    torch.save(STATE | {"hugging_face": {"config": 5}}, tmp_path / "crafted.pth")
    assert read_checkpoint(tmp_path / "crafted.pth")["hugging_face"]["config"] == CONFIG
    (tmp_path / "config.json").unlink()
    assert read_checkpoint(tmp_path / "crafted.pth").keys() == STATE.keys()


@pytest.mark.parametrize(
    ("index", "shards", "message"),
    [
        ({"a": "../secret.safetensors"}, {}, "has a separator of folders"),
        ({"a": "model-1.safetensors"}, {}, r"lacks model-1.safetensors, which .*index.json names"),
        ({"a": 5}, {}, "is a int, not a text"),
        ({}, {}, "has no 'weight_map'"),
        ({"a": "x.safetensors", "c": "x.safetensors"}, {"x": STATE}, "lacks c, which"),
        (
            {"a": "x.safetensors", "b": "y.safetensors"},
            {"x": STATE, "y": STATE},
            "has a, b in two of its files",
        ),
    ],
)
def test_read__refuses_indices_that_are_wrong(
    index: dict[str, Any], shards: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_checkpoint(folder(tmp_path / "hub", index, **shards))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200 + b"]" * 200, "over 100 deep"),
        (b"[" * 200_000, "cannot be read as JSON"),
        (b"[1]", "holds a list, not a JSON object"),
        (b'{"model_type"', "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
    ],
)
def test_read__refuses_settings_that_are_damaged(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = folder(tmp_path / "hub", model=STATE)
    (path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_json__is_bounded_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text('{"a": "' + "x" * 100 + '"}')
    monkeypatch.setattr("mmrel.utils.json_file.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="over 100 bytes"):
        read_json(tmp_path / "a.json")


def test_folder__without_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder without weights .*model.safetensors"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("meta", [None, {"num_heads": 3, "mean": [1.5, 2.0, 3.0], "epoch": None}])
def test_safetensors__hold_what_a_pth_file_holds(
    meta: dict[str, Any] | None, tmp_path: Path
) -> None:
    for name in ("x.safetensors", "x.pth"):
        save_weights({key: value.t() for key, value in STATE.items()}, tmp_path / name, meta)
    left, right = (read_checkpoint(tmp_path / name) for name in ("x.safetensors", "x.pth"))
    assert left.keys() == right.keys() and left.get("meta") == right.get("meta") == meta
    found, wanted = (content.get("state_dict", content) for content in (left, right))
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pth", "x.safetensors"]


def test_safetensors__damaged_files_are_errors_that_name_them(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.save_file(STATE, path)
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        whole[:7],
        whole[:40],
        whole + b"x",
        struct.pack("<Q", 2**40) + whole[8:],
        whole[:8] + b"}" + whole[9:],
        b"PK\x03\x04" + whole,
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x.safetensors' cannot be read as safetensors"):
            read_checkpoint(path)
    (tmp_path / "meta.safetensors").write_bytes(
        safetensors.save(STATE, metadata={"mmrel": "[" * 200 + "]" * 200})
    )
    with pytest.raises(ValueError, match=r"the meta in .*meta.safetensors' cannot be read as JSON"):
        read_checkpoint(tmp_path / "meta.safetensors")


def test_safetensors__without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    save_weights(STATE, path)
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="needs the package safetensors to be read"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match="needs the package safetensors to be written"):
        save_weights(STATE, tmp_path / "y.safetensors")
