"""Triton kernels of the colour augmentation: what :mod:`.augment` does in some eighty passes, in at most four.

One program works on a tile of ``group`` images (rows) times ``span`` pixels (columns): large images are cut into spans,
small ones are grouped. The table of colours is read where it is needed, so every image follows its own row and no shape
depends on what was drawn. An operation that does not concern an image leaves its values exactly as they are.

Contrast needs an image's mean grey value in the middle of the jitter. :func:`sum_gray` runs the steps before it and
sums up; :func:`jitter` runs all steps, with the means.
"""

# Triton gives annotations a meaning of its own, so arguments that are not constants have none.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

import triton
import triton.language as tl


@triton.jit
def sum_gray(
    images,
    table,
    sums,
    count,
    height,
    width,
    columns: tl.constexpr,
    in_bytes: tl.constexpr,
    group: tl.constexpr,
    span: tl.constexpr,
):
    """Write ``sums (count, spans)``: grey values of each span of pixels as the contrast step finds them."""
    image = tl.program_id(0) * group + tl.arange(0, group)[:, None]
    pixel = tl.program_id(1) * span + tl.arange(0, span)[None, :]
    known = (image < count) & (pixel < height * width)
    row = table + image * columns
    # A mean does not change if the image is mirrored: the flip is left for later.
    red, green, blue = _load_pixels(images, image, pixel, height * width, known, in_bytes)
    red, green, blue, gray = _jitter(red, green, blue, row, image < count, 0.0)
    total = tl.sum(tl.where(known, gray, 0.0), axis=1)[:, None]
    tl.store(sums + image * tl.num_programs(1) + tl.program_id(1), total, image < count)


@triton.jit
def jitter(
    images,
    table,
    sums,
    center,
    scale,
    target,
    count,
    height,
    width,
    spans,
    columns: tl.constexpr,
    flips: tl.constexpr,
    in_bytes: tl.constexpr,
    normalizes: tl.constexpr,
    padded_spans: tl.constexpr,
    group: tl.constexpr,
    span: tl.constexpr,
):
    """Flip, jitter, grey and, if nothing comes after them, normalisation: ``images`` to float32 ``target``."""
    image = tl.program_id(0) * group + tl.arange(0, group)[:, None]
    pixel = tl.program_id(1) * span + tl.arange(0, span)[None, :]
    known = (image < count) & (pixel < height * width)
    row = table + image * columns
    parts = tl.arange(0, padded_spans)[None, :]
    parts = tl.load(sums + image * spans + parts, (image < count) & (parts < spans), other=0.0)
    mean = tl.sum(parts, axis=1)[:, None] / (height * width)
    source = pixel
    if flips:
        mirrored = tl.load(row + columns - 1, image < count, other=0.0) > 0
        column = pixel % width
        source = tl.where(mirrored, pixel + width - 1 - 2 * column, pixel)
    red, green, blue = _load_pixels(images, image, source, height * width, known, in_bytes)
    red, green, blue, gray = _jitter(red, green, blue, row, image < count, mean)
    colorless = tl.load(row + 5, image < count, other=0.0) > 0
    gray = _luminance(red, green, blue)
    red = tl.where(colorless, gray, red)
    green = tl.where(colorless, gray, green)
    blue = tl.where(colorless, gray, blue)
    if normalizes:
        red = _normalize(red, tl.load(center), tl.load(scale))
        green = _normalize(green, tl.load(center + 1), tl.load(scale + 1))
        blue = _normalize(blue, tl.load(center + 2), tl.load(scale + 2))
    place = target + image.to(tl.int64) * (3 * height * width) + pixel
    tl.store(place, red, known)
    tl.store(place + height * width, green, known)
    tl.store(place + 2 * height * width, blue, known)


