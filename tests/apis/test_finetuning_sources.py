"""What a user's folder is taken for."""

import json
from pathlib import Path

import annotated
import pytest
from annotated import labels, shape, xml_object

from mmrel.apis.finetuning.objects import prepare_objects
from mmrel.apis.finetuning.pixels import prepare_pixels
from mmrel.apis.finetuning.sources import Source, open_source
from mmrel.datasets.annotations.instances import InstanceSet
from mmrel.utils import UsageError


def instances(source: Source) -> tuple[InstanceSet, InstanceSet | None]:
    assert isinstance(source.train, InstanceSet) and isinstance(source.val, InstanceSet | None)
    return source.train, source.val


def quiet(done: int, count: int) -> None:
    """No bar."""


def test_open__coco_as_file_folder_and_split_folder(tmp_path: Path) -> None:
    path = annotated.write_coco_set(tmp_path / "a")
    (tmp_path / "a" / "settings.json").write_text("{}")
    for data in (path, path.parent):
        train, val = instances(open_source(data, False, tmp_path))
        assert (train.form, len(train.images), val) == ("COCO", 3, None)
    for part, count in (("train", 3), ("valid", 2)):  # Roboflow's
        annotated.write_coco_set(tmp_path / "b" / part, annotated.coco(count))
    train, val = instances(open_source(tmp_path / "b", True, tmp_path))
    assert val is not None and (len(train.images), len(val.images)) == (3, 2)
    annotated.write_coco_set(tmp_path / "a" / "more")
    with pytest.raises(UsageError, match="holds 2 COCO files, and their names do not tell"):
        open_source(tmp_path / "a", False, tmp_path)


def test_open__coco_with_images_elsewhere(tmp_path: Path) -> None:
    path = annotated.write_coco_set(tmp_path / "a")
    moved = (tmp_path / "a" / "annotations.json").rename(tmp_path / "annotations.json")
    with pytest.raises(UsageError, match="3 of the 3 images"):
        open_source(moved, False, tmp_path)
    train, _ = instances(open_source(moved, False, tmp_path, path.parent))
    assert train.images[0].path == path.parent / "0.png"


def test_open__voc_and_labelme(tmp_path: Path) -> None:
    for name in "abc":
        annotated.write_xml(tmp_path / "voc", name, xml_object())
        annotated.write_labelme(
            tmp_path / "lm" / ("train" if name < "c" else "val"), name, [shape()]
        )
    train, val = instances(open_source(tmp_path / "voc", False, tmp_path))
    assert (train.form, len(train.images), val) == ("VOC", 3, None)
    lists = tmp_path / "voc" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a 1\nc -1\n")
    (lists / "val.txt").write_text("b\n")
    train, val = instances(open_source(tmp_path / "voc", False, tmp_path))
    assert val is not None and [i.path.stem for i in (*train.images, *val.images)] == [
        "a",
        "c",
        "b",
    ]
    train, val = instances(open_source(tmp_path / "lm", False, tmp_path))
    assert val is not None and (len(train.images), len(val.images)) == (2, 1)


def test_open__refused(tmp_path: Path) -> None:
    masks = annotated.write_masks(tmp_path / "m", [labels(0, 1)])
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.json").write_text('{"a": 1}')
    (other / "b.txt").write_text("")
    lm = annotated.write_labelme(tmp_path / "lm", "a", [shape()])
    yolo = tmp_path / "yolo"
    annotated.write_image(yolo / "images" / "a.jpg")
    (yolo / "labels").mkdir()
    (yolo / "labels" / "a.txt").write_text("0 .5 .5 .1 .1")
    for data, message in (
        (yolo, "holds text files in labels/, as YOLO's, which are not read"),
        (masks, "masks with a class per pixel, which do not tell one object from the next"),
        (empty, "holds no annotations that are known"),
        (tmp_path / "nowhere", "nowhere does not exist"),
        (other, r"a\.json is neither COCO's JSON .* nor LabelMe's"),
        (other / "b.txt", r"b\.txt is a \.txt file"),
        (lm, r"is one image's LabelMe file; give its folder"),
    ):
        with pytest.raises(UsageError, match=message):
            open_source(data, False, tmp_path)


