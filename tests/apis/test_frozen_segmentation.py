"""Several backbones on the same labelled images: names, layouts, table and figure."""

import math
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from labelled_images import CLASSES, labelled, network, write_images
from PIL import Image

from mmrel.apis.segmentation import (
    SegmentationComparison,
    compare_segmentation,
    distinct_names,
    named_backbones,
    open_segmentation,
)
from mmrel.evaluation.iou import segmentation_scores
from mmrel.evaluation.linear_segmentation import Schedule
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_knn import patch_knn_segmentation


def save(path: Path, **options: object) -> Path:
    """A checkpoint of a tiny ViT, in mmrel's layout."""
    backbone = network(tiny.vit(**options))
    state = {f"backbone.{name}": value + 0.1 for name, value in backbone.state_dict().items()}
    meta = dict(
        num_heads=tiny.HEADS, img_size=options.get("img_size", tiny.GLOBAL), patch_size=tiny.PATCH
    )
    torch.save({"state_dict": state, "meta": meta}, path)
    return path


def plain(root: Path) -> Path:
    """Training and validation images in plain folders."""
    write_images(root / "train", 4)
    write_images(root / "val", 3, 1)
    return root


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.pth", "b/y.pth"], ["x", "y"]),
        (["r/a/x.pth", "r/b/x.pth"], ["a/x", "b/x"]),
        (["a/x.pth", "a/y.pth", "b/x.pth"], ["a/x", "a/y", "b/x"]),
        (["x.pth", "a/x.pth"], ["x", "a/x"]),
    ],
)
def test_names__tell_files_apart(paths: list[str], names: list[str]) -> None:
    assert distinct_names(paths) == names


def test_names__one_file_twice() -> None:
    with pytest.raises(ValueError, match=r"a/x\.pth, a/x\.pth two have the same path"):
        distinct_names(["a/x.pth", "a/x.pth"])


def test_backbones__random_once_per_network(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a.pth"), save(tmp_path / "b.pth")
    other = save(tmp_path / "c.pth", img_size=32)
    alone = named_backbones([first, second], random=True)
    assert list(alone) == ["random", "a", "b"]
    assert not torch.equal(alone["random"].pos_embed, alone["a"].pos_embed)
    assert list(named_backbones([first])) == ["a"]
    both = named_backbones([first, other], random=True)
    assert list(both) == ["random, as a", "random, as c", "a", "c"]
    again = named_backbones([first], random=True, seed=1)["random"]
    assert not torch.equal(again.pos_embed, alone["random"].pos_embed)


def test_open__plain_folders_and_their_classes(tmp_path: Path) -> None:
    train, val = open_segmentation(plain(tmp_path), CLASSES)
    assert (len(train), len(val), val.classes) == (4, 3, CLASSES)
    numbered = open_segmentation(tmp_path)
    assert numbered[0].classes == numbered[1].classes == ("0", "1", "2", "3")
    with pytest.raises(FileNotFoundError, match="no folder .*val"):
        (tmp_path / "val").rename(tmp_path / "test")
        open_segmentation(tmp_path)


def test_open__a_class_of_the_validation_images_that_training_lacks(tmp_path: Path) -> None:
    root = plain(tmp_path)
    for path in (root / "train" / "masks").glob("*.png"):
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values == 3, 0, values).astype(np.uint8)).save(path)
    _, val = open_segmentation(root)
    with pytest.raises(ValueError, match="holds 3, outside of the 3 classes"):
        val.read(0)


def test_open__unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ADE20K.*PASCAL VOC.*train/masks"):
        open_segmentation(tmp_path)
    (tmp_path / "annotations").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder .*training"):
        open_segmentation(tmp_path, CLASSES)


def test_open__options_without_effect_are_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    with pytest.raises(ValueError, match="layout of ADE20K, whose ignored numbers"):
        open_segmentation(tmp_path, ignore_index=3)
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    with pytest.raises(ValueError, match="layout of PASCAL VOC, whose classes and numbers"):
        open_segmentation(tmp_path, CLASSES)


def test_compare__each_as_alone_with_pictures(tmp_path: Path) -> None:
    train, val = labelled(tmp_path / "train", 4), labelled(tmp_path / "val", 5, 1, ((16, 24),))
    backbones = {"a": network(tiny.vit()), "b": network(tiny.vit(final_norm=False))}
    found = compare_segmentation(backbones, train, val, "knn", pictures=2, k=3, out_indices=(0,))
    for name, backbone in backbones.items():
        alone = patch_knn_segmentation(backbone, train, val, 3, out_indices=(0,))
        assert found.results[name].iou == alone.iou
        assert sorted(found.results[name].predictions) == [0, 4]
    found.draw(tmp_path / "a.png")
    width, height = Image.open(tmp_path / "a.png").size
    assert width > 1000 and height > 300
    report = found.as_dict()
    assert report["num_train"] == 4 and list(report["results"]) == ["a", "b"]
    assert report["results"]["a"]["weights"] == "freshly drawn"


def test_compare__linear(tmp_path: Path) -> None:
    train, val = labelled(tmp_path / "train", 4), labelled(tmp_path / "val", 2, 1)
    schedule = Schedule((1e-2,), 1, 16)
    found = compare_segmentation(
        {"a": network(tiny.vit())}, train, val, "linear", schedule=schedule
    )
    assert found.as_dict()["results"]["a"]["learning_rate"] == 1e-2
    assert found.table().startswith("linear layer on patch tokens: 4 training and 2 validation")


def test_compare__bad_input(tmp_path: Path) -> None:
    data = labelled(tmp_path, 2)
    with pytest.raises(ValueError, match="method is 'svm'.*choose from knn, linear"):
        compare_segmentation({"a": network(tiny.vit())}, data, data, "svm")
    with pytest.raises(ValueError, match="0 backbones"):
        compare_segmentation({}, data, data)


def test_table__aligned_with_a_dash_for_what_is_nowhere() -> None:
    confusion = torch.tensor([[30, 10, 0], [0, 60, 0], [0, 0, 0]])
    result = segmentation_scores(confusion, ("sky", "grass", "car"))
    assert math.isnan(result.iou["car"])
    data = LabelledImages(((Path("a"), Path("b")),), ("sky", "grass", "car"))
    found = SegmentationComparison("knn", {"one": result, "another": result}, data, data, {})
    assert found.table().splitlines()[2:] == [
        "class          one  another",
        "mIoU          80.4     80.4",
        "pixels right  90.0     90.0",
        "sky           75.0     75.0",
        "grass         85.7     85.7",
        "car              -        -",
    ]
