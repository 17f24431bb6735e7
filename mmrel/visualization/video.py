"""Masks over the frames of a video: as a strip of pictures, and as a clip that plays."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmrel.evaluation.davis import davis_palette, read_mask
from mmrel.evaluation.davis.masks import without_void
from mmrel.evaluation.images import OneImage, read_image
from mmrel.utils.files import publish, write_atomically
from mmrel.visualization.style import figure, hide_axes

ByteImage = NDArray[np.uint8]
OneMask = NDArray[np.uint8] | Path

TINT = 0.5
"""Weight of an object's colour over the frame."""

STRIP_WIDTH = 9.6
"""Of a strip, in inches."""

CLIP_FORMATS: dict[str, dict[str, Any]] = {
    ".webp": dict(format="WEBP", quality=80, method=4),
    ".gif": dict(format="GIF"),
    ".png": dict(format="PNG"),
}
CLIP_SUFFIXES = (*CLIP_FORMATS, ".mp4")
"""Animated pictures by Pillow, which browsers play, and MPEG-4 by OpenCV."""


def paint_mask(frame: ByteImage, mask: NDArray[np.uint8]) -> ByteImage:
    """The frame with its objects tinted in DAVIS' colours, and their outlines.

    Args:
        frame: uint8 RGB ``(H, W, 3)``.
        mask: object numbers, uint8 ``(H, W)``; 0 and 255 stay as the frame is.
    """
    mask = without_void(mask)
    colors = davis_palette()[mask].astype(np.float32)
    tinted = np.where(mask[..., None] > 0, (1 - TINT) * frame + TINT * colors, frame)
    painted: ByteImage = tinted.round().astype(np.uint8)
    painted[_outlines(mask)] = 255
    return painted


def chosen_frames(count: int, shown: int) -> list[int]:
    """Positions of at most ``shown`` of ``count`` frames, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, shown)).round().astype(int)).tolist()


def draw_strip(
    frames: Sequence[OneImage],
    rows: Mapping[str, Sequence[OneMask]],
    path: Path,
    shown: int = 6,
) -> None:
    """Write a strip: frames from left to right, below each other the masks by their title.

    Args:
        frames: all frames of the video.
        rows: by title, a mask or its file for each frame.
        path: PNG file to write.
        shown: frames at most.
    """
    chosen = chosen_frames(len(frames), shown)
    images = [read_image(frames[index]) for index in chosen]
    height, width = images[0].shape[:2]
    cell = (STRIP_WIDTH - 0.3) / len(chosen)
    with figure(path, STRIP_WIDTH, cell * height / width * len(rows) + 0.3) as canvas:
        grid = canvas.subplots(len(rows), len(chosen), squeeze=False)
        for line, (title, masks) in zip(grid, rows.items(), strict=True):
            for axis, image, index in zip(line, images, chosen, strict=True):
                hide_axes(axis)
                axis.imshow(paint_mask(image, _mask(masks[index])))
            line[0].set_ylabel(title)
        for axis, index in zip(grid[0], chosen, strict=True):
            axis.set_title(f"frame {index}")
        canvas.set_layout_engine("constrained", w_pad=0.015, h_pad=0.05, wspace=0, hspace=0)


def write_clip(
    frames: Sequence[OneImage],
    masks: Sequence[OneMask],
    path: Path,
    fps: float = 12.0,
    max_side: int = 640,
) -> None:
    """Write a clip of the frames with their masks, whole or not at all.

    Args:
        frames: of the video.
        masks: a mask or its file for each frame.
        path: file to write; its ending, one of :data:`CLIP_SUFFIXES`, tells the format.
        fps: frames per second.
        max_side: longest side in pixels; larger frames are shrunk.

    Raises:
        ValueError: an ending of another format, or this OpenCV cannot write MPEG-4.
    """
    painted = _painted(frames, masks, max_side)
    suffix = path.suffix.lower()
    if suffix == ".mp4":
        _write_mpeg(painted, path, fps)
        return
    if suffix not in CLIP_FORMATS:
        raise ValueError(
            f"{path.name} ends with {suffix or 'nothing'}; choose from {', '.join(CLIP_SUFFIXES)}"
        )
    first, *others = map(Image.fromarray, painted)
    options = CLIP_FORMATS[suffix]
    write_atomically(
        path,
        lambda file: first.save(
            file, save_all=True, append_images=others, duration=round(1000 / fps), loop=0, **options
        ),
    )


def _write_mpeg(painted: Iterable[ByteImage], path: Path, fps: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.mp4")
    writer = None
    try:
        for frame in painted:
            # The format has two pixels per colour: an odd last row or column is dropped.
            even = frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2, ::-1]
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(temporary), code, fps, even.shape[1::-1])
            if not writer.isOpened():
                raise ValueError(
                    f"this OpenCV ({cv2.__version__}) cannot write {path.name}; choose .webp or .gif"
                )
            writer.write(np.ascontiguousarray(even))
        if writer is not None:
            writer.release()
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _painted(
    frames: Sequence[OneImage], masks: Sequence[OneMask], max_side: int
) -> Iterator[ByteImage]:
    for frame, mask in zip(frames, masks, strict=True):
        picture = Image.fromarray(paint_mask(read_image(frame), _mask(mask)))
        picture.thumbnail((max_side, max_side))
        yield np.asarray(picture)


def _mask(mask: OneMask) -> NDArray[np.uint8]:
    return read_mask(mask) if isinstance(mask, Path) else mask


def _outlines(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a pixel's object differs from that of the next one to the right or below."""
    edges = np.zeros(mask.shape, bool)
    edges[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edges[:-1] |= mask[:-1] != mask[1:]
    return edges
