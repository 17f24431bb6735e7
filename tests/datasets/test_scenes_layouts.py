"""The scenes: the files that are written, and that the usual readers read them."""

import hashlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrel.datasets.scenes import (
    CLASSES,
    PALETTE,
    SEGMENTATION_CLASSES,
    THING_PALETTE,
    generate,
    make_scenes,
)
from mmrel.datasets.scenes.motion import FRAMES

SMALL = {"num_train": 12, "num_val": 10, "image_size": 64, "class_image_size": 48, "seed": 1}
TOOL = Path(__file__).parents[2] / "tools" / "make_scenes.py"


def _digests(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    make_scenes(root, **SMALL, workers=1)
    return root


def test_make_scenes__bytes_do_not_depend_on_the_workers(scenes, tmp_path):
    make_scenes(tmp_path / "again", **SMALL, workers=2)
    assert _digests(tmp_path / "again") == _digests(scenes)


FORKED = """
import os, sys, time
import cv2, numpy as np
from mmrel.datasets.scenes import make_scenes

cv2.setNumThreads(2)
cv2.warpAffine(np.zeros((2000, 2000, 3), np.uint8), np.eye(2, 3), (2000, 2000))
time.sleep(0.5)
cv2.setNumThreads(0)  # as mmengine's runner does
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
make_scenes(sys.argv[1], num_train=2, num_val=1, image_size=32, class_image_size=32, workers=2)
"""


def test_make_scenes__in_a_fork_of_a_process_that_used_opencv(tmp_path):
    """A fork has none of its parent's threads; OpenCV would wait for them if their number were set there."""
    command = [sys.executable, "-c", FORKED, str(tmp_path / "scenes")]
    subprocess.run(command, check=True, timeout=100)
    assert (tmp_path / "scenes" / "scenes.json").is_file()


def test_make_scenes__another_seed_gives_other_images(scenes, tmp_path):
    make_scenes(tmp_path, **{**SMALL, "seed": 2}, layouts=["classification"], workers=1)
    first, second = _digests(scenes), _digests(tmp_path)
    names = [name for name in second if name.endswith(".jpg")]
    assert all(first[name] != second[name] for name in names)


def test_make_scenes__train_and_val_differ(scenes):
    digests = _digests(scenes / "classification")
    assert len(set(digests.values())) == len(digests) == 22


def test_classification__one_folder_per_class(scenes):
    for split, count in (("train", 12), ("val", 10)):
        folder = scenes / "classification" / split
        assert sorted(path.name for path in folder.iterdir()) == sorted(CLASSES)
        files = list(folder.rglob("*.jpg"))
        assert len(files) == count
        with Image.open(files[0]) as image:
            assert image.size == (48, 48)


def test_detection__coco_reads_it(scenes):
    coco = pytest.importorskip("pycocotools.coco").COCO(
        scenes / "detection" / "annotations" / "instances_train.json"
    )
    assert len(coco.imgs) == 12 and len(coco.cats) == len(CLASSES)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert mask.shape == (64, 64)
        assert abs(int(mask.sum()) - annotation["area"]) <= 0.15 * annotation["area"] + 4
    for image in coco.imgs.values():
        assert (scenes / "detection" / "train" / image["file_name"]).is_file()


def test_detection__mmdet_reads_it(scenes):
    try:
        from mmdet.datasets import CocoDataset
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"mmdet is not usable here: {error}")
    dataset = CocoDataset(
        data_root=str(scenes / "detection"),
        ann_file="annotations/instances_train.json",
        data_prefix={"img": "train/"},
        metainfo={"classes": CLASSES, "palette": THING_PALETTE},
        pipeline=[
            {"type": "mmdet.LoadImageFromFile"},
            {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True},
        ],
    )
    assert len(dataset) == 12
    for k in range(len(dataset)):
        sample = dataset[k]
        boxes, masks = sample["gt_bboxes"].tensor.numpy(), sample["gt_masks"].to_ndarray()
        assert len(boxes) == len(masks) == len(sample["gt_bboxes_labels"])
        for box, mask in zip(boxes, masks, strict=True):
            rows, cols = np.nonzero(mask)
            found = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, found, atol=1.01)


def test_segmentation__mmseg_reads_it(scenes):
    base = pytest.importorskip("mmseg.datasets").BaseSegDataset
    dataset = base(
        data_root=str(scenes / "segmentation"),
        data_prefix={"img_path": "images/validation", "seg_map_path": "annotations/validation"},
        metainfo={"classes": SEGMENTATION_CLASSES, "palette": PALETTE},
        reduce_zero_label=True,
        pipeline=[
            {"type": "mmseg.LoadImageFromFile"},
            {"type": "mmseg.LoadAnnotations", "reduce_zero_label": True},
        ],
    )
    assert len(dataset) == 10
    for k in range(len(dataset)):
        sample = dataset[k]
        values = set(np.unique(sample["gt_seg_map"]).tolist())
        assert sample["img"].shape[:2] == sample["gt_seg_map"].shape == (64, 64)
        assert 255 in values
        assert values - {255} <= set(range(len(SEGMENTATION_CLASSES)))


