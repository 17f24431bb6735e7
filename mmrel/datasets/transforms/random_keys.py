"""Random numbers that are a pure function of (seed, epoch, sample index, purpose).

A counter-based generator (Philox, Salmon et al., SC 2011) is keyed by the sample and started at a
counter of its own for each purpose. Therefore the same crops, colours and masks come out for any
number of workers or processes and after a resume, and adding one kind of randomness does not change
the others.
"""

from enum import IntEnum

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from mmrel.structures import SampleKey

INDEX_BITS = 40
EPOCH_BITS = 24
SEED_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What random numbers are for; every purpose has its own stream. Never renumber."""

    CROPS = 1
    COLOR = 2
    MASKS = 3
    REPLACEMENT = 4
    CORRUPTION = 5
    PATCHES = 6
    MEGA_PATCHES = 7
    PATCH_ORDER = 8
    CHANNELS = 9


class _Key(ISeedSequence):
    """A generator's key.

    ``Philox(key=...)`` takes the same words, but first asks the system for entropy that it does not use, which takes
    twice as long as all else here.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> NDArray[np.uint64]:
        """The words."""
        return self.words


def sample_generator(key: SampleKey, purpose: Purpose) -> np.random.Generator:
    """A generator for one sample and one purpose (a few microseconds).

    Args:
        key: seed (its low 64 bits count), epoch below 2**24 and index below 2**40.
        purpose: which stream.

    Returns:
        A generator in a state that depends on the arguments alone.

    Raises:
        ValueError: if epoch or index do not fit.
    """
    if not (0 <= key.epoch < 1 << EPOCH_BITS and 0 <= key.index < 1 << INDEX_BITS):
        raise ValueError(
            f"cannot key random numbers by {key}; epoch must be in [0, 2**{EPOCH_BITS}) and index "
            f"in [0, 2**{INDEX_BITS}): check the sampler"
        )
    # The sample goes into the key and the purpose into the counter's highest word. A stream would
    # need 2**192 numbers to run into the next purpose's, and a new purpose changes none that
    # exists.
    words = np.array([key.seed & SEED_MASK, (key.epoch << INDEX_BITS) | key.index], dtype=np.uint64)
    counter = np.array([0, 0, 0, int(purpose)], dtype=np.uint64)
    bits = np.random.Philox(_Key(words), counter)  # type: ignore[arg-type]  # unknown to the stubs
    return np.random.Generator(bits)
