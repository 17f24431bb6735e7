"""The scenes' downstream configs read what the generator writes."""

from pathlib import Path
from typing import Any

import downstream_builds as builds
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from mmrel.datasets.scenes import CLASSES, make_scenes

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, num_train=3, num_val=2, layouts=("detection", "segmentation"), workers=1)
    return folder


def _dataset(root: Path, kind: str, split: str) -> Any:
    name = {"detection": "mask-rcnn_vit-tiny-p8", "segmentation": "vit-tiny-p8_upernet"}[kind]
    config = builds.load(builds.CONFIGS / kind / f"{name}_scenes.py")
    settings = config[f"{split}_dataloader"].dataset
    settings.data_root = str(root / kind)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        return DATASETS.build(settings.to_dict())


@pytest.mark.parametrize(("split", "count"), [("train", 3), ("val", 2)])
def test_detection(root: Path, split: str, count: int) -> None:
    dataset = _dataset(root, "detection", split)
    assert len(dataset) == count and dataset.metainfo["classes"] == CLASSES
    for sample in dataset:
        assert sample["inputs"].shape == (3, 128, 128)
        things = sample["data_samples"].gt_instances
        assert len(things) > 0 and len(things.masks) == len(things.bboxes)
        assert int(things.labels.min()) >= 0 and int(things.labels.max()) < len(CLASSES)


@pytest.mark.parametrize(("split", "count"), [("train", 3), ("val", 2)])
def test_segmentation(root: Path, split: str, count: int) -> None:
    dataset = _dataset(root, "segmentation", split)
    assert len(dataset) == count
    for sample in dataset:
        labels = np.unique(sample["data_samples"].gt_sem_seg.data.numpy())
        assert sample["inputs"].shape == (3, 128, 128)
        assert 255 in labels and labels.min() >= 0 and labels[labels != 255].max() < 15
