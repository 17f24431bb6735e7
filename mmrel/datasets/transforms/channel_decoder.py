"""Reading images of C channels, none of which need be a colour."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.transforms.channel_scale import ChannelScale, Ranges
from mmrel.datasets.transforms.channel_values import channel_values
from mmrel.datasets.transforms.pixel_values import BIT_DEPTHS, ByteImage, needed_bits
from mmrel.utils.errors import UsageError

if TYPE_CHECKING:
    from mmrel.datasets.sources import ImageSource

PROBED_IMAGES = 16


class ChannelDecoder:
    """From a file to bytes of C channels.

    Args:
        channels: C.
        bit_depth: see :class:`mmrel.DecodeImage`, also the next two.
        value_range: of all channels, or of each.
        max_pixels: larger images are refused.
    """

    def __init__(
        self, channels: int, bit_depth: int | str, value_range: Ranges | None, max_pixels: int
    ) -> None:
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"in_channels is {channels!r}; give a number from 1 on")
        self.channels = channels
        self.scale = ChannelScale.of(channels, bit_depth, value_range)
        self.max_pixels = max_pixels

    def decode(self, data: bytes) -> ByteImage:
        """uint8 ``(H, W, C)``.

        Raises:
            Exception: whatever decoders raise on malformed bytes; ``ValueError`` for another number of channels, and
                for values about which nothing is said.
        """
        return self.scale.to_bytes(channel_values(data, self.channels, self.max_pixels))

    def check(self, images: "ImageSource") -> None:
        """Read a few of a data set's images, spread evenly.

        Raises:
            UsageError: none can be read so; or they have values of which nothing says how they become bytes. The
                values found are told, to be stated in the configuration.
        """
        count = min(len(images), PROBED_IMAGES)
        places = np.linspace(0, len(images) - 1, count).round().astype(int) if count else ()
        arrays: dict[str, NDArray[Any]] = {}
        reasons: list[str] = []
        for place in map(int, places):
            try:
                values = channel_values(images.read(place), self.channels, self.max_pixels)
            except Exception as error:  # one that cannot be read is met again when training
                reasons.append(f"{images.path(place)}: {error}")
            else:
                arrays[images.path(place)] = values
        if reasons and not arrays:
            raise UsageError(
                f"none of {len(reasons)} images can be read with in_channels={self.channels}, such as {reasons[0]}"
            )
        if unsaid := {k: v for k, v in arrays.items() if not self.scale.suits(v.dtype)}:
            raise UsageError(_what_to_say(unsaid))


def _what_to_say(arrays: dict[str, NDArray[Any]]) -> str:
    path, first = next(iter(arrays.items()))
    low = np.min([values.min(axis=(0, 1)) for values in arrays.values()], axis=0)
    high = np.max([values.max(axis=(0, 1)) for values in arrays.values()], axis=0)
    ranges = ", ".join(f"[{a:g}, {b:g}]" for a, b in zip(low, high, strict=True))
    all_short = all(values.dtype == np.uint16 for values in arrays.values())
    bits = needed_bits(int(high.max())) if all_short else 0
    other = f", or bit_depth={bits} ({' '.join(map(str, BIT_DEPTHS))})" if bits else ""
    return (
        f"images such as {path} have values of type {first.dtype}, and nothing says which of them become 0 and 255. "
        f"Give mmrel.DecodeImage value_range=[{ranges}] (what {len(arrays)} images hold, by channel; round it to "
        f"what the sensor can give), one pair for all channels{other}"
    )
