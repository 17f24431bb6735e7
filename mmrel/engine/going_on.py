"""What numbers become in a run that goes on from released weights, as pure functions of its length.

The weights are worth keeping, and what begins anew (necks, heads) must be learnt before it may change them. See
:mod:`mmrel.engine.run_length` for runs from random weights.
"""

from mmrel.engine.run_length import LEAST_MOMENTUM, MOST_MOMENTUM, RunLength

KEPT_SHARE = 0.1
"""Share of the released weights that is left in the exported teacher.

An average of the weights before and after fine-tuning keeps more of what the former know than the latter alone
(WiSE-FT, arXiv 2109.01903)."""

LEAST_REST = 100
"""Steps in which fresh necks and heads learn to read the backbone."""

NECK_SHARE = 0.05
"""Share of a fresh neck's random start that is left in the teacher's neck when the backbone is released."""


def choose_frozen_epochs(length: RunLength) -> int:
    """Epochs in which the backbone rests.

    One; where that is fewer than 100 steps, as many as make 100, but at most a fifth of the run, and at least one.

    Args:
        length: of the run.
    """
    wanted = -(-LEAST_REST // length.steps_per_epoch)
    return max(1, min(wanted, length.epochs // 5))


def choose_frozen_momentum(length: RunLength) -> float:
    """The teacher's constant momentum while the backbone rests, rounded down to five digits.

    At its end 5 % of the necks' random start is left in the teacher's necks, whose outputs are the targets; between
    0.9 and DINO's 0.996.

    Args:
        length: of the run.
    """
    steps = choose_frozen_epochs(length) * length.steps_per_epoch
    return _rounded(min(max(NECK_SHARE ** (1 / steps), LEAST_MOMENTUM), 0.996))


def choose_kept_momentum(length: RunLength) -> float:
    """The teacher's first momentum after that (it ends at 1), rounded down to five digits.

    Ten per cent of the released weights are left in the exported teacher at the end, ten times as much as a run from
    random weights may leave of those; between 0.9 and 0.9995. From
    :func:`~mmrel.engine.run_length.initial_share` with an end of 1, less what a cosine over many steps does not show::

        share = ((1 + sqrt(m)) / 2) ** (2 T)        so        m = (2 share ** (1 / (2 T)) - 1) ** 2

    Args:
        length: of the run.
    """
    rest = choose_frozen_epochs(length) * length.steps_per_epoch
    steps = max(1, length.steps - rest)
    root = max(0.0, 2 * KEPT_SHARE ** (1 / (2 * steps)) - 1)
    return _rounded(min(max(root**2, LEAST_MOMENTUM), MOST_MOMENTUM))


def _rounded(momentum: float) -> float:
    return int(momentum * 1e5 + 1e-6) / 1e5


__all__ = ["choose_frozen_epochs", "choose_frozen_momentum", "choose_kept_momentum"]
