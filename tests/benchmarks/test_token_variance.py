"""What tokens tell apart, from made-up tokens and through the command line."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import token_variance  # noqa: E402
from token_variance import variance_shares  # noqa: E402

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(5, 1, 3, generator=GENERATOR)
PLACES = torch.randn(1, 4, 3, generator=GENERATOR)


def test_shares__of_images_of_places_and_of_both() -> None:
    assert variance_shares(IMAGES.expand(5, 4, 3)) == pytest.approx((100, 0), abs=1e-10)
    assert variance_shares(PLACES.expand(5, 4, 3)) == pytest.approx((0, 100), abs=1e-10)
    assert sum(variance_shares(IMAGES + PLACES)) == pytest.approx(100)


def test_shares__equal_the_definition() -> None:
    tokens = np.random.default_rng(0).normal(1.0, 1.0, (5, 4, 3))
    center = tokens.reshape(-1, 3).mean(0)
    whole = sum(((t - center) ** 2).sum() for image in tokens for t in image) / 20
    images = sum(((image.mean(0) - center) ** 2).sum() for image in tokens) / 5
    places = sum(((tokens[:, p].mean(0) - center) ** 2).sum() for p in range(4)) / 4
    expected = (100 * images / whole, 100 * places / whole)
    assert variance_shares(torch.from_numpy(tokens)) == pytest.approx(expected)


def test_command__random_weights_on_a_few_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    config = str(ROOT / "configs/evidence/relvit_vit-tiny-p8_evidence.py")
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), config, "--size", "32"])
    token_variance.main()
    printed = capsys.readouterr().out.splitlines()
    [line] = [line for line in printed if line.endswith(config)]
    assert "3 images of 32 pixels: share of the tokens' variance" in printed
    numbers = [float(word) for word in line.split() if word.replace(".", "").isdigit()]
    assert len(numbers) == 3 and sum(numbers) == pytest.approx(100, abs=0.2)
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "none"), config])
    with pytest.raises(SystemExit):
        token_variance.main()
