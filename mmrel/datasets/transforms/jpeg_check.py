"""Whether a JPEG file is whole, as far as its bytes tell.

libjpeg, behind Pillow and OpenCV, fills what is missing with grey and goes on; its warnings reach neither. JPEG (ITU-T
T.81) has no checksum, so that no check can be complete. What is checked here: every marker is one that may stand where
it stands; the restart intervals are there, in their order; a progressive file has the scans that give each
coefficient its full precision; and, where the picture or the bytes look suspicious, the coded data last exactly as
long as the picture (:mod:`mmrel.datasets.transforms.jpeg_length`). It stays unnoticed if some bytes were
replaced by others that can be decoded too and happen to fill the picture.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

SOI, EOI, SOS, DRI, DNL, TEM = 0xD8, 0xD9, 0xDA, 0xDD, 0xDC, 0x01
RESTARTS = range(0xD0, 0xD8)
PROGRESSIVE = (0xC2, 0xCA)
FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
BETWEEN_SCANS = {0xC4, 0xCC, 0xDB, DRI, DNL, SOS, EOI, 0xFE, *range(0xE0, 0xF0)}
"""Markers that may follow a scan: tables, restart interval, number of lines, scan, end, comment, application."""

NO_MARKERS = {0x00, 0xFF, TEM, *RESTARTS}
MARK = re.compile(rb"\xff(?=[^\x00])")
PLAIN = {0xC0, 0xC1, 0xC2, 0xC4, 0xDB, DRI, SOS, 0xE0, 0xFE}
"""Frames, tables, restart interval, scan, JFIF's segment and comment."""

ZEROS = b"\0" * 32
ALL_COEFFICIENTS = (1 << 64) - 1


