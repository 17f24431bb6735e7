"""The quickstart's recipes on photos that are not square."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

RECIPES = sorted((Path(__file__).parents[2] / "configs/quickstart").glob("*.py"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_knn__images_of_mixed_shapes_make_one_batch(path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for number, shape in enumerate(((80, 60, 3), (60, 130, 3))):
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(
            tmp_path / f"a/{number}.png"
        )
    config = Config.fromfile(path)
    side = 64 if path.stem.startswith("relvit") else 48
    for name in ("bank_dataloader", "val_dataloader"):
        settings = dict(config.default_hooks.knn[name].dataset, data_root=str(tmp_path))
        with DefaultScope.overwrite_default_scope("mmpretrain"):
            images = DATASETS.build(settings)
            assert [tuple(images[i]["inputs"].shape) for i in (0, 1)] == [(3, side, side)] * 2
