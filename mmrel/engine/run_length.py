"""What a pretraining recipe's numbers become when the run is shorter, or the batch smaller, than on ImageNet.

The papers' numbers are for 100 to 800 epochs of 1.28 million images in batches of 512 to 4096, some 10^5 steps. On a
folder of photos a run has 10^2 to 10^4. Each function gives one number of such a run and states its rule; all are pure
functions of the run's length, so that a resumed run finds the same numbers again. In a configuration the number is
written ``"auto"`` (see :mod:`mmrel.engine.automatic`).
"""

import math
from dataclasses import dataclass

WANTED_SHARE = 0.01
"""Share of the teacher's random start that may be left at the end of a run."""

LEAST_MOMENTUM = 0.9
"""A teacher that averages over fewer than some ten steps is the student, and distils nothing."""

MOST_MOMENTUM = 0.9995
"""DINO's advice for small batches (README of the official code of arXiv 2104.14294)."""


SMALL_SET = 200_000
"""Images up to which SiT's paper would call a set small."""


@dataclass(frozen=True)
class RunLength:
    """How long a run is.

    Args:
        num_images: images of the training set.
        batch_size: images per optimizer step: of one device, times devices, times accumulated iterations.
        epochs: passes over the images.
        drop_last: whether an incomplete last batch is left out. Images fewer than the batch make one smaller batch.
    """

    num_images: int
    batch_size: int
    epochs: int
    drop_last: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        if min(self.num_images, self.batch_size, self.epochs) < 1:
            raise ValueError(
                f"a run of {self.num_images} images, batch {self.batch_size} and {self.epochs} epochs "
                "has no steps; all three must be 1 or more"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch, at least 1."""
        whole, rest = divmod(self.num_images, self.batch_size)
        return max(1, whole + bool(rest and not self.drop_last))

    @property
    def steps(self) -> int:
        """Optimizer steps of the run."""
        return self.epochs * self.steps_per_epoch

    @property
    def images_per_step(self) -> int:
        """Images that a step sees: the batch, or all there are if these are fewer."""
        return min(self.batch_size, self.num_images)


def initial_share(momentum: float, end: float, steps: int) -> float:
    """Share of the teacher's random start that is left in it after the run, which is what gets exported.

    The teacher keeps ``m_i`` of itself at step i, with m on half a cosine from ``momentum`` towards ``end``, so the
    share is the product of all ``m_i``. That product over the cosine has a closed form (the roots of unity)::

        ((sqrt(m) + sqrt(e)) / 2) ** (2 T) * sqrt(m / e) * (1 - q ** (2 T))
        with q = (sqrt(e) - sqrt(m)) / (sqrt(e) + sqrt(m))

    Args:
        momentum: m, the share of the old teacher at the first step, in [0, 1].
        end: e, the same at the end of the run, in (0, 1].
        steps: T, optimizer steps of the run.

    Raises:
        ValueError: a number outside its range.
    """
    if not 0 <= momentum <= 1 or not 0 < end <= 1 or steps < 0:
        raise ValueError(
            f"momentum is {momentum}, end {end} and steps {steps}; momentum must be in [0, 1], end in "
            "(0, 1] and steps 0 or more"
        )
    if not steps or not momentum:
        return 1.0 if not steps else 0.0
    first, last = math.sqrt(momentum), math.sqrt(end)
    q = (last - first) / (last + first)
    power = math.exp(2 * steps * math.log((first + last) / 2))
    return power * first / last * (1 - q ** (2 * steps))


def choose_momentum(
    steps: int, batch_size: int, recipe: float = 0.996, recipe_batch: int = 1024
) -> float:
    """The teacher's first momentum (it ends at 1), rounded to five digits.

    Two bounds, of which the lower one holds. *Forgetting*: at most 1 % of the random start may be left in the exported
    teacher (:func:`initial_share`), since otherwise one exports noise. *Batch*: the recipe's momentum is for its batch;
    a step of fewer images moves the teacher by less, ``recipe ** (batch_size / recipe_batch)`` (How to Scale Your EMA,
    arXiv 2307.13813), up to DINO's 0.9995. Below 0.9 the teacher would be the student: a run so short, under some 90
    steps, keeps more of its start, and should be told that it is too short.

    Args:
        steps: optimizer steps of the run, at least 1.
        batch_size: images per step.
        recipe: the momentum that the paper takes.
        recipe_batch: images per step in the paper.
    """
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps is {steps} and batch_size {batch_size}; both must be 1 or more")
    scaled = min(recipe ** (batch_size / recipe_batch), max(recipe, MOST_MOMENTUM))
    low, high = LEAST_MOMENTUM, max(scaled, LEAST_MOMENTUM)
    if initial_share(high, 1.0, steps) > WANTED_SHARE:
        for _ in range(60):
            middle = (low + high) / 2
            if initial_share(middle, 1.0, steps) > WANTED_SHARE:
                high = middle
            else:
                low = middle
        high = low
    return math.floor(high * 1e5 + 1e-6) / 1e5


def choose_warmup(length: RunLength, recipe: int = 10) -> int:
    """Optimizer steps over which the learning rate rises.

    The recipe's epochs (10 in most), but at most a tenth of the run, as 10 are of 100; at least one step, so that the
    first step, whose gradients are the largest, takes no full stride.

    Args:
        length: of the run.
        recipe: epochs that the paper takes.
    """
    return max(1, min(recipe * length.steps_per_epoch, length.steps // 10))


def choose_teacher_temp_warmup(length: RunLength, recipe: int = 30) -> int:
    """Epochs over which the teacher's temperature rises.

    The recipe's epochs (30), but at most 30 % of the run, as 30 are of 100; at least 1, which keeps a run of one epoch
    at the low temperature, where nothing collapses.

    Args:
        length: of the run.
        recipe: epochs that the paper takes.
    """
    return max(1, min(recipe, round(0.3 * length.epochs)))


def choose_freeze_last_layer(length: RunLength, recipe: int = 1) -> int:
    """First epoch that trains the prototypes.

    The recipe's epochs (1 in most), but at most a tenth of the run: a run of fewer than 10 epochs, whose epochs must be
    long, trains them from the start.

    Args:
        length: of the run.
        recipe: epochs that the paper takes.
    """
    return min(recipe, length.epochs // 10)


def choose_lr(length: RunLength, recipe: float, recipe_batch: int) -> float:
    """The peak learning rate: in proportion to the images per step (arXiv 1706.02677), to four significant digits.

    Args:
        length: of the run.
        recipe: the paper's learning rate.
        recipe_batch: images per step that it is for.
    """
    return float(f"{recipe * length.images_per_step / recipe_batch:.4g}")


def choose_reconstruction_weight(length: RunLength) -> float:
    """SiT's alpha: 5 for small sets, of which STL-10's 100,000 images are the largest, 1 for those of ImageNet's size.

    Args:
        length: of the run.
    """
    return 5.0 if length.num_images <= SMALL_SET else 1.0


def choose_log_interval(length: RunLength) -> int:
    """Iterations from one line of the log to the next: 50, or five lines per epoch where that is sooner.

    MMEngine's logger says nothing at all in epochs that are shorter than its interval.

    Args:
        length: of the run.
    """
    return min(50, max(1, length.steps_per_epoch // 5))


def choose_checkpoint_interval(length: RunLength) -> int:
    """Epochs from one checkpoint to the next: some twenty in a run.

    Args:
        length: of the run.
    """
    return max(1, length.epochs // 20)