def test_davis__frames_masks_and_lists(scenes):
    davis = scenes / "davis"
    for split in ("train", "val"):
        names = (davis / "ImageSets" / "2017" / f"{split}.txt").read_text().split()
        assert names == [f"{split}-0000"]
        frames = sorted((davis / "JPEGImages" / "480p" / names[0]).iterdir())
        masks = sorted((davis / "Annotations" / "480p" / names[0]).iterdir())
        assert [path.name for path in frames] == [f"{k:05d}.jpg" for k in range(FRAMES)]
        assert [path.stem for path in masks] == [path.stem for path in frames]
        with Image.open(masks[0]) as mask:
            assert mask.mode == "P"
            assert mask.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
            numbers = np.unique(np.asarray(mask)).tolist()
        assert numbers == list(range(len(numbers))) and len(numbers) > 1


def test_make_scenes__complete_root_is_left_alone(scenes):
    before = (scenes / "scenes.json").stat().st_mtime_ns
    summary = make_scenes(scenes, **SMALL)
    assert summary.skipped and "already complete" in str(summary)
    assert (scenes / "scenes.json").stat().st_mtime_ns == before


def test_make_scenes__other_parameters_are_an_error_unless_overwritten(tmp_path):
    tiny = {**SMALL, "num_train": 1, "num_val": 1, "workers": 1, "layouts": ["classification"]}
    make_scenes(tmp_path, **tiny)
    (tmp_path / "notes.txt").write_text("kept")
    with pytest.raises(FileExistsError, match=r"seed: 1 there, 2 wanted.*overwrite=True"):
        make_scenes(tmp_path, **{**tiny, "seed": 2})
    assert not make_scenes(tmp_path, **{**tiny, "seed": 2}, overwrite=True).skipped
    assert json.loads((tmp_path / "scenes.json").read_text())["seed"] == 2
    assert (tmp_path / "notes.txt").read_text() == "kept"


def test_make_scenes__interrupted_run_leaves_no_stamp_and_is_repeated(tmp_path, monkeypatch):
    tiny = {**SMALL, "num_train": 1, "num_val": 1, "workers": 1, "layouts": ["davis"]}

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generate.writers, "write_sequence_list", stop)
        with pytest.raises(KeyboardInterrupt):
            make_scenes(tmp_path, **tiny)
    assert not (tmp_path / "scenes.json").exists() and not (tmp_path / "davis").exists()
    assert not make_scenes(tmp_path, **tiny).skipped
    assert sorted(path.name for path in tmp_path.iterdir()) == ["davis", "scenes.json"]


def test_make_scenes__layouts_without_stamp_are_an_error(tmp_path):
    (tmp_path / "detection").mkdir()
    with pytest.raises(FileExistsError, match=r"no stamp scenes\.json"):
        make_scenes(tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_train": 0}, "num_train is 0, but must be at least 1"),
        ({"num_val": -1}, "num_val is -1, but must be at least 1"),
        ({"image_size": 16}, "image_size is 16, but must be at least 32"),
        ({"class_image_size": 8}, "class_image_size is 8, but must be at least 32"),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"workers": 0}, "workers is 0"),
        ({"layouts": ["voc"]}, "layouts is .'voc'.*classification"),
        ({"layouts": []}, "must name one or more"),
    ],
)
def test_make_scenes__bad_arguments(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        make_scenes(tmp_path / "new", **{**SMALL, **change})
    assert not (tmp_path / "new").exists()


def test_make_scenes__missing_photographs_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("mmrel.datasets.scenes.texture.find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-image scikit-learn"):
        make_scenes(tmp_path / "new", **SMALL)
    assert not (tmp_path / "new").exists()


def _run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_tool__prints_a_summary_and_refuses_bad_values(tmp_path, monkeypatch, capsys):
    base = [tmp_path, "--layouts", "classification", "--workers", 1, "--num-train", 2]
    _run_tool(monkeypatch, *base, "--num-val", 1)
    printed = capsys.readouterr().out
    assert "classification 2 train and 1 val images, 96 x 96 pixels, 10 classes" in printed
    with pytest.raises(SystemExit, match="num_val is 0"):
        _run_tool(monkeypatch, *base, "--num-val", 0)
