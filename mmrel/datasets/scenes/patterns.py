"""Surface patterns: functions of a position that tell which of two colours is there.

Each takes coordinates ``u`` and ``v`` of equal shape, in periods of the pattern from its origin,
and returns a float32 array of that shape in [0, 1]. Edges are soft, about a fifth of a period wide,
so that sampling at pixel centres does not alias.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Pattern = Callable[[Field, Field], Field]

_TAU = np.float32(2 * np.pi)


def _soft(values: NDArray[np.floating], gain: float = 2.0) -> Field:
    return np.asarray(np.clip(0.5 + gain * values, 0, 1), dtype=np.float32)


def _wrapped(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Distance to the nearest whole number, in [0, 0.5]."""
    return np.asarray(np.abs(values - np.rint(values)))


def stripes(u: Field, v: Field) -> Field:
    """Straight bands."""
    return _soft(np.sin(_TAU * u))


def checks(u: Field, v: Field) -> Field:
    """A chessboard."""
    return _soft(np.sin(np.pi * u) * np.sin(np.pi * v), 4.0)


def dots(u: Field, v: Field) -> Field:
    """Discs on a staggered grid."""
    row = np.floor(v)
    shifted = u + 0.5 * (row % 2)
    distance = np.hypot(shifted - np.floor(shifted) - 0.5, v - row - 0.5)
    return _soft(0.33 - distance, 5.0)


def rings(u: Field, v: Field) -> Field:
    """Circles about the origin."""
    return _soft(np.sin(_TAU * np.hypot(u, v)))


def waves(u: Field, v: Field) -> Field:
    """Bands that swing from side to side."""
    return _soft(np.sin(_TAU * (u + 0.35 * np.sin(np.pi * v))))


def rays(u: Field, v: Field) -> Field:
    """Nine sectors about the origin."""
    return _soft(np.sin(9 * np.arctan2(v, u)))


def mesh(u: Field, v: Field) -> Field:
    """Thin lines in two directions."""
    return _soft(0.14 - np.minimum(_wrapped(u), _wrapped(v)), 6.0)


def blotches(u: Field, v: Field) -> Field:
    """Irregular spots: the sign of a sum of seven plane waves."""
    total = np.zeros_like(u)
    for k in range(7):
        angle = 2.39996 * k
        frequency = 0.45 + 0.09 * k
        total += np.sin(_TAU * frequency * (u * np.cos(angle) + v * np.sin(angle)) + 1.7 * k * k)
    return _soft(total / 2.0, 1.5)


def bricks(u: Field, v: Field) -> Field:
    """Courses of bricks, twice as long as high, in light mortar."""
    row = np.floor(v)
    along = _wrapped(u / 2 + 0.5 * (row % 2))
    return _soft(0.16 - np.minimum(2 * along, _wrapped(v)), 6.0)


def zigzag(u: Field, v: Field) -> Field:
    """Bands with sharp corners."""
    return _soft(np.sin(_TAU * (u + 1.6 * _wrapped(v / 2))))


PATTERNS: dict[str, Pattern] = {
    function.__name__: function
    for function in (stripes, checks, dots, rings, waves, rays, mesh, blotches, bricks, zigzag)
}
"""Name to function."""
