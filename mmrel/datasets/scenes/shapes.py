"""Silhouettes of the things: outlines in a unit disc, drawn anew for every object.

Each function takes a random generator and returns contours, float64 arrays ``(n, 2)`` of (x, y)
within distance 1 of the origin. Where contours lie inside each other, the inner one is a hole.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Contour = NDArray[np.float64]
Silhouette = Callable[[np.random.Generator], list[Contour]]

_ANGLES = 2 * np.pi * np.arange(96, dtype=np.float64) / 96


def _polar(radius: NDArray[np.float64], angles: NDArray[np.float64] = _ANGLES) -> Contour:
    points = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    return np.asarray(points / np.linalg.norm(points, axis=1).max())


def _fit(points: NDArray[np.float64]) -> Contour:
    """Centre the points on their bounding box and scale them into the unit disc."""
    centered = points - (points.max(axis=0) + points.min(axis=0)) / 2
    return np.asarray(centered / np.linalg.norm(centered, axis=1).max())


def star(rng: np.random.Generator) -> list[Contour]:
    """Four to seven pointed tips."""
    tips = int(rng.integers(4, 8))
    angles = np.arange(2 * tips) * np.pi / tips
    inner = rng.uniform(0.42, 0.58)
    radius = np.where(np.arange(2 * tips) % 2, inner, 1.0) * rng.uniform(0.9, 1.1, 2 * tips)
    return [_polar(radius, angles)]


def gear(rng: np.random.Generator) -> list[Contour]:
    """A toothed wheel, often with a hole for the axle."""
    teeth = int(rng.integers(7, 12))
    wave = np.tanh(4 * np.sin(teeth * _ANGLES))
    contours = [_polar(1 + rng.uniform(0.08, 0.14) * wave)]
    if rng.random() < 0.5:
        contours.append(_polar(np.ones_like(_ANGLES)) * rng.uniform(0.15, 0.3))
    return contours


def fish(rng: np.random.Generator) -> list[Contour]:
    """An elliptic body with a tail fin."""
    height, fin = rng.uniform(0.36, 0.55), rng.uniform(0.35, 0.55)
    t = np.linspace(0.1 * np.pi, 1.9 * np.pi, 60)
    body = np.stack([0.7 * np.cos(t) - 0.25, height * np.sin(t)], axis=1)
    tail = np.array([[0.95, -fin], [0.78, 0.0], [0.95, fin]])
    return [_fit(np.concatenate([body, tail]))]


def leaf(rng: np.random.Generator) -> list[Contour]:
    """A pointed oval with a stalk end, a little bent."""
    t = np.linspace(0, np.pi, 40)
    width = rng.uniform(0.4, 0.62)
    x = -np.cos(t)
    bend = rng.uniform(-0.25, 0.25) * (1 - x**2)
    half = width * np.sin(t) ** rng.uniform(1.1, 1.7)
    upper = np.stack([x, bend + half], axis=1)
    lower = np.stack([x, bend - half], axis=1)[::-1]
    return [_fit(np.concatenate([upper, lower[1:-1]]))]


def cross(rng: np.random.Generator) -> list[Contour]:
    """Four arms of slightly different width."""
    a, b = rng.uniform(0.26, 0.42, 2)
    c = rng.uniform(0.8, 1.0)
    points = [(a, 1), (a, b), (c, b), (c, -b), (a, -b), (a, -1)]
    points += [(-a, -1), (-a, -b), (-c, -b), (-c, b), (-a, b), (-a, 1)]
    return [_fit(np.array(points, dtype=np.float64))]


def moon(rng: np.random.Generator) -> list[Contour]:
    """A crescent between two arcs."""
    opening = rng.uniform(0.25, 0.6) * np.pi / 2
    t = np.linspace(opening, 2 * np.pi - opening, 60)
    outer = np.stack([np.cos(t), np.sin(t)], axis=1)
    depth = rng.uniform(0.05, 0.4)
    s = np.linspace(-1, 1, 40)[1:-1]
    end = outer[0]
    inner = np.stack([end[0] - (1 - s**2) * (end[0] + depth), s * end[1]], axis=1)
    return [_fit(np.concatenate([outer, inner]))]


def ring(rng: np.random.Generator) -> list[Contour]:
    """An annulus, not quite round."""
    wobble = 1 + rng.uniform(0, 0.08) * np.cos(2 * _ANGLES + rng.uniform(0, np.pi))
    outer = _polar(wobble)
    return [outer, outer * rng.uniform(0.35, 0.55)]


def arrow(rng: np.random.Generator) -> list[Contour]:
    """A shaft with a head."""
    shaft = rng.uniform(0.22, 0.4)
    head = rng.uniform(0.65, 0.95)
    neck = rng.uniform(-0.1, 0.25)
    points = [
        (-1, shaft),
        (neck, shaft),
        (neck, head),
        (1, 0),
        (neck, -head),
        (neck, -shaft),
        (-1, -shaft),
    ]
    return [_fit(np.array(points, dtype=np.float64))]


def flower(rng: np.random.Generator) -> list[Contour]:
    """Five to eight round petals."""
    petals = int(rng.integers(5, 9))
    depth = rng.uniform(0.35, 0.55)
    radius = (1 - depth) + depth * np.abs(np.cos(petals * _ANGLES / 2)) ** 0.7
    return [_polar(radius)]


def bean(rng: np.random.Generator) -> list[Contour]:
    """A smooth blob with a random outline."""
    radius = np.ones_like(_ANGLES)
    for order in range(1, 5):
        amplitude = rng.normal() * 0.28 / order
        radius += amplitude * np.cos(order * _ANGLES + rng.uniform(0, 2 * np.pi))
    return [_fit(_polar(np.clip(radius, 0.35, None)))]


SILHOUETTES: dict[str, Silhouette] = {
    function.__name__: function
    for function in (star, gear, fish, leaf, cross, moon, ring, arrow, flower, bean)
}
"""Name to function."""
