"""Mean and standard deviation of each channel over all pixels of a data set, exactly."""

import math
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray

from mmrel.datasets.bad_samples import connect_bad_sample_log
from mmrel.datasets.loader_watch import watched_batches
from mmrel.evaluation.loading import build_loader, usual_workers

LEVELS = 256


@dataclass(frozen=True)
class ChannelStatistics:
    """What the pixels of a data set are like, on the 0-255 scale.

    Attributes:
        mean: of each of the C channels.
        std: of each, divided by the number of pixels (not by one less).
        images: number of images.
        pixels: number of their pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int
    pixels: int

    @classmethod
    def of(cls, histogram: NDArray[np.int64], images: int) -> "ChannelStatistics":
        """From how often each value occurs, ``(C, 256)``; whole numbers, so that nothing is lost by adding up."""
        pixels = int(histogram[0].sum())
        sums = [
            [int(count) * value for value, count in enumerate(row)] for row in histogram.tolist()
        ]
        first = [sum(row) for row in sums]
        second = [sum(value * part for value, part in enumerate(row)) for row in sums]
        spread = [
            math.sqrt(pixels * b - a * a) / pixels for a, b in zip(first, second, strict=True)
        ]
        return cls(tuple(a / pixels for a in first), tuple(spread), images, pixels)


class CountValues(BaseTransform):
    """Replace an image by how often each value occurs in each channel.

    Returns a dict: ``histogram``, int64 ``(C, 256)``; ``own``: whether the image is the one asked for, and not one that
    took the place of an unreadable one.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        planes = np.moveaxis(results["img"], -1, 0)
        rows = [np.bincount(plane.ravel(), minlength=LEVELS) for plane in planes]
        own = results["sample_idx"] == results["key"].index
        return {"histogram": np.stack(rows), "own": own}


def channel_statistics(
    data_root: str | Sequence[str],
    decode: dict[str, Any],
    max_images: int | None = None,
    workers: int | None = None,
    max_bad_fraction: float = 0.001,
    progress: Callable[[int, int], None] | None = None,
) -> ChannelStatistics:
    """Read all images once.

    Args:
        data_root: as for ``mmrel.ImageFolder``.
        decode: arguments of ``mmrel.DecodeImage``: ``in_channels``, ``bit_depth``, ``value_range``.
        max_images: read at most so many, spread evenly.
        workers: processes that read images; 0: this one; ``None``: one per core, at most 4.
        max_bad_fraction: share of unreadable files that is tolerated.
        progress: is called with the number of images done and of all.

    Raises:
        FileNotFoundError: there is no image.
        UsageError: a source cannot be read, or nothing says how its values become bytes.
        TooManyBadSamplesError: more unreadable files than tolerated.
    """
    dataset = dict(
        type="mmrel.ImageFolder",
        data_root=data_root,
        max_bad_fraction=max_bad_fraction,
        pipeline=[dict(type="mmrel.DecodeImage", **decode), CountValues()],
    )
    workers = usual_workers() if workers is None else workers
    cfg = dict(batch_size=8, num_workers=workers, dataset=dataset)
    loader = build_loader(cfg, max_images)
    total, images, done = np.zeros((1, LEVELS), np.int64), 0, 0
    count = len(loader.dataset)  # type: ignore[arg-type]
    tell = progress or (lambda done, count: None)
    tell(0, count)
    with tempfile.TemporaryDirectory() as folder, watched_batches(loader) as batches:
        connect_bad_sample_log(loader.dataset, Path(folder) / "bad.jsonl", uuid.uuid4().hex)
        for batch in batches:
            for histogram, own in zip(batch["histogram"], batch["own"], strict=True):
                total = total + histogram * own
                images += own
            done += len(batch["own"])
            tell(done, count)
    return ChannelStatistics.of(total, images)
