"""What lies in a folder of images: the images, and what else, so that nothing is left out without a word."""

import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.logging import print_log

OTHER_IMAGES = frozenset(
    """
    .heic .heif .hif .jxl .avif .avifs .jp2 .j2k .j2c .jpx .jpf .webp .tga .psd .exr .hdr .ico .svg .eps .pcx .qoi .dds
    .pfm .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .dcm .fits .nii .npy .h5
    """.split()  # noqa: SIM905
)
"""Endings of images that may be in a folder and are not decoded everywhere."""

CONTAINERS = frozenset([".tar", ".tgz", ".zip", ".parquet", ".arrow"])
"""Endings of files that may hold images, and are looked into where there are no images beside them."""

MAX_NAMED = 5


@dataclass
class Listing:
    """The files below a folder, hidden ones and hidden folders left out.

    Attributes:
        images: paths relative to the folder, with slashes, sorted.
        skipped: number of other files by ending, in lower case.
        dead: links that lead nowhere or back to a folder above themselves.
    """

    images: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    dead: list[str] = field(default_factory=list)


def list_files(folder: str, is_image: Callable[[str], bool]) -> Listing:
    """Walk through a folder and its subfolders; links are followed, also those to folders.

    Args:
        folder: the folder.
        is_image: whether a file counts, by its name.

    Raises:
        OSError: a folder cannot be read.
    """
    listing = Listing()
    _walk(folder, "", frozenset({_identity(folder)}), is_image, listing)
    listing.images.sort()
    return listing


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files below a folder with one of some endings, by their relative path without it.

    Raises:
        FileNotFoundError: there is no such folder, or no such file in it.
        ValueError: two differ only in their ending.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} (looked for {folder.absolute()})")
    found: dict[str, Path] = {}
    for name in list_files(str(folder), lambda file: file.lower().endswith(suffixes)).images:
        stem = name.rpartition(".")[0]
        if stem in found:
            raise ValueError(
                f"{found[stem]} and {folder / name} differ only in their ending; remove one"
            )
        found[stem] = folder / name
    if not found:
        raise FileNotFoundError(f"{folder} holds no file that ends in {', '.join(suffixes)}")
    return found


def list_classes(
    folder: str, is_image: Callable[[str], bool]
) -> tuple[dict[str, list[str]], Listing]:
    """The images in each folder of the first level, sorted by its name, and everything else.

    Args:
        folder: the folder.
        is_image: whether a file counts, by its name.

    Returns:
        paths relative to ``folder`` by class, empty classes too; and the whole listing.
    """
    listing = list_files(folder, is_image)
    names = [name for name in class_folders(folder) if name not in listing.dead]
    classes: dict[str, list[str]] = {name: [] for name in names}
    for path in listing.images:
        name, slash, _ = path.partition("/")
        if slash:
            classes[name].append(path)
    return classes, listing


def class_folders(folder: str) -> list[str]:
    """Sorted names of the folders of the first level."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not _is_hidden(entry) and _is_folder(entry)
        )


def announce(root: str, listing: Listing, lying_loose: int = 0) -> None:
    """Say in one line what was left out; a warning if there are images or dead links among it.

    Args:
        root: what to call the folder.
        listing: of it.
        lying_loose: images directly in the folder, which have no class.
    """
    parts = []
    if count := sum(listing.skipped.values()):
        endings = ", ".join(f"{n} {e}" for e, n in listing.skipped.most_common(MAX_NAMED))
        others = len(listing.skipped) - MAX_NAMED
        parts.append(f"{count} files skipped ({endings}{', ...' if others > 0 else ''})")
    if undecoded := sorted(OTHER_IMAGES & listing.skipped.keys()):
        parts.append(
            f"{' '.join(undecoded)} cannot be decoded here: convert such images to JPEG or PNG"
        )
    if containers := sorted(CONTAINERS & listing.skipped.keys()):
        parts.append(
            f"{' '.join(containers)} beside images are not looked into: give them as data_root=[/a,/b.tar]"
        )
    if listing.dead:
        shown = ", ".join(sorted(listing.dead)[:MAX_NAMED])
        parts.append(f"{len(listing.dead)} dead or circular links left out ({shown})")
    if lying_loose:
        parts.append(f"{lying_loose} images that lie directly in it have no class and are left out")
    if parts:
        grave = bool(undecoded or containers or listing.dead or lying_loose)
        print_log(
            f"{root}: {'; '.join(parts)}", "current", logging.WARNING if grave else logging.INFO
        )


def _walk(
    folder: str,
    prefix: str,
    above: frozenset[tuple[int, int]],
    is_image: Callable[[str], bool],
    listing: Listing,
) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if _is_hidden(entry):
                continue
            if _is_folder(entry):
                identity = _identity(entry.path)
                if identity in above:
                    listing.dead.append(path)
                else:
                    _walk(entry.path, f"{path}/", above | {identity}, is_image, listing)
            elif not _is_file(entry):
                listing.dead.append(path)
            elif is_image(entry.name):
                listing.images.append(path)
            else:
                listing.skipped[Path(entry.name).suffix.lower() or "without ending"] += 1


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _identity(folder: str) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino
