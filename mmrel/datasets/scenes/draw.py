"""Draws scenes: every scene is a pure function of (seed, stream, index).

The counter-based Philox generator is keyed with the three numbers, so that scenes can be made in
any order and by any number of processes.
"""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.scenes.classes import (
    CLASSES,
    HUE_SPREAD,
    STUFF,
    STUFF_CLASSES,
    THINGS,
    StuffClass,
)
from mmrel.datasets.scenes.scene import Background, Light, Scene, Surface, Thing
from mmrel.datasets.scenes.shapes import SILHOUETTES
from mmrel.datasets.scenes.texture import SURFACE_PHOTOS, draw_crop

SCALES = (0.2, 0.9)
"""Least and greatest diameter of a thing as a share of the image's side."""

PORTRAIT_SCALES = (0.65, 0.9)
"""The same for the main thing of an image of the class folders."""

PORTRAIT_CENTERS = (0.35, 0.65)
"""Where that thing's centre is, in x and in y, as a share of the image's side."""

HABITAT_SHARE = 0.6
"""How often the main thing is found in its habitat."""

MIN_PERIOD = 5.0
"""Period in pixels of the pattern of a very small thing; it grows by a tenth of the radius."""

STREAMS = 1 << 20


def keyed_rng(seed: int, stream: int, index: int) -> np.random.Generator:
    """The generator of one scene.

    Args:
        seed: of the whole data set, at least 0.
        stream: which layout and split.
        index: which scene of it.
    """
    key = np.array([seed, index * STREAMS + stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(rng.uniform(limits[0], limits[1]))


def _rgb(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(hue / 360.0 % 1.0, saturation, value)


def _thing_colors(rng: np.random.Generator, hue: float) -> NDArray[np.float32]:
    """Two colours ``(2, 3)`` of clearly different brightness, in random order."""
    hue += HUE_SPREAD * rng.standard_normal()
    bright = _rgb(hue, rng.uniform(0.2, 0.6), rng.uniform(0.75, 1.0))
    dark = _rgb(hue + rng.uniform(-20, 20), rng.uniform(0.5, 0.95), rng.uniform(0.15, 0.45))
    colors = np.array([bright, dark], dtype=np.float32)
    return colors[::-1].copy() if rng.random() < 0.5 else colors


def _thing_surface(rng: np.random.Generator, split: str, label: int, radius: float) -> Surface:
    thing = THINGS[label]
    return Surface(
        pattern=thing.pattern,
        period=(MIN_PERIOD + 0.1 * radius) * rng.uniform(0.85, 1.2),
        angle=rng.uniform(0, 2 * math.pi),
        phase=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
        colors=_thing_colors(rng, thing.hue),
        crop=draw_crop(rng, split, SURFACE_PHOTOS),
        photo_strength=rng.uniform(0.03, 0.10),
        shade=(rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25)),
    )


def draw_thing(
    rng: np.random.Generator, split: str, label: int, diameter: float, center: tuple[float, float]
) -> Thing:
    """Draw one object of a class: outline, pose and surface.

    Args:
        rng: source of the draws.
        split: whose photographs texture it.
        label: index into ``CLASSES``.
        diameter: in pixels.
        center: in pixels.
    """
    return Thing(
        label=label,
        contours=tuple(SILHOUETTES[THINGS[label].silhouette](rng)),
        center=center,
        radius=diameter / 2,
        angle=rng.uniform(0, 2 * math.pi),
        aspect=rng.uniform(0.8, 1.0),
        surface=_thing_surface(rng, split, label, diameter / 2),
    )


def _stuff_surface(rng: np.random.Generator, split: str, stuff: StuffClass, size: int) -> Surface:
    hue = stuff.hues[int(rng.integers(len(stuff.hues)))] + 15 * rng.standard_normal()
    saturation, value = _uniform(rng, stuff.saturation), rng.uniform(0.5, 0.6)
    base = _rgb(hue, saturation, value)
    other = _rgb(hue + 15, saturation, value * (1 - stuff.pattern_strength))
    return Surface(
        pattern=stuff.pattern,
        period=size * rng.uniform(0.08, 0.16),
        angle=rng.normal(math.pi / 2, 0.2) if stuff.name == "water" else rng.normal(0, 0.2),
        phase=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
        colors=np.array([base, other], dtype=np.float32),
        crop=draw_crop(rng, split, stuff.photos),
        photo_strength=stuff.photo_strength * rng.uniform(0.6, 1.2),
        shade=(rng.uniform(-0.1, 0.1), rng.uniform(-0.2, 0.2)),
    )


def _stuff_labels(rng: np.random.Generator, habitat: str | None) -> tuple[int, ...]:
    """One to three different kinds of stuff, the habitat first where one is given."""
    count = int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]))
    labels = [int(label) for label in rng.permutation(len(STUFF))]
    if habitat is not None:
        labels.sort(key=lambda label: STUFF[label] != habitat)
    return tuple(labels[:count])


