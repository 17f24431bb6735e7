"""How pixels are normalised before a network sees them. Apart from the other structures, since it needs no torch."""

from typing import NamedTuple


class Normalization(NamedTuple):
    """What is subtracted from the pixels that a network sees, and what they are divided by.

    Attributes:
        mean: of each channel (R, G and B), on the 0-255 scale.
        std: the same.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def for_channels(self, channels: int) -> "Normalization":
        """The same for another number of channels: the average for one, else the numbers repeated in order."""
        if channels == len(self.mean):
            return self
        if channels == 1:
            return Normalization(*((sum(values) / len(values),) for values in self))
        order = [k % len(self.mean) for k in range(channels)]
        return Normalization(*(tuple(values[k] for k in order) for values in self))


IMAGENET = Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
