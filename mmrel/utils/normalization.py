"""How pixels are normalised before a network sees them. Apart from the other structures, since it needs no torch."""

from typing import NamedTuple


class Normalization(NamedTuple):
    """What is subtracted from the pixels that a network sees, and what they are divided by.

    Attributes:
        mean: of R, G and B, on the 0-255 scale.
        std: the same.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
