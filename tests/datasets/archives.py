"""Small data sets in the true formats of the originals."""

import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def images(count: int, side: int) -> np.ndarray:
    """Random pixels ``(count, side, side, 3)``."""
    return RNG.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def planes(pixels: np.ndarray) -> np.ndarray:
    """``(n, H, W, 3)`` to rows of red, green and blue planes, ``(n, 3 * H * W)``."""
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    """A gzipped archive with these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """A zip archive with these files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did, which is how CIFAR was saved."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)

    dispatch[bytes] = save_bytes


def python2_pickle(value: object) -> bytes:
    """A pickle as CIFAR's Python version has it."""
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def mat(**arrays: np.ndarray) -> bytes:
    """A MATLAB file of version 5."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, arrays)
    return buffer.getvalue()


def jpeg(side: int = 8) -> bytes:
    """A small JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(images(1, side)[0]).save(buffer, "JPEG")
    return buffer.getvalue()
