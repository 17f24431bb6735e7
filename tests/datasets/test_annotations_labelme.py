"""LabelMe files: what is read, and what is refused with which words."""

from pathlib import Path
from typing import Any

import annotated
import numpy as np
import pytest
from annotated import shape
from PIL import Image
from pycocotools import mask as coco_mask

from mmrel.datasets.annotations.instances import AnnotatedObject, InstanceSet
from mmrel.datasets.annotations.labelme import read_labelme
from mmrel.datasets.annotations.outlines import run_length_code, run_lengths
from mmrel.utils import UsageError


def read(root: Path, *shapes: dict[str, Any], **more: Any) -> InstanceSet:
    path = annotated.write_labelme(root, "a", list(shapes), **more)
    return read_labelme([path], root, root / "unpacked")


def mask_of(thing: AnnotatedObject) -> np.ndarray:
    return coco_mask.decode(run_length_code(thing.segmentation, annotated.SIZE)).astype(bool)


def test_read__outlines(tmp_path: Path) -> None:
    circle = shape("b", "circle", [[20, 15], [20, 5]])
    turned = shape("c", "oriented_rectangle", [[10, 5], [15, 10], [10, 15], [5, 10]])
    data = read(tmp_path, shape("a", None), circle, turned)
    a, b, c = data.images[0].objects
    assert (a.box, a.segmentation) == ((5, 5, 20, 20), [[5, 5, 25, 5, 5, 25]])
    assert b.box == pytest.approx((10, 5, 20, 20))
    assert mask_of(b).sum() == pytest.approx(np.pi * 100, rel=0.03)
    assert c.box == (5, 5, 10, 10) and mask_of(c).sum() == pytest.approx(50, rel=0.15)


@pytest.mark.parametrize("points", [[[25, 20], [5, 6]], [[5, 6], [25, 6], [25, 20], [5, 20]]])
def test_read__a_rectangle_is_a_box_alone(tmp_path: Path, points: list[list[int]]) -> None:
    (thing,) = read(tmp_path, shape("a", "rectangle", points)).images[0].objects
    assert (thing.box, thing.segmentation) == ((5, 6, 20, 14), None)


@pytest.mark.parametrize("corner", [(3, 4), (-2, 4), (36, 28)])
def test_read__masks_lie_where_they_were_drawn(tmp_path: Path, corner: tuple[int, int]) -> None:
    drawn = np.zeros((6, 8), dtype=bool)
    drawn[1:5, 1:7] = True
    x, y = corner
    points = [[x, y], [x + 7, y + 5]]
    data = read(tmp_path, shape("a", "mask", points, mask=annotated.png_text(drawn)))
    wanted = np.zeros((60, 80), dtype=bool)
    wanted[20 + y : 26 + y, 20 + x : 28 + x] = drawn
    np.testing.assert_array_equal(mask_of(data.images[0].objects[0]), wanted[20:50, 20:60])


def test_read__shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    other = [[30, 5], [38, 5], [30, 12]]
    one, two = shape("a", group_id=1), shape("a", points=other, group_id=1)
    data = read(tmp_path, one, two, shape("b", group_id=1), shape("a"))
    objects = data.images[0].objects
    assert [thing.label for thing in objects] == ["a", "b", "a"]
    assert objects[0].box == (5, 5, 33, 20) and len(objects[0].segmentation) == 2
    drawn = annotated.png_text(np.ones((4, 4), dtype=bool))
    data = read(tmp_path, one, shape("a", "mask", [[30, 5], [33, 8]], group_id=1, mask=drawn))
    (thing,) = data.images[0].objects
    assert mask_of(thing)[5:9, 30:34].all() and mask_of(thing)[6, 6]


def test_read__lines_and_ignored_regions(tmp_path: Path) -> None:
    flat = [shape("a", "line", [[1, 2], [3, 4]]), shape("a", "point", [[1, 2]])]
    data = read(tmp_path, shape("a"), shape("__ignore__"), shape("_background_"), *flat)
    assert data.classes == ("a",)
    assert [(t.label, t.crowd) for t in data.images[0].objects] == [
        ("a", False),
        ("__ignore__", True),
        ("_background_", False),
    ]
    assert len(data.notes) == 1 and data.notes[0].startswith("2 shapes without area")
    assert str(tmp_path / "a.json") in data.notes[0]


def test_read__an_image_inside_its_file_is_unpacked(tmp_path: Path) -> None:
    data = read(tmp_path, shape(), image=False)
    assert data.images[0].path == tmp_path / "unpacked" / "a.png"
    assert Image.open(data.images[0].path).size == annotated.SIZE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "unpacked"]


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        (
            [shape(kind="ellipse")],
            {},
            r"a\.json: shape 0 \('cat'\) is of the unknown kind 'ellipse'",
        ),
        ([shape(points=[[1, 2]])], {}, r"is a polygon with the points \[\[1, 2\]\]; wanted 3"),
        ([shape(points=[[1, 2], [3, "x"], [4, 5]])], {}, "wanted 3 or more pairs of numbers"),
        ([{"points": []}], {}, "shape 0 has no label"),
        ([shape(kind="mask", points=[[1, 1], [2, 2]])], {}, "is a mask without picture"),
        (
            [shape(kind="mask", points=[[1, 1], [2, 2]], mask="?")],
            {},
            "mask 'cat' holds no picture",
        ),
        ([shape("cat"), shape("Cat")], {}, "'Cat' and 'cat' differ only"),
        ([], {}, "hold no object to learn from"),
        ([shape()], {"imageWidth": 50}, "has 50x30 pixels .* it has 40x30"),
        (
            [shape()],
            {"image": False, "imageData": None},
            "'a.png', is missing, and the file holds no",
        ),
        ([shape()], {"image": False, "imageData": "aGVsbG8="}, "The imageData in .* is no image"),
    ],
)
def test_refused(
    tmp_path: Path, shapes: list[dict[str, Any]], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, *shapes, **more)


def test_refused__other_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"shapes": 1}')
    with pytest.raises(UsageError, match=r"a\.json is not LabelMe's: it has no list of shapes"):
        read_labelme([path], tmp_path, tmp_path)


def test_run_lengths__equal_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.3, 1.0):
        mask = rng.random((7, 9)) < share
        code = coco_mask.frPyObjects(run_lengths(mask), 7, 9)
        np.testing.assert_array_equal(coco_mask.decode(code).astype(bool), mask)
