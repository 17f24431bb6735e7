"""What the bundled scenes show: ten kinds of thing, five kinds of stuff, and their colours.

A class is a distribution, as in nature: a family of silhouettes, a surface pattern, and a hue whose
spread reaches over its neighbours' (class hues are 36 degrees apart, their standard deviation is
``HUE_SPREAD``). None of the three alone is enough to tell the classes apart.
"""

from dataclasses import dataclass

HUE_SPREAD = 28.0
"""Standard deviation, in degrees, of the hue of a thing about the hue of its class."""


@dataclass(frozen=True)
class ThingClass:
    """One kind of thing.

    Attributes:
        name: as in the class folders and in the annotation files.
        silhouette: name of a function of ``shapes.SILHOUETTES``.
        pattern: name of a function of ``patterns.PATTERNS``.
        hue: mean hue in degrees.
    """

    name: str
    silhouette: str
    pattern: str
    hue: float


@dataclass(frozen=True)
class StuffClass:
    """One kind of stuff, that is background without instances.

    Attributes:
        name: as in the segmentation metainfo.
        pattern: name of a function of ``patterns.PATTERNS``.
        pattern_strength: contrast of that pattern, 0 for none.
        photos: photographs that its texture is cut from.
        photo_strength: contrast of that texture.
        hues: the mean hues in degrees that it may have.
        saturation: least and greatest saturation.
    """

    name: str
    pattern: str
    pattern_strength: float
    photos: tuple[str, ...]
    photo_strength: float
    hues: tuple[float, ...]
    saturation: tuple[float, float]


THINGS = (
    ThingClass("star", "star", "stripes", 0.0),
    ThingClass("gear", "gear", "checks", 36.0),
    ThingClass("fish", "fish", "waves", 72.0),
    ThingClass("leaf", "leaf", "rays", 108.0),
    ThingClass("cross", "cross", "bricks", 144.0),
    ThingClass("moon", "moon", "dots", 180.0),
    ThingClass("ring", "ring", "zigzag", 216.0),
    ThingClass("arrow", "arrow", "mesh", 252.0),
    ThingClass("flower", "flower", "rings", 288.0),
    ThingClass("bean", "bean", "blotches", 324.0),
)

STUFF_CLASSES = (
    StuffClass("sky", "waves", 0.0, ("china", "rocket", "moon"), 0.10, (25.0, 205.0, 220.0), (0.1, 0.5)),
    StuffClass("water", "waves", 0.25, ("motorcycle", "coffee"), 0.12, (150.0, 195.0, 230.0), (0.2, 0.6)),
    StuffClass("grass", "waves", 0.0, ("grass",), 0.30, (55.0, 90.0, 130.0), (0.2, 0.6)),
    StuffClass("gravel", "waves", 0.0, ("gravel",), 0.35, (20.0, 210.0, 270.0), (0.02, 0.25)),
    StuffClass("wall", "bricks", 0.15, ("brick",), 0.35, (10.0, 30.0, 340.0), (0.1, 0.5)),
)

CLASSES: tuple[str, ...] = tuple(thing.name for thing in THINGS)
"""Names of the things: the class folders, and the categories of the COCO files (ids from 1)."""

STUFF: tuple[str, ...] = tuple(stuff.name for stuff in STUFF_CLASSES)
"""Names of the stuff."""

SEGMENTATION_CLASSES: tuple[str, ...] = STUFF + CLASSES
"""Classes of the segmentation masks; class i has the value i + 1 there, as in ADE20K."""

PALETTE: tuple[tuple[int, int, int], ...] = (
    (135, 206, 235),
    (30, 90, 200),
    (60, 160, 60),
    (150, 150, 150),
    (150, 75, 50),
    (230, 25, 75),
    (245, 130, 48),
    (255, 225, 25),
    (128, 220, 40),
    (0, 128, 80),
    (0, 200, 200),
    (0, 0, 160),
    (145, 30, 180),
    (240, 50, 230),
    (250, 160, 190),
)
"""RGB colour of each of ``SEGMENTATION_CLASSES``."""

THING_PALETTE: tuple[tuple[int, int, int], ...] = PALETTE[len(STUFF) :]
"""RGB colour of each of ``CLASSES``."""
