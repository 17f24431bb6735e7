"""What is in a zip or tar archive, and where; nothing is unpacked.

A zip archive has a directory at its end. A tar archive has none: its headers, one before each file, are read once from
front to back, without the files between them.
"""

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmrel.utils.errors import UsageError

MAX_BYTES = 1 << 30
"""Of one image's file. What claims more, as archives made to fill a memory do, is not read."""

STORED, DEFLATED, ENCRYPTED, OTHER, TOO_LARGE = range(5)
REASONS = {
    ENCRYPTED: "it is encrypted in the archive; write the archive without a password",
    OTHER: "it is compressed in the archive by another method than deflate; write the archive anew, best without "
    "compression (zip -0), since images are compressed already",
    TOO_LARGE: f"it claims to have more than {MAX_BYTES} bytes",
}
COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
SMALL = 64


class Member(NamedTuple):
    """One file of an archive.

    Attributes:
        name: with slashes, as the archive has it, without ``./`` before it.
        offset: in bytes, of its content in a tar archive, of its header in a zip archive.
        stored: bytes it takes in the archive.
        size: bytes it has.
        crc: of the content; zip archives only.
        method: how it is stored, one of the constants above; -1 in a tar archive.
    """

    name: str
    offset: int
    stored: int
    size: int
    crc: int = 0
    method: int = -1


def archive_kind(path: str) -> str:
    """``'zip'``, ``'tar'`` or empty, by a file's content.

    Raises:
        UsageError: a compressed archive, of which no part can be read alone.
    """
    with Path(path).open("rb") as file:
        head = file.read(512)
    for magic, (name, command) in COMPRESSED.items():
        if head.startswith(magic):
            raise UsageError(
                f"{path} is compressed as a whole ({name}), so that reading one image would take unpacking all that "
                f"come before it. Run `{command} {path}`: images are compressed already, and a plain .tar can be read "
                "at any place."
            )
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    return "tar" if head[257:262] == b"ustar" or _is_old_tar(head) else ""


def _is_old_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def members(path: str) -> Iterator[Member]:
    """The files in an archive; folders, links and devices are passed over.

    Raises:
        UsageError: it is no archive, or is damaged.
    """
    try:
        kind = archive_kind(path)
        if not kind:
            raise UsageError(f"{path} is neither a zip nor a tar archive, whatever its name says")
        yield from _zip_members(path) if kind == "zip" else _tar_members(path)
    except (zipfile.BadZipFile, tarfile.TarError, struct.error, ValueError, EOFError) as error:
        raise UsageError(
            f"{path} is damaged: {error}. Copy it again from where it came, or leave it out."
        ) from error
    except NotImplementedError as error:
        raise UsageError(f"{path} cannot be read: {error}. Write the archive anew.") from error


def _zip_members(path: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        archive.NameToInfo.clear()
        archive.filelist.reverse()
        while archive.filelist:  # what is done gives its memory back
            info = archive.filelist.pop()
            if not info.is_dir():
                sizes = info.compress_size, info.file_size
                place = _plain(info.filename), info.header_offset
                yield _sized(Member(*place, *sizes, info.CRC, _method(info)))


def _method(info: zipfile.ZipInfo) -> int:
    if info.flag_bits & 1:
        return ENCRYPTED
    known = {zipfile.ZIP_STORED: STORED, zipfile.ZIP_DEFLATED: DEFLATED}
    return known.get(info.compress_type, OTHER)


def _tar_members(path: str) -> Iterator[Member]:
    with tarfile.open(path, "r:") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # they are kept otherwise, at some kilobytes each
            if info.isreg() and not info.issparse():
                yield _sized(Member(_plain(info.name), info.offset_data, info.size, info.size))
        end = archive.offset
    with Path(path).open("rb") as file:
        file.seek(end)
        if file.read(512).strip(b"\0"):
            raise ValueError(f"there is no valid header at byte {end}")


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _sized(member: Member) -> Member:
    """A file that is too large, or claims to be, is listed, but never read."""
    if max(member.size, member.stored) <= MAX_BYTES:
        return member
    return member._replace(size=0, stored=0, method=TOO_LARGE)


def inflate(data: bytes, size: int) -> bytes:
    """Unpack deflated bytes to ``size`` bytes, never to more.

    Raises:
        ValueError: they are damaged, or have another length.
    """
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = decoder.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"it is damaged in the archive: {error}") from error
    if len(found) != size:
        raise ValueError(f"it is damaged in the archive: {len(found)} bytes instead of {size}")
    return found
