"""Training and validation images where the data have no split."""

import random
from collections.abc import Sequence
from pathlib import Path

from mmrel.apis.choices import Choice
from mmrel.utils.errors import UsageError

SHARE = 0.2
MAX_VAL = 1000
SEED = 0


def draw_split(
    classes: Sequence[frozenset[str]], source: Path
) -> tuple[list[int], list[int], Choice]:
    """Indices to train on and to judge by, and the line of the table.

    A fifth of the images is drawn for validation, at most 1000, at least one. An image that is the last one with some
    class stays in training, as long as others can be drawn.

    Args:
        classes: the classes in each image.
        source: for messages.

    Raises:
        UsageError: there are fewer than two images.
    """
    count = len(classes)
    if count < 2:
        raise UsageError(
            f"{source} has {count} annotated image(s), so that none is left to judge by. Annotate at least two, or "
            "give others with --val."
        )
    wanted = max(1, min(round(SHARE * count), MAX_VAL))
    order = list(range(count))
    random.Random(SEED).shuffle(order)
    left = {name: sum(name in own for own in classes) for own in classes for name in own}
    val: list[int] = []
    spare = [index for index in order if classes[index]] or order
    for index in spare:
        if len(val) < wanted and all(left[name] > 1 for name in classes[index]):
            val.append(index)
            for name in classes[index]:
                left[name] -= 1
    if not val:  # each image has a class of its own
        val = spare[:wanted]
    val.sort()
    train = [index for index in range(count) if index not in set(val)]
    reason = f"no split in the data, so {len(val)} drawn with seed {SEED} for validation; --val gives others"
    return train, val, Choice("images", f"{len(train)} + {len(val)}", reason)
