"""The figure of segmented images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrel.visualization import segmentations
from mmrel.visualization.predictions import paint_labels
from mmrel.visualization.segmentations import SegmentedImage, draw_segmentations, voc_palette


def test_palette__pascal_vocs() -> None:
    found = voc_palette(256)
    assert found[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert (found[20], found[255]) == ((0, 64, 128), (224, 224, 192))
    assert len(set(found)) == 256


def test_paint__no_label_is_white_with_any_number_of_classes() -> None:
    labels = np.array([[-1, 0, 299]])
    painted = paint_labels(labels, voc_palette(300))
    assert painted[0].tolist() == [[255] * 3, [0, 0, 0], list(voc_palette(300)[299])]


def row(height: int, width: int) -> SegmentedImage:
    truth = np.zeros((height, width), int)
    truth[: height // 2] = 1
    truth[0] = -1
    image = np.full((height, width, 3), 120, np.uint8)
    return SegmentedImage(image, truth, {"one": truth.clip(0), "two": 2 - truth.clip(0)})


def test_draw__each_picture_in_its_own_proportions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = []
    real = segmentations._draw_row

    def spy(axes: list, own: SegmentedImage, colors: tuple) -> None:
        real(axes, own, colors)
        boxes.append(axes)

    monkeypatch.setattr(segmentations, "_draw_row", spy)
    path = tmp_path / "a.png"
    palette = ((9, 9, 9), (0, 200, 0), (0, 0, 200))
    draw_segmentations([row(20, 40), row(40, 20)], ("sky", "sea", "sand"), path, palette)
    assert min(Image.open(path).size) > 300
    for axes, ratio in zip(boxes, (0.5, 2.0), strict=True):
        assert len(axes) == 4
        extents = [axis.get_window_extent() for axis in axes]
        assert [box.height / box.width for box in extents] == pytest.approx([ratio] * 4, rel=0.01)
    colors = {color for _, color in Image.open(path).convert("RGB").getcolors(2**20)}
    assert {(9, 9, 9), (0, 200, 0), (0, 0, 200)} <= colors


def test_legend__classes_that_occur() -> None:
    found = segmentations._legend([row(20, 40)], ("a", "b", "c", "d"), voc_palette(4))
    assert [handle.get_label() for handle in found] == ["a", "b", "c", "not labelled"]


def test_draw__nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image to draw"):
        draw_segmentations([], ("a", "b"), tmp_path / "a.png")


def test_titles__no_line_is_wider_than_a_picture() -> None:
    lines = segmentations._wrapped("work_dirs/a-very-long-name-of-a-run/epoch_100\nmIoU 3").split(
        "\n"
    )
    assert max(map(len, lines)) <= segmentations.TITLE_CHARACTERS and lines[-1] == "mIoU 3"
