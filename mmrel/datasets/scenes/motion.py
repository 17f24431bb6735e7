"""Sequences: a scene whose things and camera move evenly."""

from dataclasses import dataclass, replace

import numpy as np

from mmrel.datasets.scenes.classes import CLASSES
from mmrel.datasets.scenes.draw import draw_background, draw_light, draw_thing
from mmrel.datasets.scenes.paint import paint_background, paint_things, visible_things
from mmrel.datasets.scenes.scene import Picture, Scene, Thing

FRAMES = 12
PAN = 0.25
"""How far the camera moves over a sequence at most, as a share of the image's side."""


@dataclass(frozen=True)
class Motion:
    """Change per frame of one thing.

    Attributes:
        velocity: of the centre, in pixels.
        spin: in radians.
        growth: of the logarithm of the radius.
    """

    velocity: tuple[float, float]
    spin: float
    growth: float


@dataclass(frozen=True)
class Sequence:
    """A moving scene.

    Attributes:
        scene: the first frame; its background is larger than the image.
        motions: one for each thing.
        start: top left corner of the image on the background in the first frame.
        end: the same in the last frame.
    """

    scene: Scene
    motions: tuple[Motion, ...]
    start: tuple[int, int]
    end: tuple[int, int]


def _draw_motion(rng: np.random.Generator, thing: Thing, size: int) -> Motion:
    """A motion that ends near the middle of the image, so that the thing stays in sight."""
    goal = size * rng.uniform(0.25, 0.75, 2)
    step = (goal - np.array(thing.center)) / (FRAMES - 1)
    return Motion(
        velocity=(float(step[0]), float(step[1])),
        spin=rng.uniform(-0.1, 0.1),
        growth=rng.uniform(-0.03, 0.03),
    )


def draw_sequence(rng: np.random.Generator, split: str, size: int) -> Sequence:
    """Draw a sequence of one to three things, all seen in the first frame.

    Args:
        rng: source of the draws.
        split: whose photographs texture it.
        size: side of the image in pixels.
    """
    margin = int(size * PAN)
    background = draw_background(rng, split, size + margin)
    things = []
    for _ in range(int(rng.integers(1, 4))):
        center = (size * rng.uniform(0.15, 0.85), size * rng.uniform(0.15, 0.85))
        label = int(rng.integers(len(CLASSES)))
        things.append(draw_thing(rng, split, label, size * rng.uniform(0.3, 0.6), center))
    seen = visible_things(tuple(things), size)
    motions = tuple(_draw_motion(rng, thing, size) for thing in seen)
    corners = rng.integers(0, margin + 1, (2, 2))
    scene = Scene(size, background, seen, draw_light(rng))
    return Sequence(scene, motions, tuple(corners[0].tolist()), tuple(corners[1].tolist()))


def _moved(thing: Thing, motion: Motion, time: int) -> Thing:
    center = (
        thing.center[0] + time * motion.velocity[0],
        thing.center[1] + time * motion.velocity[1],
    )
    radius = thing.radius * float(np.exp(time * motion.growth))
    return replace(thing, center=center, radius=radius, angle=thing.angle + time * motion.spin)


def paint_sequence(sequence: Sequence) -> list[Picture]:
    """Paint all frames; thing k of the first frame is thing k of every frame."""
    scene = sequence.scene
    canvas, stuff = paint_background(scene.background)
    pictures = []
    for time in range(FRAMES):
        share = time / (FRAMES - 1)
        x, y = np.rint(
            np.add(np.multiply(sequence.start, 1 - share), np.multiply(sequence.end, share))
        )
        box = (slice(int(y), int(y) + scene.size), slice(int(x), int(x) + scene.size))
        things = tuple(
            _moved(*pair, time) for pair in zip(scene.things, sequence.motions, strict=True)
        )
        light = replace(scene.light, noise_seed=scene.light.noise_seed + time)
        pictures.append(paint_things(canvas[box].copy(), stuff[box], things, light))
    return pictures
