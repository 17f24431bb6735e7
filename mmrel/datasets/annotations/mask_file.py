"""What may be in the file of a mask."""

from typing import Any

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Endings of formats that keep each value as it was written."""

LOSSY = ("JPEG", "WEBP", "JPEG2000", "AVIF")
NUMBERS = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
"""Pillow's modes with one whole number per pixel; for a palette picture (P), its index."""

STRETCHED = {"L;2": 85, "L;2I": 85, "L;4": 17, "L;4I": 17}
"""Grey values of 2 and 4 bits, which Pillow stretches to 0-255 on reading, and by how much."""


def stretch(image: Any) -> int:
    """By how much Pillow multiplies the values of an opened mask."""
    found: Any = image.tile[0][3] if image.tile else None
    mode = found[0] if isinstance(found, tuple) and found else found
    return STRETCHED.get(mode, 1) if isinstance(mode, str) else 1
