"""The sampler that says which draw of which sample comes next."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dataset import DefaultSampler

from mmrel.registry import DATA_SAMPLERS
from mmrel.structures import SampleKey


@DATA_SAMPLERS.register_module()
class KeyedSampler(DefaultSampler):
    """MMEngine's ``DefaultSampler``, yielding :class:`SampleKey` instead of a bare index.

    Order, shuffling and division among processes are the parent's: a permutation keyed by seed +
    epoch, interleaved over the ranks. With ``round_up=True`` every rank gets equally many samples,
    which also makes ``drop_last`` batches equal in number on all ranks.

    Args:
        *args: as ``DefaultSampler``: dataset, shuffle, seed, round_up.
        **kwargs: the same by name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(self.dataset) == 0:
            raise ValueError("the data set has 0 samples; give a data_root that holds images")
        self._skipped = 0

    def skip(self, num_samples: int) -> None:
        """Let the next iteration, and only that one, begin later; ``len()`` stays the same.

        Args:
            num_samples: how many of this rank's samples of the epoch have been consumed already.

        Raises:
            ValueError: if it is negative or more than this rank has.
        """
        if not 0 <= num_samples <= len(self):
            raise ValueError(
                f"cannot skip {num_samples} samples; this rank has {len(self)} per epoch: resume "
                "with the batch size and number of processes of the interrupted run"
            )
        self._skipped = num_samples

    def __iter__(self) -> Iterator[SampleKey]:
        """This rank's keys of the current epoch."""
        # Taken when iteration begins, not when it ends: an epoch that is left early must not
        # shorten the next one. The keys carry this sampler's seed and epoch, since loader workers
        # that live on hold a copy of the data set from an earlier epoch.
        skipped, self._skipped = self._skipped, 0
        seed, epoch = self.seed, self.epoch
        for index in islice(super().__iter__(), skipped, None):
            yield SampleKey(seed, epoch, index)
