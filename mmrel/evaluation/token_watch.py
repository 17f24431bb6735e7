"""The patch tokens of some images of a loader, looked at while features of all of them are computed."""

from dataclasses import asdict

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import DataLoader

from mmrel.evaluation.labelled_features import sample_positions
from mmrel.evaluation.token_statistics import TokenSums
from mmrel.structures import TokenViews


class TokenWatch:
    """Counts the tokens that pass, for :func:`~mmrel.evaluation.labelled_features.feature_extractor`; no image twice.

    The images, and so the figures up to rounding, are the same for any number of processes.

    Args:
        loader: whose batches will pass once, in order.
        max_images: look at so many of its images at most, spread evenly over the data set.
    """

    def __init__(self, loader: DataLoader, max_images: int) -> None:
        length = len(loader.dataset)  # type: ignore[arg-type]
        spread = np.linspace(0, length - 1, min(max_images, length)).round().astype(int)
        chosen = set(spread.tolist())
        rank, world_size = get_dist_info()
        # What a sampler adds to fill up the last round, another process has already.
        self._wanted = [
            position in chosen and row * world_size + rank < length
            for row, position in enumerate(sample_positions(loader))
        ]
        self._seen = 0
        self._sums: TokenSums | None = None

    def __call__(self, tokens: TokenViews) -> None:
        """Count the wanted images of the next batch.

        Raises:
            ValueError: their tokens are not finite.
        """
        patches = tokens.patches
        first, self._seen = self._seen, self._seen + len(patches)
        if patches.shape[1] < 2:  # a token for the whole image says nothing about places
            return
        self._sums = self._sums or TokenSums(patches.shape[2])
        rows = [row for row, wanted in enumerate(self._wanted[first : self._seen]) if wanted]
        for own in patches[rows].float().cpu():
            self._sums.add(own)

    def results(self) -> dict[str, float]:
        """The fields of ``TokenStatistics``, of what all processes saw; each of them calls this.

        Nothing where the images have one patch, or fewer than two images were looked at.
        """
        if self._sums is None:
            return {}
        self._sums.reduce()
        return asdict(self._sums.statistics()) if self._sums.images > 1 else {}
