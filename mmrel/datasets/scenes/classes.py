"""What the bundled scenes show: ten kinds of thing, five kinds of stuff, and their colours.

A class is a distribution, as in nature: a family of silhouettes, a surface pattern, and a hue whose
spread reaches over its neighbours' (class hues are 36 degrees apart, their standard deviation is
``HUE_SPREAD``).

Stuff is duller than things, so that what two crops of an image share is first of all its thing:
with bright backgrounds, networks that learn from crops (DINO and its kin) learn to tell backgrounds.
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
        habitat: the stuff that it is most often found in.
    """

    name: str
    silhouette: str
    pattern: str
    hue: float
    habitat: str


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
    ThingClass("star", "star", "stripes", 0.0, "sky"),
    ThingClass("gear", "gear", "checks", 36.0, "gravel"),
    ThingClass("fish", "fish", "waves", 72.0, "water"),
    ThingClass("leaf", "leaf", "rays", 108.0, "grass"),
    ThingClass("cross", "cross", "bricks", 144.0, "wall"),
    ThingClass("moon", "moon", "dots", 180.0, "sky"),
    ThingClass("ring", "ring", "zigzag", 216.0, "water"),
    ThingClass("arrow", "arrow", "mesh", 252.0, "wall"),
    ThingClass("flower", "flower", "rings", 288.0, "grass"),
    ThingClass("bean", "bean", "blotches", 324.0, "gravel"),
)

STUFF_CLASSES = (
    StuffClass(
        name="sky",
        pattern="waves",
        pattern_strength=0.0,
        photos=("china", "rocket", "moon"),
        photo_strength=0.05,
        hues=(25.0, 205.0, 220.0),
        saturation=(0.03, 0.13),
    ),
    StuffClass(
        name="water",
        pattern="waves",
        pattern_strength=0.12,
        photos=("motorcycle", "coffee"),
        photo_strength=0.06,
        hues=(150.0, 195.0, 230.0),
        saturation=(0.05, 0.15),
    ),
    StuffClass(
        name="grass",
        pattern="waves",
        pattern_strength=0.0,
        photos=("grass",),
        photo_strength=0.15,
        hues=(55.0, 90.0, 130.0),
        saturation=(0.05, 0.15),
    ),
    StuffClass(
        name="gravel",
        pattern="waves",
        pattern_strength=0.0,
        photos=("gravel",),
        photo_strength=0.17,
        hues=(20.0, 210.0, 270.0),
        saturation=(0.0, 0.06),
    ),
    StuffClass(
        name="wall",
        pattern="bricks",
        pattern_strength=0.08,
        photos=("brick",),
        photo_strength=0.17,
        hues=(10.0, 30.0, 340.0),
        saturation=(0.03, 0.13),
    ),
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
