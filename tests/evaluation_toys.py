"""Protocols that count how often they run, tiny checkpoints and tiny data."""

from collections import Counter
from pathlib import Path

import numpy as np
import tiny
import torch
from PIL import Image

from mmrel.apis.evaluation import Measure, Outcome, Protocol

CLASSES = ("bark", "sand")


class Fake:
    """A protocol's function that counts its runs by network, draws a picture, and fails where it is told to."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.error: BaseException | None = None
        self.fails_at = -1

    def __call__(self, backbone, data, settings, desk) -> Outcome:
        number = sum(self.runs.values())
        value = 10.0 if backbone is None else backbone.layers[0].ln1.weight.sum().item()
        name = f"{value:.2f}"
        self.runs[name] += 1
        if self.error is not None and self.fails_at in (-1, number):
            raise self.error
        desk.advance(1, 2)
        path, shot = desk.shot("Noise", "A <picture>.")
        Image.new("RGB", (8, 4)).save(path)
        drawn = torch.rand(()).item()
        return Outcome({"score": value, "drawn": drawn, "lacking": None}, {"images": 3}, (shot,))


def protocol(run, **changes) -> Protocol:
    settings = {"quick": {"count": 3}, "full": {"count": 9}}
    given = dict(
        title="A fake",
        about="It does <nothing>.",
        needs=("classification",),
        run=run,
        settings=settings,
        measures=(Measure("score", "fake score"),),
        baselines=("thumbnails",),
    )
    return Protocol(**{**given, **changes})


def save_checkpoint(path: Path, scale: float = 1.0, method: dict | None = None) -> Path:
    """A pretraining's checkpoint whose first norm has the given weights."""
    model = tiny.build(tiny.dino() if method is None else method)
    with torch.no_grad():
        model.teacher.backbone.layers[0].ln1.weight.fill_(scale)
    config = (
        f"default_scope = 'mmpretrain'\nmodel = {tiny.dino() if method is None else method!r}\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": model.state_dict(), "meta": dict(cfg=config)}, path)
    return path


def save_classes(root: Path, train: int = 6, val: int = 3) -> Path:
    """Class folders of images that the colour tells apart."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (24, 28, 3)) + 150 * number
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return root
