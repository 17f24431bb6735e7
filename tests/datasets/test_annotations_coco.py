"""COCO files: what is read, and what is refused with which words."""

import json
from pathlib import Path
from typing import Any

import annotated
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmrel.datasets.annotations.coco import read_coco
from mmrel.datasets.annotations.coco_writer import write_coco
from mmrel.datasets.annotations.outlines import text_counts
from mmrel.utils import UsageError


def test_read__images_objects_and_classes_in_their_order(tmp_path: Path) -> None:
    data = read_coco(annotated.write_coco_set(tmp_path))
    assert data.classes == ("cat", "dog") and data.notes == ()
    assert [image.path for image in data.images] == [tmp_path / f"{n}.png" for n in range(3)]
    assert (data.images[0].width, data.images[0].height) == annotated.SIZE
    cat, dog = data.images[1].objects
    assert (cat.label, cat.box, cat.segmentation) == ("cat", (5, 5, 20, 20), annotated.TRIANGLE)
    assert (dog.label, dog.box, dog.segmentation) == ("dog", (10, 10, 8, 9), None)


@pytest.mark.parametrize("folder", ["images", "train", "images/train"])
def test_read__finds_the_usual_folders(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(annotated.coco()))
    for number in range(3):
        annotated.write_image(tmp_path / folder / f"{number}.png")
    assert read_coco(path).images[2].path == tmp_path / folder / "2.png"


def test_read__boxes_are_clipped_and_empty_ones_left_out(tmp_path: Path) -> None:
    content = annotated.coco()
    content["annotations"][0]["bbox"] = [-10, 5, 30, 20]
    content["annotations"][1]["bbox"] = [50, 5, 30, 20]
    content["annotations"][2]["bbox"] = [5, 5, 0, 0]
    content["annotations"][3]["bbox"] = [10, 10, 30.4, 9]  # less than a pixel over the edge
    data = read_coco(annotated.write_coco_set(tmp_path, content))
    assert data.images[0].objects[0].box == (0, 5, 20, 20)
    assert data.images[0].objects[1].box == (10, 10, 30, 9)
    assert [len(image.objects) for image in data.images] == [2, 1, 1]
    clipped, empty = data.notes
    assert clipped.startswith("1 boxes reached over the edge") and clipped.endswith("0.png")
    assert empty.startswith("2 objects with less than a pixel") and "1.png" in empty


def test_read__run_length_codes_and_crowds(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), dtype=np.uint8, order="F")
    mask[3:9, 4:20] = 1
    text = coco_mask.encode(mask)["counts"].decode()
    counts = text_counts(text)
    assert sum(counts) == mask.size
    content = annotated.coco()
    for index, form in enumerate((text, counts)):
        entry = content["annotations"][index]
        entry |= {"segmentation": {"size": [30, 40], "counts": form}, "iscrowd": index}
        del entry["bbox"]
    data = read_coco(annotated.write_coco_set(tmp_path, content))
    assert [image.objects[0].box for image in data.images[:2]] == [(4, 3, 16, 6)] * 2
    assert [image.objects[0].crowd for image in data.images] == [False, True, False]
    write_coco(data, tmp_path / "out.json", tmp_path)
    written = COCO(tmp_path / "out.json")
    assert written.imgs[1]["file_name"] == "0.png"
    np.testing.assert_array_equal(written.annToMask(written.anns[1]), mask)
    assert written.anns[1]["area"] == mask.sum() and written.anns[2]["bbox"] == [10, 10, 8, 9]
    assert [cat["name"] for cat in written.cats.values()] == ["cat", "dog"]


def test_text_counts__equal_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = np.asfortranarray(rng.random((17, 23)) < rng.random()).astype(np.uint8)
        counts = text_counts(coco_mask.encode(mask)["counts"].decode())
        code = coco_mask.frPyObjects({"size": [17, 23], "counts": counts}, 17, 23)
        np.testing.assert_array_equal(coco_mask.decode(code), mask)


