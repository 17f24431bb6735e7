"""Pictures of what SiT restores, and the tool that draws them from a checkpoint."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.structures import ViewBatch
from mmrel.visualization.reconstruction import draw_reconstructions, reconstruct

TOOL = Path(__file__).parents[2] / "tools" / "visualize_reconstruction.py"


def views() -> ViewBatch:
    clean = tiny.view_batch(3, num_local=0)
    mask = torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.4
    corrupted = clean.global_crops * ~mask[:, None]
    return replace(clean, corrupted_crops=corrupted, corruption=mask)


def test_reconstruct__pictures_and_error() -> None:
    model = tiny.build(tiny.sit(drop_path_rate=0.5))
    batch = views()
    found = reconstruct(model, batch)
    assert found.clean.shape == found.predicted.shape == (3, 16, 16, 3)
    assert found.clean.dtype == found.restored.dtype == np.uint8
    mask = batch.corruption[:3].numpy()
    assert (found.mask == mask).all()
    assert (found.restored[mask] == found.predicted[mask]).all()
    assert (found.restored[~mask] == found.clean[~mask]).all()
    assert (found.corrupted[~mask] == found.clean[~mask]).all()
    assert (found.corrupted[mask] == [124, 116, 104]).all()  # the mean colour
    assert found.baseline == pytest.approx(
        float(batch.global_crops[:3].abs()[batch.corruption[:3, None].expand(-1, 3, -1, -1)].mean())
    )
    assert found.error == reconstruct(model, batch).error
    with torch.no_grad():
        model.neck.decoder.to_pixels.weight.zero_()
        model.neck.decoder.to_pixels.bias.zero_()
    assert reconstruct(model, batch).error == pytest.approx(found.baseline)


def test_reconstruct__refuses() -> None:
    with pytest.raises(ValueError, match=r"DINO has the necks \['projection'\]"):
        reconstruct(tiny.build(tiny.dino()), views())
    with pytest.raises(ValueError, match="the batch is clean"):
        reconstruct(tiny.build(tiny.sit()), tiny.view_batch(num_local=0))


def test_draw__writes_a_row_per_image(tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.png"
    draw_reconstructions(reconstruct(tiny.build(tiny.sit()), views()), path)
    width, height = Image.open(path).size
    assert (width, height) == (round(150 * 1.9 * 4), int(150 * (1.9 * 3 + 0.45)))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="mmrel.MultiCrop", global_size=16, num_local=0),
        dict(type="mmrel.DrawCorruption"),
        dict(type="mmrel.PackViews"),
    ]
    dataset = dict(type="mmrel.ImageFolder", data_root=str(tmp_path / "photos"), pipeline=pipeline)
    path = tmp_path / "config.py"
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        "custom_imports = dict(imports=['mmrel'], allow_failed_imports=False)\n"
        f"model = {tiny.sit()!r}\ntrain_dataloader = dict(dataset={dataset!r})\n"
    )
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_tool__draws_from_a_checkpoint(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checkpoint, out = tmp_path / "epoch_1.pth", tmp_path / "picture.png"
    torch.save({"state_dict": tiny.build(tiny.sit()).state_dict(), "meta": {}}, checkpoint)
    run(monkeypatch, config, checkpoint, out, "--images", 2)
    assert Image.open(out).size[0] == 1140
    assert "of the mean colour" in capsys.readouterr().out


def test_tool__usage_errors(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checkpoint, out = tmp_path / "epoch_1.pth", tmp_path / "picture.png"
    torch.save({"state_dict": tiny.build(tiny.sit()).state_dict(), "meta": {}}, checkpoint)
    other = tmp_path / "dino.py"
    other.write_text(config.read_text().replace(repr(tiny.sit()), repr(tiny.dino())))
    cases = [
        ((config, checkpoint, out, "--images", 9), "--images is 9; the data set has 4"),
        ((other, checkpoint, out), "only mmrel.SiT restores pixels"),
        ((config, tmp_path / "none.pth", out), "There is no checkpoint"),
    ]
    for arguments, message in cases:
        with pytest.raises(SystemExit):
            run(monkeypatch, *arguments)
        assert message in capsys.readouterr().err