def draw_background(
    rng: np.random.Generator, split: str, size: int, habitat: str | None = None
) -> Background:
    """Draw one to three different regions of stuff, mostly above each other.

    Args:
        rng: source of the draws.
        split: whose photographs texture it.
        size: side of the painted square in pixels.
        habitat: a name of ``STUFF`` that has to occur.
    """
    labels = _stuff_labels(rng, habitat)
    cuts = np.sort(rng.uniform(-0.3, 0.3, len(labels) - 1))
    return Background(
        size=size,
        labels=labels,
        surfaces=tuple(_stuff_surface(rng, split, STUFF_CLASSES[k], size) for k in labels),
        angle=rng.normal(math.pi / 2, 0.35),
        thresholds=tuple(float(value) for value in cuts),
        relief=rng.standard_normal((9, 9)).astype(np.float32),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the light of an image: its colour, its fall-off to one side, and the sensor noise."""
    gains = rng.uniform(0.9, 1.1) * rng.uniform(0.96, 1.04, 3)
    return Light(
        gains=gains.astype(np.float32),
        slope=(rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)),
        gamma=rng.uniform(0.85, 1.2),
        noise=rng.uniform(0.005, 0.02),
        noise_seed=int(rng.integers(1 << 62)),
    )


def _scattered(rng: np.random.Generator, split: str, size: int, diameter: float) -> Thing:
    center = (size * rng.uniform(0.05, 0.95), size * rng.uniform(0.05, 0.95))
    return draw_thing(rng, split, int(rng.integers(len(CLASSES))), diameter, center)


def draw_scene(rng: np.random.Generator, split: str, size: int, margin: int = 0) -> Scene:
    """Draw a scene of one to six objects, of any scale, hidden and cut off as it happens.

    Args:
        rng: source of the draws.
        split: whose photographs texture it.
        size: side of the image in pixels.
        margin: by how much the background is larger than the image, in pixels.
    """
    background = draw_background(rng, split, size + margin)
    count = int(rng.choice(6, p=[0.1, 0.2, 0.25, 0.2, 0.15, 0.1])) + 1
    shares = SCALES[0] + (SCALES[1] - SCALES[0]) * rng.random(count) ** 2
    order = np.sort(shares)[::-1] if rng.random() < 0.5 else shares
    things = tuple(_scattered(rng, split, size, size * float(share)) for share in order)
    return Scene(size, background, things, draw_light(rng))


def draw_portrait(rng: np.random.Generator, split: str, size: int, label: int) -> Scene:
    """Draw a scene of one main object in front, at times with a smaller one behind it.

    Args:
        rng: source of the draws.
        split: whose photographs texture it.
        size: side of the image in pixels.
        label: class of the main object, an index into ``CLASSES``.
    """
    habitat = THINGS[label].habitat if rng.random() < HABITAT_SHARE else None
    background = draw_background(rng, split, size, habitat)
    things = []
    if rng.random() < 0.25:
        things.append(_scattered(rng, split, size, size * rng.uniform(0.2, 0.35)))
    center = (size * _uniform(rng, PORTRAIT_CENTERS), size * _uniform(rng, PORTRAIT_CENTERS))
    diameter = size * _uniform(rng, PORTRAIT_SCALES)
    things.append(draw_thing(rng, split, label, diameter, center))
    return Scene(size, background, tuple(things), draw_light(rng))
