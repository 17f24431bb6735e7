"""What a scene is made of: plain records that are drawn first and painted afterwards.

Lengths and positions are in pixels of the image (x to the right, y down), angles in radians,
colours are RGB in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.scenes.shapes import Contour
from mmrel.datasets.scenes.texture import TextureCrop


@dataclass(frozen=True)
class Surface:
    """How the inside of a thing or of a region looks.

    Attributes:
        pattern: name of a function of ``patterns.PATTERNS``.
        period: of the pattern.
        angle: of the pattern against the thing's own axes.
        phase: origin of the pattern, in periods.
        colors: ``(2, 3)``: where the pattern is 0 and where it is 1.
        crop: the photograph's texture.
        photo_strength: weight of that texture.
        shade: ``(2,)``: change of brightness from the middle to the edge along x and y.
    """

    pattern: str
    period: float
    angle: float
    phase: tuple[float, float]
    colors: NDArray[np.float32]
    crop: TextureCrop
    photo_strength: float
    shade: tuple[float, float]


@dataclass(frozen=True)
class Thing:
    """One object.

    Attributes:
        label: index into ``CLASSES``.
        contours: outline in the unit disc.
        center: of that disc in the image.
        radius: of that disc in the image.
        angle: rotation.
        aspect: length of the thing's y axis over its x axis.
        surface: its look.
    """

    label: int
    contours: tuple[Contour, ...]
    center: tuple[float, float]
    radius: float
    angle: float
    aspect: float
    surface: Surface

    def matrix(self) -> NDArray[np.float64]:
        """``(2, 2)``: from the unit disc to offsets in pixels from ``center``."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        return np.asarray(rotation @ np.diag([self.radius, self.radius * self.aspect]))


@dataclass(frozen=True)
class Background:
    """Regions of stuff.

    Attributes:
        size: side of the painted square; larger than the image where the camera moves.
        labels: index into ``STUFF`` of each region.
        surfaces: the look of each region.
        angle: direction in which the regions follow each other.
        thresholds: where one region gives way to the next, in [-0.5, 0.5]; one fewer than regions.
        relief: ``(n, n)`` random heights that make the borders irregular.
    """

    size: int
    labels: tuple[int, ...]
    surfaces: tuple[Surface, ...]
    angle: float
    thresholds: tuple[float, ...]
    relief: NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """What the camera does to the whole image.

    Attributes:
        gains: ``(3,)``: factor of each colour channel.
        slope: change of brightness from the middle to the edge along x and y.
        gamma: exponent.
        noise: standard deviation of the noise of the sensor.
        noise_seed: key of that noise.
    """

    gains: NDArray[np.float32]
    slope: tuple[float, float]
    gamma: float
    noise: float
    noise_seed: int


@dataclass(frozen=True)
class Scene:
    """One image: background, things from back to front, light."""

    size: int
    background: Background
    things: tuple[Thing, ...]
    light: Light


@dataclass(frozen=True)
class Picture:
    """A painted scene.

    Attributes:
        image: uint8 RGB ``(S, S, 3)``.
        stuff: uint8 ``(S, S)``: index into ``STUFF`` of what lies behind each pixel.
        owner: int16 ``(S, S)``: index into ``things`` of the thing seen there, -1 for stuff.
        things: the things that were painted, from back to front.
    """

    image: NDArray[np.uint8]
    stuff: NDArray[np.uint8]
    owner: NDArray[np.int16]
    things: tuple[Thing, ...]
