"""The feature extractor as a graph of torch.export, and as an ONNX file that onnxruntime runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from apis.test_extractor import built

from mmrel.apis import feature_extractor, onnx_file
from mmrel.utils import UsageError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def close(found: Any, wanted: Any) -> None:
    for left, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.as_tensor(left), right, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.export, "Dim"), reason="torch.export has no sizes by name")
def test_torch_export__any_batch_and_size() -> None:
    extractor = feature_extractor(built(pos_interpolation="dino"), ("cls+avg", "map"))
    batch, rows, cols = (torch.export.Dim(name, min=1, max=64) for name in ("b", "r", "c"))
    shapes = {"images": {0: batch, 2: 8 * rows, 3: 8 * cols}}
    exported = torch.export.export(
        extractor, (torch.rand(2, 3, 24, 40),), dynamic_shapes=shapes
    ).module()
    for shape in ((3, 3, 24, 40), (5, 3, 32, 32), (2, 3, 16, 64)):
        images = torch.rand(shape)
        close(exported(images), extractor(images))


@pytest.mark.parametrize(
    ("rule", "inputs", "dynamic"),
    [("dino", "float", "all"), ("size", "uint8", "batch"), ("size", "normalised", "none")],
)
def test_onnx__gives_torch_s_numbers(rule: str, inputs: str, dynamic: str, tmp_path: Path) -> None:
    features = ("cls+avg", "map") if dynamic == "all" else ("avg",)
    extractor = feature_extractor(
        built(pos_interpolation=rule), features, normalise=inputs != "normalised"
    )
    path = tmp_path / "new" / "features.onnx"
    compared = onnx_file.write_onnx(extractor, path, (24, 40), dynamic, inputs)
    assert [c.shape for c in compared] == {
        "all": [(1, 3, 24, 40), (3, 3, 24, 40), (2, 3, 32, 64)],
        "batch": [(1, 3, 24, 40), (3, 3, 24, 40)],
        "none": [(2, 3, 24, 40)],
    }[dynamic]
    assert all(c.difference <= 1e-5 * max(1, c.largest) for c in compared)
    assert list(path.parent.iterdir()) == [path]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == [f.replace("+", "_") for f in features]
    told = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert json.loads(told["mean"]) == [120.0, 110.0, 100.0] and told["dynamic"] == dynamic
    shapes = {
        "all": [(4, 3, 32, 32), (1, 3, 8, 48)],
        "batch": [(4, 3, 24, 40)],
        "none": [(2, 3, 24, 40)],
    }[dynamic]
    for shape in shapes:
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        given = images if inputs == "uint8" else images.float() / 255
        wanted = extractor(given)
        found = session.run(None, {"images": given.numpy()})
        close(found, (wanted,) if isinstance(wanted, torch.Tensor) else wanted)


def test_onnx__a_file_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def run(self, _: Any, given: dict[str, Any]) -> list[Any]:
            return [np.full((len(given["images"]), 24), np.nan, np.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    extractor, path = feature_extractor(built()), tmp_path / "features.onnx"
    with pytest.raises(UsageError, match=r"was not written: onnxruntime's results differ"):
        onnx_file.write_onnx(extractor, path, (24, 40))
    assert not list(tmp_path.iterdir())


def test_onnx__refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor, path = feature_extractor(built()), tmp_path / "features.onnx"
    with pytest.raises(UsageError, match="no whole number of patches of 8; give multiples"):
        onnx_file.write_onnx(extractor, path, (30, 32))
    with pytest.raises(UsageError, match="the extractor has normalise=True"):
        onnx_file.write_onnx(extractor, path, (32, 32), inputs="normalised")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="more than the 2 GiB of one ONNX file"):
        onnx_file.write_onnx(extractor, path, (32, 32))
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="onnx and onnxruntime is not installed.*extra export"):
        onnx_file.write_onnx(extractor, path)
    assert not list(tmp_path.iterdir())