def test_objects__classes_without_objects_are_left_out(tmp_path: Path) -> None:
    content = annotated.coco()
    content["categories"].insert(0, {"id": 1, "name": "bird"})
    content["annotations"] = [a for a in content["annotations"] if a["id"] < 100 or a["id"] == 101]
    path = annotated.write_coco_set(tmp_path / "a", content)
    other = annotated.coco(1)
    other["categories"].append({"id": 9, "name": "fish"})
    other["annotations"].append({"id": 5, "image_id": 0, "category_id": 9, "bbox": [1, 1, 5, 5]})
    train, _ = instances(open_source(path, False, tmp_path))
    val, _ = instances(
        open_source(annotated.write_coco_set(tmp_path / "v", other), False, tmp_path)
    )
    data = prepare_objects(train, val, tmp_path / "out", 0)
    assert data.classes == ("cat", "dog") and not data.with_masks
    assert data.why_boxes == "2 of 6 objects are boxes without an outline"
    assert data.root == tmp_path / "a" and data.object_side == 20
    assert any(
        "1 classes without an object to train on are left out: bird" in w for w in data.warnings
    )
    assert any("1 objects of classes that training images do not have" in w for w in data.warnings)
    written = json.loads(data.val_file.read_text())
    assert [a["category_id"] for a in written["annotations"]] == [1, 2]
    assert written["images"][0]["file_name"] == str(tmp_path / "v" / "0.png")


def test_objects__nothing_to_judge_by(tmp_path: Path) -> None:
    train, _ = instances(open_source(annotated.write_coco_set(tmp_path / "a"), False, tmp_path))
    path = annotated.write_coco_set(tmp_path / "v", annotated.coco(1, annotations=[]))
    val, _ = instances(open_source(path, False, tmp_path))
    with pytest.raises(UsageError, match="1 validation images of .* have no object of the classes"):
        prepare_objects(train, val, tmp_path / "out", 0)
    with pytest.raises(UsageError, match="1 training images of .* have no object of a class"):
        prepare_objects(val, train, tmp_path / "out", 0)


def test_pixels__of_masks(tmp_path: Path) -> None:
    root = annotated.write_masks(tmp_path / "m", [labels(0, 1)] * 4 + [labels(0, 1, 2)])
    (root / "classes.txt").write_text("ground\nred\nblue\n")
    data = prepare_pixels(open_source(root, True, tmp_path), tmp_path / "out", 0, quiet)
    assert data.classes == ("ground", "red", "blue") and data.num_train == 4
    assert data.sizes == (annotated.SIZE,) * 4 and data.root == root / "images"
    assert data.warnings == ("no validation mask has a pixel of blue, so it has no IoU",)
    entries = json.loads(data.train_file.read_text())["data_list"]
    assert entries[-1] == {"img_path": "4.jpg", "seg_map_path": "masks/train/4.jpg.png"}
    assert sorted(p.name for p in root.iterdir()) == ["classes.txt", "images", "masks"]


def test_pixels__one_class_is_refused(tmp_path: Path) -> None:
    root = annotated.write_masks(tmp_path / "m", [labels(1, 255)] * 2)
    with pytest.raises(
        UsageError, match="has one class alone, '1', so that every answer would be right"
    ):
        prepare_pixels(open_source(root, True, tmp_path), tmp_path / "out", 0, quiet)


def test_pixels__of_objects_and_of_two_forms(tmp_path: Path) -> None:
    content = annotated.coco()
    content["annotations"] = content["annotations"][:3]
    source = open_source(annotated.write_coco_set(tmp_path / "a", content), True, tmp_path)
    data = prepare_pixels(source, tmp_path / "out", 0, quiet)
    assert data.classes == ("background", "cat") and data.palette[0] == (0, 0, 0)
    root = annotated.write_masks(tmp_path / "m", [labels(0, 1)] * 2)
    masks = open_source(root, True, tmp_path)
    for train, val in ((source, masks), (masks, source)):
        with pytest.raises(UsageError, match="Give both in one form"):
            prepare_pixels(Source(train.train, val.train), tmp_path / "out", 0, quiet)