def edited(key: str, index: int, **changes: Any) -> dict[str, Any]:
    content = annotated.coco()
    content[key][index] |= changes
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (edited("images", 1, id=0), "the id 0 stands twice in images"),
        (edited("annotations", 1, id=0), "the id 0 stands twice in annotations"),
        (edited("categories", 1, id=7), "the id 7 stands twice in categories"),
        (edited("categories", 1, name="cat"), "the categories 7 and 3 have one name, 'cat'"),
        (
            edited("categories", 1, name="Cat"),
            "'cat' and 'Cat' differ only in upper and lower case",
        ),
        (edited("categories", 1, name=" "), "' ' is no name of a class"),
        (edited("categories", 1, name="a\x1b[2J"), "is no name of a class"),
        (edited("images", 1, file_name="0.png"), "1 images have the file_name of another one"),
        (edited("images", 1, width=30, height=40), "1.png has 30x40 pixels .* it has 40x30"),
        (edited("images", 1, width="wide"), "1.png has width 'wide'"),
        (
            edited("annotations", 1, image_id=9),
            "unknown image_id, such as annotation 1 with image_id 9",
        ),
        (edited("annotations", 1, category_id=9), "1 annotations have an unknown category_id"),
        (edited("annotations", 1, bbox=[1, 2, 3]), r"annotation 1 has the box \[1, 2, 3\]"),
        (
            edited("annotations", 1, segmentation=[[1, 2]]),
            "annotation 1 has a segmentation that is",
        ),
        (
            edited("annotations", 1, segmentation={"size": [40, 30], "counts": "a"}),
            r"run-length code of size \[40, 30\], its image \[30, 40\]",
        ),
        (
            edited("annotations", 1, segmentation={"size": [30, 40], "counts": "zzzz"}),
            "counts do not add up to the 1200 pixels",
        ),
        (annotated.coco(categories=[]), "has no category"),
        ({**annotated.coco(), "images": [], "annotations": []}, "lists no image"),
    ],
)
def test_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = annotated.write_coco_set(tmp_path, content)
    with pytest.raises(UsageError, match=message) as raised:
        read_coco(path)
    assert str(path) in str(raised.value)


def test_refused__missing_images_are_named(tmp_path: Path) -> None:
    path = annotated.write_coco_set(tmp_path)
    (tmp_path / "1.png").unlink()
    with pytest.raises(
        UsageError, match=r"1 of the 3 images .* missing: .*1\.png \(looked in .*--images"
    ):
        read_coco(path)


def test_refused__coordinates_that_are_no_pixels(tmp_path: Path) -> None:
    content = annotated.coco()
    for entry in content["annotations"]:
        entry["bbox"] = [0.1, 0.1, 0.5, 0.5]
    with pytest.raises(
        UsageError, match="6 of the 6 objects .* no pixel inside.*shares from 0 to 1"
    ):
        read_coco(annotated.write_coco_set(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"shapes": []}', "no COCO file of objects.*found the keys shapes"),
        ("[1, 2]", "no COCO file of objects.*found a list"),
        ("{", "cannot be read as JSON"),
        ('{"images": NaN}', "holds NaN, which is no number"),
        ("[" * 500 + "]" * 500, "cannot be read as JSON"),
        ("[" * 500_000, "cannot be read as JSON"),
    ],
)
def test_refused__other_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_coco(path)


def test_refused__a_photo_that_lies_on_its_side(tmp_path: Path) -> None:
    """Training turns it by its EXIF orientation, so annotations of the file as it lies do not fit."""
    content = annotated.coco(1)
    content["images"][0]["file_name"] = "0.jpg"
    path = annotated.write_coco_set(tmp_path, content)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / "0.jpg") as image:
        image.save(tmp_path / "0.jpg", exif=exif)
    with pytest.raises(UsageError, match="turned by its EXIF orientation"):
        read_coco(path)


def test_refused__an_image_that_is_none(tmp_path: Path) -> None:
    path = annotated.write_coco_set(tmp_path)
    (tmp_path / "1.png").write_text("no image")
    with pytest.raises(UsageError, match=r"The image .*1\.png cannot be read"):
        read_coco(path)
