"""How long a run is, and whether that is enough to learn anything."""

from dataclasses import dataclass

from mmrel.apis.choices import Choice
from mmrel.apis.pretraining.survey import Survey
from mmrel.apis.pretraining.wishes import Wishes
from mmrel.engine.run_length import RunLength
from mmrel.utils.text import counted, format_duration

LEAST_STEPS = 1_000
"""Below it what is learnt is little better than random weights: quickstart-sized networks need some hundred steps for
the first structure, those of the recipes several times as many."""

GOOD_STEPS = 10_000
USUAL_EPOCHS, MOST_EPOCHS = 100, 800
MOST_SHOWN = 128_000_000
"""Photos that a run shows at most without being asked to: 100 epochs of ImageNet-1k."""

FEW_PHOTOS, SOME_PHOTOS = 100, 1_000
MOST_SHARE = 0.05
"""Share of the random start in the exported teacher that is never passed over in silence."""

LONG = 7 * 86_400
"""Seconds from which on a run is hardly meant."""

START = 15
"""Seconds from the start of the training to its first step, and from its last one to the exported file."""


@dataclass(frozen=True)
class Length:
    """The length of a run.

    Attributes:
        run: images, batch and epochs.
        every: of the photos, one of so many is taken; 1: all.
        seconds: that it will take.
        choice: the row of the table.
    """

    run: RunLength
    every: int
    seconds: float
    choice: Choice


def choose_length(wishes: Wishes, survey: Survey, batch: int, seconds_per_step: float) -> Length:
    """Epochs: as asked for, as many as fit the hours, or by rule.

    The rule: 100 epochs, as the papers; more, up to 800, where these are fewer than 10,000 steps; fewer where they
    would show more than 128 million photos, 100 epochs of ImageNet-1k. Where the hours do not hold one epoch, one of
    every k photos is taken, spread evenly over the folder.

    Args:
        wishes: the command line.
        survey: of the photos.
        batch: images per step.
        seconds_per_step: as measured.
    """
    images = survey.num_images
    each = RunLength(images, batch, 1).steps_per_epoch
    if wishes.epochs is not None:
        return _length(images, batch, wishes.epochs, 1, seconds_per_step, "as asked for")
    if wishes.hours is None:
        epochs, reason = _by_rule(images, each)
        return _length(images, batch, epochs, 1, seconds_per_step, reason)
    steps = max(1, int((wishes.hours * 3600 - START) / seconds_per_step))
    if steps >= each:
        reason = f"as many as {wishes.hours:g} hours hold"
        return _length(images, batch, steps // each, 1, seconds_per_step, reason)
    every = -(-images // (steps * batch))
    kept = -(-images // every)
    reason = f"{wishes.hours:g} hours hold no whole epoch: 1 of every {every} photos, evenly spread"
    return _length(kept, batch, 1, every, seconds_per_step, reason)


def _by_rule(images: int, steps_per_epoch: int) -> tuple[int, str]:
    shown = MOST_SHOWN // images
    if shown < USUAL_EPOCHS:
        return max(
            shown, 1
        ), f"{MOST_SHOWN // 10**6} million photos shown, as in 100 epochs of ImageNet"
    needed = -(-GOOD_STEPS // steps_per_epoch)
    if needed <= USUAL_EPOCHS:
        return USUAL_EPOCHS, "as in the papers; --hours or --epochs sets another length"
    if needed <= MOST_EPOCHS:
        return needed, f"for {GOOD_STEPS:,} steps; --hours or --epochs sets another length"
    return (
        MOST_EPOCHS,
        f"the most that a rule sets; {GOOD_STEPS:,} steps would be {needed:,} epochs",
    )


def _length(
    images: int, batch: int, epochs: int, every: int, seconds: float, reason: str
) -> Length:
    run = RunLength(images, min(batch, images), epochs)
    value = f"{counted(epochs, 'epoch')} = {counted(run.steps, 'step')}"
    total = run.steps * seconds + START
    return Length(run, every, total, Choice("length", value, reason))


def warnings_for(
    length: Length, survey: Survey, share: float, going_on: bool, seconds_per_step: float
) -> list[str]:
    """What the user should know before it starts, the gravest first.

    Args:
        length: of the run.
        survey: of the photos.
        share: of the random start that is left in the exported teacher, 0 without a teacher.
        going_on: whether the weights are released ones and not random.
        seconds_per_step: as measured.
    """
    texts = []
    run = length.run
    if run.steps < LEAST_STEPS:
        texts.append(_too_short(run, survey.num_images, going_on, seconds_per_step))
    if share > MOST_SHARE and not going_on:
        texts.append(
            f"{share:.0%} of the random start will be left in the exported teacher: it averages the weights of the "
            f"last steps, and {run.steps:,} steps are too few to forget the first."
        )
    if length.seconds > LONG:
        texts.append(
            f"It would take {format_duration(length.seconds)} on this machine. --hours takes as many steps as fit a "
            "time, and of too many photos a part; or take a GPU, a smaller --network, or fewer photos (--list)."
        )
    photos = survey.num_readable
    if photos < SOME_PHOTOS:
        texts.append(_few_photos(photos, going_on))
    return texts


def _too_short(run: RunLength, images: int, going_on: bool, seconds_per_step: float) -> str:
    """What too few steps mean, and how many photos or epochs would be enough."""
    each = max(1, images // run.batch_size)
    epochs, good = -(-LEAST_STEPS // each), -(-GOOD_STEPS // each)
    photos = -(-LEAST_STEPS // run.epochs) * run.batch_size
    means = (
        "the released weights will hardly change"
        if going_on
        else "what comes out will be little better than random weights"
    )
    return (
        f"{counted(run.steps, 'step')} {'are' if run.steps > 1 else 'is'} too few to learn anything: {means}. "
        f"It takes some {LEAST_STEPS:,} at least, which are {epochs:,} epochs of these photos "
        f"({format_duration(LEAST_STEPS * seconds_per_step)}) or {photos:,} photos in "
        f"{counted(run.epochs, 'epoch')}; {GOOD_STEPS:,} ({good:,} epochs, "
        f"{format_duration(GOOD_STEPS * seconds_per_step)}) are a good start."
    )


def _few_photos(photos: int, going_on: bool) -> str:
    advice = (
        "Watch a task of your own, not the loss, for when to stop."
        if going_on
        else "Go on from released weights (--from FILE), which have seen millions."
    )
    if photos < FEW_PHOTOS:
        return (
            f"{photos} photos are too few to learn from: the network will know them by heart, whatever the number of "
            f"epochs. It takes some {SOME_PHOTOS:,}. {advice}"
        )
    return (
        f"{photos} photos show little of the world: from random weights features of use come with some thousand "
        f"photos. {advice}"
    )
