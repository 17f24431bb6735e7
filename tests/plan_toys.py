"""Folders, machines and trials that the tests of the pretraining plan share."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmrel.apis.pretraining.headers import Header
from mmrel.apis.pretraining.machine import GIB, Machine
from mmrel.apis.pretraining.planning import Planner
from mmrel.apis.pretraining.survey import Survey
from mmrel.apis.pretraining.trial import Pace
from mmrel.apis.pretraining.wishes import Wishes

CONFIGS = Path(__file__).parents[1] / "configs"
CPU = Machine(None, 0, 0, False, cores=2, memory=16 * GIB, cpu="Toy CPU")
GPU = Machine("Toy GPU", 1, 24 * GIB, True, cores=8, memory=64 * GIB)


class ToyTrial:
    """Measures nothing: a step of an image takes 10 ms and 50 MiB."""

    backbone_parameters = 5_500_000

    def __init__(self, config: Any, images: Any) -> None:
        self.config = config

    def memory(self, batch_size: int, crops: Any, precision: str) -> int:
        return GIB + batch_size * 50 * 2**20

    def pace(self, batch_size: int) -> Pace:
        return Pace(step=0.01 * batch_size, loading=0.001, batch_size=batch_size)

    def close(self) -> None:
        pass


def survey(count: int, side: int = 640, **changes: Any) -> Survey:
    """So many colour photos, of which none was looked at."""
    header = Header(side, side + side // 2, 3, False)
    return Survey(**{"root": "photos", "num_images": count, "headers": (header,) * 8, **changes})


def planner(count: int, machine: Machine = CPU, tmp: Path = Path("w"), **wishes: Any) -> Planner:
    """What plans a run on so many photos."""
    return Planner(Wishes("photos", **wishes), survey(count), machine, tmp, CONFIGS, "command")


def write_photos(folder: Path, count: int, side: int = 40) -> Path:
    """Noise as JPEG files, in two subfolders."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / ("a" if index % 2 else "b/c") / f"{index:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (side, side + index % 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder
