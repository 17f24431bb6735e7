"""Masks over frames: painted pixels, the strip, and clips in every format."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmrel.evaluation.davis import write_mask
from mmrel.visualization import video
from mmrel.visualization.video import (
    CLIP_SUFFIXES,
    chosen_frames,
    draw_strip,
    paint_mask,
    write_clip,
)

FRAMES = [np.full((31, 45, 3), 100 + k, np.uint8) for k in range(4)]
MASKS = [np.zeros((31, 45), np.uint8) for _ in FRAMES]
for k, mask in enumerate(MASKS):
    mask[5:15, 5 + k : 20 + k], mask[20:, 30:] = 1, 2


def test_paint__objects_are_tinted_and_outlined() -> None:
    painted = paint_mask(FRAMES[0], np.where(MASKS[0] == 2, 255, MASKS[0]).astype(np.uint8))
    assert painted[0, 0].tolist() == painted[25, 40].tolist() == [100] * 3
    assert painted[10, 10].tolist() == [114, 50, 50]
    assert painted[10, 19].tolist() == painted[10, 4].tolist() == [255] * 3


def test_frames__first_and_last_are_shown() -> None:
    assert chosen_frames(12, 6) == [0, 2, 4, 7, 9, 11]
    assert chosen_frames(3, 6) == [0, 1, 2]
    assert chosen_frames(1, 6) == [0]


def test_strip__as_wide_as_the_page_and_in_the_frames_shape(tmp_path: Path) -> None:
    for k, mask in enumerate(MASKS):
        write_mask(tmp_path / f"{k}.png", mask)
    files = [tmp_path / f"{k}.png" for k in range(4)]
    draw_strip(FRAMES, {"annotated": files, "propagated": MASKS}, tmp_path / "new" / "strip.png", 3)
    with Image.open(tmp_path / "new" / "strip.png") as image:
        assert image.width == 1440 and 600 < image.height < 720
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    # Tinted pixels of object 1 in the first, and in the last frame.
    for tinted in ([114, 50, 50], [116, 52, 52]):
        assert (pixels == tinted).all(1).any()


@pytest.mark.parametrize("suffix", CLIP_SUFFIXES)
def test_clip__every_frame_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"clip{suffix}"
    write_clip(FRAMES, MASKS, path, fps=10)
    if suffix == ".mp4":
        reader = cv2.VideoCapture(str(path))
        shapes = []
        while (found := reader.read())[0]:
            shapes.append(found[1].shape)
        assert shapes == [(30, 44, 3)] * 4
    else:
        with Image.open(path) as image:
            assert (image.n_frames, image.size) == (4, (45, 31))
            image.seek(3)
            pixel = np.asarray(image.convert("RGB"))[10, 12].astype(int)
        assert abs(pixel - [116, 52, 52]).max() < 12
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_clip__large_frames_are_shrunk(tmp_path: Path) -> None:
    write_clip(FRAMES, MASKS, tmp_path / "a.gif", max_side=15)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (15, 10)


def test_clip__another_format(tmp_path: Path) -> None:
    for name in ("a.avi", "a"):
        with pytest.raises(ValueError, match="choose from .webp, .gif, .png, .mp4"):
            write_clip(FRAMES, MASKS, tmp_path / name)
    assert not [*tmp_path.iterdir()]


def test_clip__an_opencv_without_mpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def __init__(self, *args: object) -> None:
            pass

        def isOpened(self) -> bool:  # noqa: N802
            return False

    monkeypatch.setattr(video.cv2, "VideoWriter", Closed)
    monkeypatch.setattr(Closed, "fourcc", staticmethod(lambda *code: 0), raising=False)
    with pytest.raises(ValueError, match="cannot write a.mp4; choose .webp or .gif"):
        write_clip(FRAMES, MASKS, tmp_path / "a.mp4")
    assert not [*tmp_path.iterdir()]
