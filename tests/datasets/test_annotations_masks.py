"""Masks: which belongs to which image, what their values mean, and what is refused."""

from pathlib import Path

import annotated
import numpy as np
import pytest
from annotated import labels
from PIL import Image

from mmrel.datasets.annotations.class_list import read_class_list
from mmrel.datasets.annotations.labelme import read_labelme
from mmrel.datasets.annotations.mask_classes import survey
from mmrel.datasets.annotations.mask_pairs import MaskPairs, find_pairs
from mmrel.datasets.annotations.semantic import from_instances, from_masks, write_semantic
from mmrel.utils import UsageError

PALETTE = [0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200]


def pairs_of(root: Path) -> MaskPairs:
    found = find_pairs(root)
    assert found is not None and found[1] is None
    return found[0]


def with_palette(values: np.ndarray) -> Image.Image:
    image = Image.fromarray(values)
    image.putpalette(PALETTE)
    return image


def colored(*colors: tuple[int, int, int]) -> np.ndarray:
    return np.array(colors, dtype=np.uint8)[labels(*range(len(colors)))]


def test_survey__values(tmp_path: Path) -> None:
    root = annotated.write_masks(tmp_path, [labels(0, 7, 255), labels(7, 3)])
    coding = survey(pairs_of(root).pairs)
    assert coding.values == (0, 3, 7) and coding.palette is None
    assert coding.present == (frozenset({0, 7, 255}), frozenset({3, 7}))
    wanted = labels(0, 2, 255)
    np.testing.assert_array_equal(coding.labels(root / "masks" / "0.png"), wanted)


def test_survey__two_values_of_a_binary_mask(tmp_path: Path) -> None:
    coding = survey(pairs_of(annotated.write_masks(tmp_path, [labels(0, 255)])).pairs)
    assert coding.values == (0, 255) and "255 is the object" in coding.reason


def test_survey__palettes(tmp_path: Path) -> None:
    """The index counts, and 255 is VOC's border even where 0 is all there is besides."""
    root = annotated.write_masks(
        tmp_path, [with_palette(labels(0, 2)), with_palette(labels(3, 255))]
    )
    coding = survey(pairs_of(root).pairs)
    assert coding.values == (0, 2, 3)
    assert coding.palette == ((0, 0, 0), (0, 200, 0), (0, 0, 200))


def test_survey__colours(tmp_path: Path) -> None:
    masks = [colored((128, 64, 0), (0, 0, 0)), colored((224, 224, 192), (0, 0, 9))]
    root = annotated.write_masks(tmp_path, masks)
    coding = survey(pairs_of(root).pairs)
    assert coding.palette == ((0, 0, 0), (0, 0, 9), (128, 64, 0))
    np.testing.assert_array_equal(coding.labels(root / "masks" / "1.png"), labels(255, 1))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_survey__grey_values_of_few_bits(tmp_path: Path, bits: int) -> None:
    root = annotated.write_masks(tmp_path, [labels(0, 1)])
    Image.fromarray(labels(0, 1)).save(root / "masks" / "0.png", bits=bits)
    assert survey(pairs_of(root).pairs).values in {(0, 1)}


def test_names__of_numbers_and_colours(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    root = annotated.write_masks(tmp_path / "a", [labels(0, 2)])
    file.write_text("__ignore__\nground\nsky\nred thing\n")
    data = pairs_of(root)
    assert from_masks(data, survey(data.pairs), read_class_list(file)).classes == (
        "ground",
        "red thing",
    )
    assert from_masks(data, survey(data.pairs), None).classes == ("0", "2")
    root = annotated.write_masks(tmp_path / "b", [colored((128, 64, 0), (0, 0, 0))])
    data = pairs_of(root)
    file.write_text("void 0 0 0\nroad way\t128, 64, 0\n")
    assert from_masks(data, survey(data.pairs), read_class_list(file)).classes == (
        "void",
        "road way",
    )
    file.write_text("0 0 0 void\n128 64 0 road\n")
    assert from_masks(data, survey(data.pairs), read_class_list(file)).classes == ("void", "road")
    assert from_masks(data, survey(data.pairs), None).classes == ("#000000", "#804000")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ground\n", r"The masks hold 2, which .*names.txt does not name"),
        ("a 1 2 3\n", "names colours, but the masks hold numbers"),
        ("", "names.txt is empty"),
        ("a\nb\nA\n", "'a' and 'A' differ only"),
        ("a\nb\na\n", "has a name or a colour twice"),
    ],
)
def test_names__refused(tmp_path: Path, text: str, message: str) -> None:
    data = pairs_of(annotated.write_masks(tmp_path / "a", [labels(0, 2)]))
    file = tmp_path / "names.txt"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        from_masks(data, survey(data.pairs), read_class_list(file))


