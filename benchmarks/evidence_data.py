"""The data sets of the evidence: how each is made, how long it is trained on, and what judges there."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mmrel.utils import UsageError

if TYPE_CHECKING:
    from mmrel.datasets.converters.folders import Entry

NUM_TRAIN, NUM_VAL, SCENES_SEED = 8000, 2000, 1
"""The scenes that are reported on. Settings were chosen on others, of seed 0."""
CELL_SIDE = 96
"""Pixels of a solar cell's photo, of 300: as many as the scenes' class folders have, so that crops keep their scale."""
EVERY_IMAGE = {"max_train": None, "max_val": None}
LABEL_TASKS = {f"labels-{share}": share for share in (100, 25, 10)}
"""Tasks of ``evidence_finetune`` with labels of images, and the per cent of them that each uses."""


@dataclass(frozen=True)
class DataSet:
    """What arms are pretrained and judged on.

    Attributes:
        name: on the command line and of its results' folder.
        title: in lists, and of its part of the page.
        make: writes ``classification`` and, where there are any, ``segmentation`` and ``davis`` into a folder, once.
        judges: settings by protocol; those that are left out do not judge.
        passes: over the images for one epoch of the recipes, which count in those of the scenes.
        arch: sizes of the arms' ViT; empty: those of their configs.
        rate: factor of the recipes' learning rates.
        tasks: of ``evidence_finetune``, those that can be trained on it.
        classifier: options of the arms' classifier: the number of classes, where it is not that of their config.
        about: what a reader of its part of the page must know.
    """

    name: str
    title: str
    make: Callable[[Path], None]
    judges: Mapping[str, Mapping[str, Any]]
    passes: int = 1
    arch: Mapping[str, int] = field(default_factory=dict)
    rate: float = 1.0
    tasks: tuple[str, ...] = ()
    classifier: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""


# Libraries that take seconds to import are imported by those who make data.
def _make_scenes(root: Path) -> None:
    from mmrel.datasets.scenes import make_scenes

    make_scenes(str(root), num_train=NUM_TRAIN, num_val=NUM_VAL, seed=SCENES_SEED)


def _make_elpv(root: Path) -> None:
    from mmrel.datasets.converters.elpv import INSTALLED, convert_elpv
    from mmrel.datasets.converters.folders import write_class_folders

    folder = root / "classification"
    if folder.exists():
        return
    try:
        write_class_folders(map(_shrunk, convert_elpv(INSTALLED)), folder)
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from error


def _shrunk(photo: "Entry") -> "Entry":
    import numpy as np
    from PIL import Image

    assert isinstance(photo.content, bytes), "ELPV's photos are files"
    with Image.open(io.BytesIO(photo.content)) as image:
        small = image.convert("RGB").resize((CELL_SIDE, CELL_SIDE), Image.Resampling.BICUBIC)
    return photo._replace(name=PurePosixPath(photo.name).stem, content=np.asarray(small))


SCENES = DataSet(
    "scenes",
    "Bundled scenes",
    _make_scenes,
    {
        "knn": {**EVERY_IMAGE, "image_size": None, "k": [20], "temperature": 0.07},
        "linear_probe": {**EVERY_IMAGE, "image_size": None, "epochs": 30},
        "patch_knn": {
            "max_train": 120,
            "max_val": 100,
            "max_patches": 60_000,
            "k": 20,
            "size": None,
        },
        "linear_segmentation": {"max_train": 150, "max_val": 100, "size": None},
        # DAVIS' frames keep their own size: enlarged ones are so easy that all networks come near 100.
        "davis": {"split": "val", "max_sequences": None, "size": 128},
        "tokens": {"max_images": 250, "image_size": 96},
        "correspondence": {"max_images": 100, "radius": 1},
        "pictures": {"max_images": 3},
    },
    tasks=("mask-rcnn", "upernet", *LABEL_TASKS),
)
ELPV = DataSet(
    "elpv",
    "Photos of solar cells (ELPV)",
    _make_elpv,
    {
        # Whole photos at the scale of the crops: at 48 pixels, as scenes are read, fine cracks hardly show.
        "knn": {**EVERY_IMAGE, "image_size": CELL_SIDE, "k": [20], "temperature": 0.07},
        # A quarter of the scenes' images, and as many steps.
        "linear_probe": {**EVERY_IMAGE, "image_size": CELL_SIDE, "epochs": 120},
        "tokens": {"max_images": 250, "image_size": CELL_SIDE},
        "correspondence": {"max_images": 100, "radius": 1},
    },
    passes=4,
    tasks=tuple(LABEL_TASKS),
    classifier={"model.head.num_classes": 4, "data_preprocessor.num_classes": 4},
    about="Four classes: mono- or polycrystalline, functional or defective. The largest has 40.2 % of the validation\n"
    "photos. Whole ones are read at 96 pixels.",
)
VIT_SMALL = {"embed_dims": 384, "num_layers": 12, "num_heads": 6, "feedforward_channels": 1536}
LARGE = replace(
    SCENES,
    name="scenes-vit-small",
    title="Bundled scenes, ViT-S",
    passes=10,
    arch=VIT_SMALL,
    # DINO's own rule for 64 images, 5e-4 times 64 / 256. The small network's rate draws this one's tokens together.
    rate=0.25,
    tasks=(),
    about="ViT-S with patches of 8 pixels, 21 million parameters, for ten times the steps and at a quarter\n"
    "of the learning rates, on a GPU.",
)
DATA_SETS = {one.name: one for one in (SCENES, ELPV, LARGE)}
"""By name; the claims' own tables are about the first."""
