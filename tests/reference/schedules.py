"""The published schedules as tables, made with numpy the way the papers' text says."""

import numpy as np


def cosine_table(
    total_steps: int, start: float, end: float, warmup_steps: int = 0, warmup_start: float = 0.0
) -> np.ndarray:
    """All values of a warm-up and a cosine."""
    warmup = np.linspace(warmup_start, start, warmup_steps)
    steps = np.arange(total_steps - warmup_steps)
    cosine = end + 0.5 * (start - end) * (1 + np.cos(np.pi * steps / len(steps)))
    return np.concatenate([warmup, cosine])


def temperature_table(
    epochs: int, start: float, end: float, warmup_epochs: int, delay: int = 0
) -> np.ndarray:
    """All values of a delayed linear rise followed by a constant."""
    rise = np.linspace(start, end, warmup_epochs)
    rest = np.full(epochs, end)
    return np.concatenate([np.full(delay, start), rise, rest])[:epochs]