def test_pairs__layouts(tmp_path: Path) -> None:
    for number, (image, mask) in enumerate(
        [
            ("train/images", "train/masks"),
            ("images/train", "masks/train"),
            ("images/training", "annotations/training"),
        ]
    ):
        root = tmp_path / str(number)
        for split in ("train", "val"):
            places = [
                text.replace("training", "train").replace("train", split) for text in (image, mask)
            ]
            if "training" in image:
                places = [text.replace("train", "training") for text in places]
                places = [text.replace("val", "validation") for text in places]
            annotated.write_image(root / places[0] / "x.v1.jpg")
            annotated.write_image(root / places[1] / "x.v1.png")
        found = find_pairs(root)
        assert found is not None and found[1] is not None
        assert [len(part.pairs) for part in found] == [1, 1]
        assert "val" in str(found[1].pairs[0][0])


def test_pairs__voc_lists_and_endings(tmp_path: Path) -> None:
    for name in "abc":
        annotated.write_image(tmp_path / "JPEGImages" / f"{name}.jpg")
        annotated.write_image(tmp_path / "SegmentationClass" / f"{name}_mask.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    assert len(pairs_of(tmp_path).pairs) == 3
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a_mask\nb_mask\n")
    (lists / "val.txt").write_text("c_mask\n")
    train, val = find_pairs(tmp_path) or (None, None)
    assert len(train.pairs) == 2 and val.pairs[0][0].name == "c.jpg"
    (lists / "val.txt").write_text("d\n")
    with pytest.raises(UsageError, match=r"val\.txt names 1 images that have no image or no mask"):
        find_pairs(tmp_path)


def test_pairs__alone(tmp_path: Path) -> None:
    root = annotated.write_masks(tmp_path, [labels(0, 1)] * 3)
    (root / "masks" / "1.png").unlink()
    data = pairs_of(root)
    assert len(data.pairs) == 2
    assert data.notes[0].startswith("1 images have no mask") and "1.jpg" in data.notes[0]
    (root / "images" / "2.jpg").unlink()
    with pytest.raises(UsageError, match=r"1 masks have no image in .*images: .*2\.png"):
        find_pairs(root)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (labels(0, 1)[:20], r"0\.png has 40x20 pixels .* 0\.jpg has 40x30".replace(" 0", ".*0")),
        (np.arange(1200, dtype=np.uint16).reshape(30, 40), "1200 values: more than 255 classes"),
        (
            np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8),
            "colours: more than 255",
        ),
    ],
)
def test_survey__refused(tmp_path: Path, mask: np.ndarray, message: str) -> None:
    data = pairs_of(annotated.write_masks(tmp_path, [mask]))
    with pytest.raises(UsageError, match=message):
        survey(data.pairs)


def test_survey__refuses_lossy_mixed_and_broken_masks(tmp_path: Path) -> None:
    root = annotated.write_masks(tmp_path, [labels(0, 1), colored((1, 2, 3), (0, 0, 0))])
    with pytest.raises(UsageError, match=r"1\.png cannot be used: it has a colour per pixel"):
        survey(pairs_of(root).pairs)
    Image.fromarray(labels(0, 1)).save(root / "masks" / "1.png", "JPEG")
    with pytest.raises(UsageError, match=r"1\.png cannot be used: JPEG changes values"):
        survey(pairs_of(root).pairs)
    (root / "masks" / "1.png").write_text("none")
    with pytest.raises(UsageError, match=r"The mask .*1\.png cannot be used"):
        survey(pairs_of(root).pairs)


def test_painted__later_objects_on_top(tmp_path: Path) -> None:
    box = [[0, 0], [40, 0], [40, 30], [0, 30]]
    half = [[0, 0], [20, 0], [20, 30], [0, 30]]
    shapes = [annotated.shape("b", points=box), annotated.shape("a", points=half)]
    shapes.append(annotated.shape("__ignore__", points=[[0, 0], [40, 0], [40, 10], [0, 10]]))
    path = annotated.write_labelme(tmp_path, "x", shapes)
    data = from_instances(read_labelme([path], tmp_path, tmp_path))
    assert data.classes == ("background", "a", "b")
    wanted = labels(1, 2)
    wanted[:10] = 255
    np.testing.assert_array_equal(data.read(0), wanted)
    pixels = write_semantic(data, tmp_path / "out", "train", tmp_path, lambda done, count: None)
    assert pixels.tolist() == [0, 400, 400]
    with Image.open(tmp_path / "out" / "masks" / "train" / "x.png.png") as image:
        np.testing.assert_array_equal(np.asarray(image), wanted)


def test_painted__boxes_tell_no_pixels(tmp_path: Path) -> None:
    rectangle = annotated.shape("a", "rectangle", [[1, 1], [9, 9]])
    path = annotated.write_labelme(tmp_path, "x", [rectangle])
    data = read_labelme([path], tmp_path, tmp_path)
    with pytest.raises(UsageError, match=r"1 objects .* boxes without an outline .*x\.json"):
        from_instances(data)