@dataclass
class _Frame:
    progressive: bool
    size: tuple[int, int]
    sampling: dict[int, tuple[int, int]]
    missing: dict[int, int] = field(init=False)
    """Of each component, a bit for each coefficient that has not yet its full precision."""

    def __post_init__(self) -> None:
        self.missing = dict.fromkeys(self.sampling, ALL_COEFFICIENTS)

    def units(self, components: list[int]) -> int:
        """Number of minimum coded units in a scan of these components (T.81, A.2)."""
        width, height = self.size
        across = max(h for h, _ in self.sampling.values())
        down = max(v for _, v in self.sampling.values())
        if len(components) > 1:
            return -(-width // (8 * across)) * -(-height // (8 * down))
        h, v = self.sampling[components[0]]
        columns, rows = -(-width * h // across), -(-height * v // down)
        return -(-columns // 8) * -(-rows // 8)


class _CodedData(NamedTuple):
    """The coded data of a scan.

    Attributes:
        end: position of the marker after them.
        restarts: the restart markers in them.
        doubled: whether they hold two bytes 0xff in a row.
    """

    end: int
    restarts: list[int]
    doubled: bool


@dataclass(frozen=True)
class Scans:
    """Where the coded data are, and of what kind.

    Attributes:
        start: first byte of the first scan.
        ends: positions of the markers that end scans.
        progressive: whether the scans refine one picture.
        sampling: each component's horizontal and vertical sampling factor.
        runs: whether the coded data hold a run of bytes such as coding hardly gives.
        size: width and height in pixels; the height may be 0 (unknown).
        plain: whether the file has 8-bit values of one or three components and no segments that say more of it, such
            as its orientation (EXIF) or its colours (Adobe).
    """

    start: int
    ends: tuple[int, ...]
    progressive: bool
    sampling: tuple[tuple[int, int], ...]
    runs: bool
    size: tuple[int, int]
    plain: bool


def check_structure(data: bytes) -> Scans | None:
    """Walk through the markers.

    Args:
        data: a file that begins as JPEG does.

    Returns:
        Where the coded data are; ``None`` for kinds that this check does not know, such as lossless ones.

    Raises:
        ValueError: the file is cut, or damaged.
    """
    position, frame, interval = 2, None, 0
    start, doubled, plain = 0, False, True
    ends: list[int] = []
    while True:
        position = _next_marker(data, position, strict=bool(ends))
        code = data[position + 1]
        if code == EOI:
            break
        body = _segment(data, position)
        position += 2 + len(body) + 2
        plain = plain and code in PLAIN
        if code in FRAMES:
            frame = _read_frame(body, code in PROGRESSIVE)
            plain = plain and body[0] == 8 and len(frame.sampling) in (1, 3)
        elif code == DRI:
            interval = int.from_bytes(body[:2], "big")
        elif code == SOS:
            if frame is None:
                return None
            components = _count_scan(frame, body)
            start = start or position
            coded = _coded_data(data, position)
            _check_restarts(coded.restarts, frame, components, interval)
            position, doubled = coded.end, doubled or coded.doubled
            ends.append(position)
    if frame is None or not ends:
        return None
    if any(frame.missing.values()):
        raise ValueError("the file is cut: its last scans are missing")
    runs = doubled or data.find(ZEROS, start, ends[-1]) >= 0
    sampling = tuple(frame.sampling.values())
    return Scans(start, tuple(ends), frame.progressive, sampling, runs, frame.size, plain)


def _next_marker(data: bytes, position: int, strict: bool) -> int:
    """Position of the next marker; before the first scan, bytes in between are let pass as libjpeg does."""
    while position + 1 < len(data):
        if data[position] == 0xFF and data[position + 1] not in NO_MARKERS:
            if strict and data[position + 1] not in BETWEEN_SCANS:
                raise ValueError(
                    f"the file is damaged: marker {data[position + 1]:#x} in the coded data"
                )
            return position
        if strict and data[position] != 0xFF:
            raise ValueError("the file is damaged: stray bytes between its scans")
        position += 1
    raise ValueError("the file is truncated: it has no end marker")


def _segment(data: bytes, position: int) -> bytes:
    length = int.from_bytes(data[position + 2 : position + 4], "big")
    body = data[position + 4 : position + 2 + length]
    if length < 2 or len(body) != length - 2:
        raise ValueError("the file is truncated or damaged: a segment is incomplete")
    return body


def _read_frame(body: bytes, progressive: bool) -> _Frame:
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    parts = [body[6 + 3 * i : 9 + 3 * i] for i in range(body[5] if len(body) > 5 else 0)]
    sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts if len(part) == 3}
    if not sampling or 0 in {value for pair in sampling.values() for value in pair}:
        raise ValueError("the file is damaged: its frame header makes no sense")
    return _Frame(progressive, (width, height), sampling)


def _count_scan(frame: _Frame, body: bytes) -> list[int]:
    """Note which coefficients a scan brings to their full precision; returns its components."""
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count or not count:
        raise ValueError("the file is damaged: a scan header makes no sense")
    components = [body[1 + 2 * i] for i in range(count)]
    first, last, precision = body[-3:]
    for name in components:
        if name not in frame.sampling:
            raise ValueError("the file is damaged: a scan names an unknown component")
        if not frame.progressive:
            frame.missing[name] = 0
        elif precision & 15 == 0:
            frame.missing[name] &= ~((1 << (last + 1)) - (1 << first))
    return components


def _coded_data(data: bytes, start: int) -> _CodedData:
    """What begins at ``start`` and goes on to the first marker that is no restart."""
    restarts: list[int] = []
    doubled: list[int] = []
    for found in MARK.finditer(data, start):
        position = found.start()
        code = data[position + 1]
        if code in RESTARTS:
            restarts.append(code)
        elif code == 0xFF:
            doubled.append(position)
        else:
            # One byte 0xff before a marker is none of the data.
            return _CodedData(position, restarts, doubled[:1] not in ([], [position - 1]))
    raise ValueError("the file is truncated: it has no end marker")


def _check_restarts(
    restarts: list[int], frame: _Frame, components: list[int], interval: int
) -> None:
    """Raise ``ValueError`` unless a scan has the restart markers that it must have."""
    if restarts and not interval:
        raise ValueError("the file is damaged: restart markers without an interval")
    if any(code != RESTARTS[i % 8] for i, code in enumerate(restarts)):
        raise ValueError("the file is damaged: its restart markers are out of order")
    if interval and frame.size[1]:
        wanted = -(-frame.units(components) // interval) - 1
        # Some encoders close the last interval with a marker too.
        if not wanted <= len(restarts) <= wanted + 1:
            raise ValueError(
                f"the file is cut or damaged: {len(restarts)} of {wanted} restart markers"
            )
