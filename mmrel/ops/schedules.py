"""Schedules as functions of a step or an epoch.

DINO (arXiv 2104.14294) section 3.2 and its appendix; iBOT and SERE use the same. Two habits of the published
experiments are kept: the peak occurs twice, as last warm-up value and as first cosine value, and the
cosine approaches its end without reaching it.
"""

import math


def cosine_schedule(
    step: int,
    total_steps: int,
    start: float,
    end: float,
    warmup_steps: int = 0,
    warmup_start: float = 0.0,
) -> float:
    """Linear warm-up to ``start``, then half a cosine towards ``end``.

    With w warm-up steps, n = total_steps - w and i = step - w::

        step < w:   warmup_start + (start - warmup_start) * step / (w - 1)
        otherwise:  end + (start - end) / 2 * (1 + cos(pi * i / n))

    Args:
        step: counted from 0. From ``total_steps`` on the value is ``end``.
        total_steps: steps of the whole run, warm-up included, at least 1.
        start: value at the top of the warm-up and at the start of the cosine.
        end: value that the cosine approaches.
        warmup_steps: w; it may exceed ``total_steps``.
        warmup_start: value of the first warm-up step.

    Returns:
        The value at this step.

    Raises:
        ValueError: a negative step or warm-up, or no steps at all.
    """
    if step < 0 or total_steps < 1 or warmup_steps < 0:
        raise ValueError(
            f"step is {step}, total_steps {total_steps} and warmup_steps {warmup_steps}; "
            "step and warmup_steps must be at least 0 and total_steps at least 1"
        )
    if step < warmup_steps:
        return _ramp(step, warmup_start, start, warmup_steps)
    if step >= total_steps:
        return end
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * progress))


def quarter_cosine_schedule(
    step: int, total_steps: int, start: float, end: float, warmup_ratio: float = 0.1
) -> float:
    """RelViT's learning rate (public code of arXiv 2206.00481): linear warm-up, then a quarter of a cosine.

    With w = floor(warmup_ratio * total_steps)::

        step < w:   start * step / w
        otherwise:  end + (start - end) * cos(pi / 2 * step / total_steps)

    The cosine starts slowly and ends steeply. Its phase counts from step 0, not from w, so that the value
    *drops* at the end of the warm-up, for w = 0.1 * total_steps to about 0.988 * start.

    Args:
        step: counted from 0. From ``total_steps`` on the value is ``end``.
        total_steps: steps of the whole run, warm-up included, at least 1.
        start: value that the warm-up heads for.
        end: value that the cosine approaches.
        warmup_ratio: share of the steps that the warm-up takes, in [0, 1].

    Returns:
        The value at this step.

    Raises:
        ValueError: a negative step, no steps at all, or a share outside [0, 1].
    """
    if step < 0 or total_steps < 1 or not 0 <= warmup_ratio <= 1:
        raise ValueError(
            f"step is {step}, total_steps {total_steps} and warmup_ratio {warmup_ratio}; step must be at "
            "least 0, total_steps at least 1 and warmup_ratio in [0, 1]"
        )
    warmup_steps = math.floor(warmup_ratio * total_steps)
    if step < warmup_steps:
        return start * step / warmup_steps
    if step >= total_steps:
        return end
    return end + (start - end) * math.cos(math.pi / 2 * step / total_steps)


def warmup_constant_schedule(
    epoch: int, start: float, end: float, warmup_epochs: int, delay: int = 0
) -> float:
    """A value that rises linearly over the first epochs and then stays, such as a teacher temperature.

    Args:
        epoch: counted from 0.
        start: value until the rise begins and at its first epoch.
        end: value at the last epoch of the rise, and afterwards.
        warmup_epochs: epochs of the rise, both ends included; it may exceed the run's length.
        delay: epochs at ``start`` before the rise.

    Returns:
        The value in this epoch.

    Raises:
        ValueError: a negative epoch, warm-up or delay.
    """
    if min(epoch, warmup_epochs, delay) < 0:
        raise ValueError(
            f"epoch is {epoch}, warmup_epochs {warmup_epochs} and delay {delay}; none may be negative"
        )
    if epoch < delay:
        return start
    if epoch - delay < warmup_epochs:
        return _ramp(epoch - delay, start, end, warmup_epochs)
    return end


def _ramp(index: int, start: float, end: float, count: int) -> float:
    """Entry ``index`` of ``count`` equally spaced values, both ends included."""
    return start + (end - start) * index / max(count - 1, 1)
