"""Values of any kind, of any number of channels, as bytes, by a rule that the configuration states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.transforms.pixel_values import BIT_DEPTHS, ByteImage, Range, needed_bits

Ranges = Range | Sequence[Range]


@dataclass(frozen=True)
class ChannelScale:
    """How values of C channels become 8-bit ones. Nothing is guessed from the values of an image.

    Attributes:
        bits: significant bits of unsigned 16-bit values, whose upper 8 are kept.
        ranges: for each channel, the values that become 0 and 255; those between are mapped linearly, those outside
            are clipped. They go before ``bits``, and are for values of any kind.
    """

    bits: int | None = None
    ranges: tuple[Range, ...] | None = None

    @classmethod
    def of(cls, channels: int, bit_depth: int | str, value_range: Ranges | None) -> "ChannelScale":
        """From the arguments of :class:`mmrel.DecodeImage`.

        Raises:
            ValueError: they do not fit the number of channels, or are of no use.
        """
        bits: Any = None if bit_depth == "auto" else bit_depth
        if bits is not None and bits not in BIT_DEPTHS:
            raise ValueError(
                f"bit_depth is {bit_depth!r}; choose 'auto' or one of {', '.join(map(str, BIT_DEPTHS))}"
            )
        if value_range is None:
            return cls(bits)
        pairs: Any = value_range if is_per_channel(value_range) else [value_range] * channels
        ranges = tuple((float(low), float(high)) for low, high in pairs)
        if len(ranges) != channels or not all(low < high for low, high in ranges):
            raise ValueError(
                f"value_range is {value_range}; give (low, high) with low < high, or one such pair for each of the "
                f"{channels} channels"
            )
        return cls(bits, ranges)

    def suits(self, kind: np.dtype[Any]) -> bool:
        """Whether it says what becomes of values of that type."""
        return (
            self.ranges is not None or kind == np.uint8 or (kind == np.uint16 and bool(self.bits))
        )

    def to_bytes(self, values: NDArray[Any]) -> ByteImage:
        """8-bit values of an array ``(H, W, C)``.

        Raises:
            ValueError: nothing is said about such values, one does not fit into the bits, or is not finite.
        """
        if self.ranges is not None:
            return _mapped(values, self.ranges)
        if values.dtype == np.uint8:
            return np.ascontiguousarray(values)
        if not self.suits(values.dtype):
            raise ValueError(
                f"its values are {values.dtype}; say what becomes 0 and 255 by value_range of mmrel.DecodeImage"
            )
        bits, highest = self.bits or 16, int(values.max())
        if highest >> bits:
            raise ValueError(
                f"its value {highest} does not fit into the {bits} bits that bit_depth of mmrel.DecodeImage states; "
                f"give {needed_bits(highest)}"
            )
        return (values >> (bits - 8)).astype(np.uint8)


def is_per_channel(value_range: Ranges | None) -> bool:
    """Whether it has a pair for each channel."""
    return value_range is not None and not isinstance(value_range[0], (int, float))


def _mapped(values: NDArray[Any], ranges: Sequence[Range]) -> ByteImage:
    low, high = (np.array(ends, np.float32) for ends in zip(*ranges, strict=True))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("the image has non-finite values")
    scaled = (np.clip(values, low, high).astype(np.float32) - low) * (255 / (high - low))
    return np.rint(scaled).astype(np.uint8)
