"""Paints scenes: records in, pixels and labels out. No randomness but the keyed sensor noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mmrel.datasets.scenes.patterns import PATTERNS
from mmrel.datasets.scenes.scene import Background, Light, Picture, Scene, Surface, Thing
from mmrel.datasets.scenes.texture import FloatImage, cut

SHIFT = 4
TEXTURE_SIDE = 64
MIN_VISIBLE_PIXELS = 24
MIN_VISIBLE_SHARE = 0.2
RELIEF_HEIGHT = 0.07


def silhouette(thing: Thing, size: int) -> NDArray[np.uint8]:
    """Coverage ``(size, size)`` of the pixels by a thing, 0 to 255, with soft edges."""
    matrix, center = thing.matrix(), np.array(thing.center)
    points = [contour @ matrix.T + center - 0.5 for contour in thing.contours]
    fixed = [np.rint(part * (1 << SHIFT)).astype(np.int32) for part in points]
    coverage = np.zeros((size, size), np.uint8)
    cv2.fillPoly(coverage, fixed, 255, lineType=cv2.LINE_AA, shift=SHIFT)
    return coverage


def _colorize(
    surface: Surface, x: FloatImage, y: FloatImage, scale: float, texture: FloatImage
) -> FloatImage:
    """Colours ``(h, w, 3)`` at own coordinates ``x`` and ``y``, of which 1 is ``scale`` pixels."""
    cos, sin = np.float32(np.cos(surface.angle)), np.float32(np.sin(surface.angle))
    periods = np.float32(scale / surface.period)
    u = periods * (cos * x + sin * y) + np.float32(surface.phase[0])
    v = periods * (cos * y - sin * x) + np.float32(surface.phase[1])
    mix = PATTERNS[surface.pattern](u, v)[..., None]
    colors = surface.colors[0] * (1 - mix) + surface.colors[1] * mix
    shade = 1 + np.float32(surface.shade[0]) * x + np.float32(surface.shade[1]) * y
    return np.asarray(colors * shade[..., None] + np.float32(surface.photo_strength) * texture)


def _own_texture(thing: Thing, size: int) -> FloatImage:
    """The texture of a thing ``(size, size, 3)``, turning and scaling with it."""
    half = TEXTURE_SIDE / 2
    matrix = thing.matrix() / half
    offset = np.array(thing.center) - 0.5 - matrix @ [half - 0.5, half - 0.5]
    affine = np.concatenate([matrix, offset[:, None]], axis=1)
    texture = cut(thing.surface.crop, TEXTURE_SIDE)
    moved = cv2.warpAffine(texture, affine, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.float32)


def _paint_thing(canvas: FloatImage, thing: Thing, coverage: NDArray[np.uint8]) -> None:
    size = canvas.shape[0]
    left, top, width, height = cv2.boundingRect(coverage)
    if width == 0:
        return
    box = (slice(top, top + height), slice(left, left + width))
    rows, cols = np.mgrid[box].astype(np.float32)
    inverse = np.linalg.inv(thing.matrix()).astype(np.float32)
    dx = cols + np.float32(0.5 - thing.center[0])
    dy = rows + np.float32(0.5 - thing.center[1])
    x = inverse[0, 0] * dx + inverse[0, 1] * dy
    y = inverse[1, 0] * dx + inverse[1, 1] * dy
    colors = _colorize(thing.surface, x, y, thing.radius, _own_texture(thing, size)[box])
    alpha = coverage[box].astype(np.float32)[..., None] / np.float32(255)
    canvas[box] += alpha * (colors - canvas[box])


def paint_background(background: Background) -> tuple[FloatImage, NDArray[np.uint8]]:
    """Colours ``(S, S, 3)`` and stuff indices ``(S, S)`` of the regions."""
    size = background.size
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    relief = cv2.resize(background.relief, (size, size), interpolation=cv2.INTER_CUBIC)
    depth = np.cos(background.angle) * x + np.sin(background.angle) * y + RELIEF_HEIGHT * relief
    region = np.searchsorted(background.thresholds, depth.ravel()).reshape(size, size)
    canvas = np.zeros((size, size, 3), np.float32)
    for k, surface in enumerate(background.surfaces):
        colors = _colorize(surface, 2 * x, 2 * y, size / 2, cut(surface.crop, size))
        np.copyto(canvas, colors, where=(region == k)[..., None])
    return canvas, np.array(background.labels, np.uint8)[region]


def _expose(canvas: FloatImage, light: Light) -> NDArray[np.uint8]:
    rng = np.random.Generator(np.random.Philox(key=light.noise_seed))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    axis = np.linspace(-1, 1, canvas.shape[0], dtype=np.float32)
    across, down = np.float32(light.slope[0]) * axis, np.float32(light.slope[1]) * axis
    brightness = (1 + across[None, :] + down[:, None])[..., None]
    lit = np.clip(canvas * light.gains * brightness, 0, 1) ** np.float32(light.gamma)
    exposed = np.clip(lit + np.float32(light.noise) * noise, 0, 1)
    return np.asarray(np.rint(255 * exposed), dtype=np.uint8)


def visible_things(things: tuple[Thing, ...], size: int) -> tuple[Thing, ...]:
    """The things, in order, without those that nearer things hide almost wholly."""
    free = np.ones((size, size), bool)
    kept: list[Thing] = []
    for thing in reversed(things):
        inside = silhouette(thing, size) > 127
        seen = np.count_nonzero(inside & free)
        if seen >= max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * np.count_nonzero(inside)):
            kept.append(thing)
            free &= ~inside
    return tuple(kept[::-1])


def paint_things(
    canvas: FloatImage, stuff: NDArray[np.uint8], things: tuple[Thing, ...], light: Light
) -> Picture:
    """Paint things over a background and expose the result.

    Args:
        canvas: colours of the background ``(S, S, 3)``; painted over.
        stuff: its stuff indices ``(S, S)``.
        things: from back to front.
        light: of the whole image.
    """
    size = canvas.shape[0]
    owner = np.full((size, size), -1, np.int16)
    for k, thing in enumerate(things):
        coverage = silhouette(thing, size)
        _paint_thing(canvas, thing, coverage)
        owner[coverage > 127] = k
    return Picture(_expose(canvas, light), stuff, owner, things)


def paint(scene: Scene) -> Picture:
    """Paint a scene whose background is as large as its image, without the hidden things."""
    canvas, stuff = paint_background(scene.background)
    things = visible_things(scene.things, scene.size)
    return paint_things(canvas, stuff, things, scene.light)
