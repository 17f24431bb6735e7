"""EXIF orientations: how the picture that a file holds is brought upright."""

from collections.abc import Callable

from mmrel.datasets.transforms.pixel_values import ByteImage

TURNS: dict[int, Callable[[ByteImage], ByteImage]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}
"""What each orientation asks for; all others, and 1, ask for nothing."""

LAST_CORNER = {1: (-1, -1), 2: (-1, 0), 3: (0, 0), 4: (0, -1)}
LAST_CORNER |= {5: (-1, -1), 6: (-1, 0), 7: (0, 0), 8: (0, -1)}
"""Row and column at which each orientation puts the last pixel of the file."""