@triton.jit
def blur_rows(
    images,
    table,
    target,
    count,
    height,
    width,
    columns: tl.constexpr,
    taps: tl.constexpr,
    group: tl.constexpr,
    span: tl.constexpr,
):
    """The horizontal half of the blur, of the images that are blurred; ``target`` of the others stays as it is.

    ``count`` and ``group`` are of planes: three to an image.
    """
    plane = tl.program_id(0) * group + tl.arange(0, group)[:, None]
    pixel = tl.program_id(1) * span + tl.arange(0, span)[None, :]
    sigma = tl.load(table + plane // 3 * columns + 6, plane < count, other=0.0)
    if tl.max(sigma) > 0:
        known = (sigma > 0) & (pixel < height * width)
        start = plane.to(tl.int64) * (height * width)
        column = pixel % width
        line = images + start + (pixel - column)
        total = tl.full([group, 1], 0.0, tl.float32)
        value = tl.full([group, span], 0.0, tl.float32)
        for tap in tl.static_range(taps):
            weight = _weight(tap - taps // 2, sigma)
            at = _reflect(column + tap - taps // 2, width)
            total += weight
            value += weight * tl.load(line + at, known, other=0.0)
        tl.store(target + start + pixel, value / total, known)


@triton.jit
def finish(
    images,
    blurred,
    table,
    center,
    scale,
    count,
    height,
    width,
    columns: tl.constexpr,
    blurs: tl.constexpr,
    normalizes: tl.constexpr,
    taps: tl.constexpr,
    group: tl.constexpr,
    span: tl.constexpr,
):
    """The vertical half of the blur, from ``blurred``; solarisation; normalisation. ``images`` are overwritten.

    ``count`` and ``group`` are of planes: three to an image.
    """
    plane = tl.program_id(0) * group + tl.arange(0, group)[:, None]
    pixel = tl.program_id(1) * span + tl.arange(0, span)[None, :]
    known = (plane < count) & (pixel < height * width)
    row = table + plane // 3 * columns
    start = plane.to(tl.int64) * (height * width)
    if blurs:
        sigma = tl.load(row + 6, plane < count, other=0.0)
        value = tl.load(images + start + pixel, known & (sigma <= 0), other=0.0)
        if tl.max(sigma) > 0:
            line = pixel // width
            total = tl.full([group, 1], 0.0, tl.float32)
            mixed = tl.full([group, span], 0.0, tl.float32)
            for tap in tl.static_range(taps):
                weight = _weight(tap - taps // 2, sigma)
                at = _reflect(line + tap - taps // 2, height) * width + pixel - line * width
                total += weight
                mixed += weight * tl.load(blurred + start + at, known & (sigma > 0), other=0.0)
            value = tl.where(sigma > 0, mixed / total, value)
    else:
        value = tl.load(images + start + pixel, known, other=0.0)
    threshold = tl.load(row + 7, plane < count, other=256.0)
    inverted = (threshold < 256) & (value >= tl.math.div_rn(threshold, 255.0))
    value = tl.where(inverted, 1 - value, value)
    if normalizes:
        value = _normalize(value, tl.load(center + plane % 3), tl.load(scale + plane % 3))
    tl.store(images + start + pixel, value, known)


@triton.jit
def _load_pixels(images, image, pixel, size, known, in_bytes: tl.constexpr):
    """Red, green and blue ``(group, span)`` as float32; bytes come in [0, 1]."""
    place = images + image.to(tl.int64) * (3 * size) + pixel
    red = tl.load(place, known, other=0).to(tl.float32)
    green = tl.load(place + size, known, other=0).to(tl.float32)
    blue = tl.load(place + 2 * size, known, other=0).to(tl.float32)
    if in_bytes:
        red = tl.math.div_rn(red, 255.0)
        green = tl.math.div_rn(green, 255.0)
        blue = tl.math.div_rn(blue, 255.0)
    return red, green, blue


@triton.jit
def _jitter(red, green, blue, row, known, mean):
    """All four steps in each image's order; also the grey values that the contrast step found.

    The hue costs as much as all blends together. It is turned once: before it come the steps that precede it in an
    image's order, after it the others.
    """
    brightness = tl.load(row, known, other=1.0)
    contrast = tl.load(row + 1, known, other=1.0)
    saturation = tl.load(row + 2, known, other=1.0)
    hue = tl.load(row + 3, known, other=0.0)
    order = tl.load(row + 4, known, other=0.0).to(tl.int32)
    first, second, third, fourth = _steps(order)
    turn = tl.where(first == 3, 0, tl.where(second == 3, 1, tl.where(third == 3, 2, 3)))
    seen = red  # Any number will do where no contrast is changed.
    for half in tl.static_range(2):
        for place in tl.static_range(3):
            if half == 0:
                step = first if place == 0 else second if place == 1 else third
                active = turn > place
            else:
                step = second if place == 0 else third if place == 1 else fourth
                active = turn < place + 1
            factor = tl.where(step == 0, brightness, tl.where(step == 1, contrast, saturation))
            gray = _luminance(red, green, blue)
            seen = tl.where(active & (step == 1), gray, seen)
            active = active & (factor != 1)
            reference = (1 - factor) * tl.where(step == 1, mean, tl.where(step == 2, gray, 0.0))
            red = tl.where(active, _unit(factor * red + reference), red)
            green = tl.where(active, _unit(factor * green + reference), green)
            blue = tl.where(active, _unit(factor * blue + reference), blue)
        if half == 0:
            red, green, blue = _turn_hue(red, green, blue, hue)
    return red, green, blue, seen


@triton.jit
def _steps(order):
    """The four columns of row ``order`` of JITTER_ORDERS, which holds the permutations in lexicographic order."""
    first = order // 6
    rank = order % 6 // 2
    second = tl.where(rank >= first, rank + 1, rank)
    # The two columns that are left, the smaller one first.
    low = tl.where((first != 0) & (second != 0), 0, tl.where((first != 1) & (second != 1), 1, 2))
    high = 6 - first - second - low
    third = tl.where(order % 2 == 0, low, high)
    return first, second, third, 6 - first - second - third


@triton.jit
def _turn_hue(red, green, blue, shift):
    """:func:`mmrel.models.data_preprocessors.augment.adjust_hue` of any values, where the shift is not 0."""
    high = tl.maximum(tl.maximum(red, green), blue)
    chroma = high - tl.minimum(tl.minimum(red, green), blue)
    divisor = tl.maximum(chroma, 1e-20)
    below_red = (high - red) / divisor
    below_green = (high - green) / divisor
    below_blue = (high - blue) / divisor
    hue = tl.where(
        red == high,
        below_blue - below_green,
        tl.where(green == high, below_red - below_blue + 2, below_green - below_red + 4),
    )
    hue = hue / 6 + (shift + 1)
    turns = shift != 0
    red = tl.where(turns, _of_hue(hue + 1.0, high, chroma), red)
    green = tl.where(turns, _of_hue(hue + 2.0 / 3.0, high, chroma), green)
    blue = tl.where(turns, _of_hue(hue + 1.0 / 3.0, high, chroma), blue)
    return red, green, blue


@triton.jit
def _of_hue(angle, high, chroma):
    part = _unit(2 - tl.abs(6 * (angle - tl.floor(angle)) - 3))
    excess = tl.where(part > 0, 0.0, high - _unit(high))
    return _unit(high - chroma * part) + excess


@triton.jit
def _luminance(red, green, blue):
    return 0.2989 * red + 0.587 * green + 0.114 * blue


@triton.jit
def _unit(value):
    return tl.minimum(tl.maximum(value, 0.0), 1.0)


@triton.jit
def _normalize(value, center, scale):
    return tl.math.div_rn(value - center, scale)


@triton.jit
def _weight(distance, sigma):
    """Gaussian weight, not normalised; where nothing is blurred, any number that is not NaN."""
    ratio = distance / tl.where(sigma > 0, sigma, 1.0)
    return tl.exp(-0.5 * ratio * ratio)


@triton.jit
def _reflect(position, length):
    """The position inside ``[0, length)`` that a reflection at the border's pixel leads to."""
    position = tl.abs(position)
    return tl.where(position >= length, 2 * length - 2 - position, position)
