"""Image files of many kinds, good and bad, written for the tests of the data path."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(height: int = 30, width: int = 40, seed: int = 0) -> np.ndarray:
    """A smooth colour image ``(height, width, 3)``, so that JPEG keeps it nearly as it is."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: np.ndarray | Image.Image, form: str = "JPEG", **options: object) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def photo_folder(root: Path, count: int = 12, bad: bool = False) -> Path:
    """A nested folder of JPEG and PNG images of mixed sizes; with three bad files if asked for."""
    for i in range(count):
        folder = root / "ab"[i % 2] / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        image = pixels(30 + 3 * i, 50 - 2 * i, seed=i)
        form = "PNG" if i % 3 == 0 else "JPEG"
        (folder / f"{i:02d}.{form.lower()}").write_bytes(encoded(image, form))
    if bad:
        (root / "a" / "cut.jpg").write_bytes(encoded(pixels(60, 60))[:-400])
        (root / "a" / "empty.jpg").write_bytes(b"")
        (root / "b" / "page.jpg").write_bytes(b"<html><body>404 not found</body></html>")
    return root
