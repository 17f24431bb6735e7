"""Mean and deviation of channels: exact, from any source, and what the tool prints."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
from PIL import Image

from mmrel.apis.channel_statistics import ChannelStatistics, channel_statistics
from mmrel.utils import UsageError

RNG = np.random.default_rng(0)
PATH = Path(__file__).parents[2] / "tools" / "channel_statistics.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("channel_statistics_tool", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photos(folder: Path) -> np.ndarray:
    """Images of several sizes, and all their pixels ``(n, 3)``."""
    pixels = []
    for i, shape in enumerate([(20, 31), (17, 8), (1, 1), (40, 3)]):
        image = RNG.integers(0, 60 * (i + 1), (*shape, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{i}.png")
        pixels.append(image.reshape(-1, 3))
    return np.concatenate(pixels)


def test_statistics__equal_numpy(tmp_path: Path) -> None:
    pixels = photos(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no image")
    calls: list[tuple[int, int]] = []
    found = channel_statistics(
        str(tmp_path), {}, workers=0, progress=lambda *done: calls.append(done)
    )
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0, dtype=np.float64), rtol=1e-10)
    assert (found.images, found.pixels) == (4, len(pixels))
    assert calls == [(0, 5), (5, 5)]


def test_statistics__nothing_is_lost_in_large_sums() -> None:
    histogram = np.zeros((1, 256), np.int64)
    histogram[0, [254, 255]] = 10**15
    found = ChannelStatistics.of(histogram, 1)
    assert found.mean == (254.5,) and found.std == (0.5,)


def test_tool__five_channels(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    values = RNG.integers(0, 4096, (5, 30, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack")
    out = tmp_path / "out.json"
    command = [
        "x",
        str(tmp_path),
        "--in-channels",
        "5",
        "--value-range",
        "0",
        "4095",
        "--workers",
        "0",
    ]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out)])
    tool.main()
    printed = capsys.readouterr().out
    exact = np.rint(values / 4095 * 255).reshape(5, -1)
    written = json.loads(out.read_text())
    np.testing.assert_allclose(written["mean"], exact.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(written["std"], exact.std(axis=1), rtol=1e-10)
    assert "1 images, 1200 pixels" in printed
    assert "--cfg-options 'in_channels=5' 'value_range=[0.0,4095.0]' 'mean=[" in printed


def test_tool__bad_input(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        tool.parse_args(["x", "--in-channels", "5", "--value-range", "0", "1", "2", "3"])
    with pytest.raises(UsageError, match="is missing; it must be a folder of images"):
        tool.run(tool.parse_args([str(tmp_path / "nowhere")]))
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((5, 3, 4), np.uint16), photometric="minisblack")
    with pytest.raises(UsageError, match="nothing says which of them become 0 and 255"):
        tool.run(tool.parse_args([str(tmp_path), "--in-channels", "5", "--workers", "0"]))
