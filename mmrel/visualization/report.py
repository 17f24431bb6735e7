"""A report as one HTML file: pictures inside, nothing fetched from anywhere.

The parts are Jinja2 templates in ``templates/``, which escape every text that they are given. A part is ``Markup``:
what is already HTML, and the only thing that a page takes over as it is.
"""

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mmrel.utils.files import write_text_atomically

TEMPLATES = Path(__file__).parent / "templates"
EMPTY = ("", "\N{EN DASH}")
"""Cells without a number that do not make a column one of text."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        note: a small line under it.
    """

    text: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG file and what is said of it.

    Attributes:
        path: the file.
        caption: under the picture.
        title: above it.
    """

    path: Path
    caption: str
    title: str = ""


def paragraph(text: str) -> Markup:
    """A paragraph of plain text."""
    return _macro("paragraph", text)


def subheading(text: str) -> Markup:
    """A heading inside a section."""
    return _macro("subheading", text)


def bullets(lines: Sequence[str]) -> Markup:
    """A list of plain texts."""
    return _macro("bullets", lines)


def section(title: str, parts: Sequence[Markup], anchor: str = "") -> Markup:
    """A heading and what stands under it; ``anchor`` is its name within the page."""
    return _macro("section", title, anchor, parts)


def details(summary: str, parts: Sequence[Markup]) -> Markup:
    """Parts that show when the reader opens them."""
    return _macro("details", summary, parts)


def verdict(text: str, good: bool) -> Markup:
    """The one sentence that a reader should take along; green if ``good``, else orange."""
    return _macro("verdict", text, good)


def commands(lines: Sequence[str]) -> Markup:
    """Commands as they can be typed."""
    return _macro("commands", lines)


def table(
    header: Sequence[str | Cell],
    rows: Sequence[Sequence[str | Cell]],
    best: Sequence[int | Collection[int] | None] = (),
) -> Markup:
    """A table whose first column is text and whose other columns are aligned to the right if numeric.

    It scrolls in its own box where it is wider than the page.

    Args:
        header: titles of the columns.
        rows: cells.
        best: for each row the column, or columns, that are set in bold, or ``None``.

    Raises:
        ValueError: a row of another length than the header.
    """
    marks = [_columns(mark) for mark in best] or [set()] * len(rows)
    cells = [[_as_cell(cell) for cell in row] for row in rows]
    if lengths := {len(row) for row in cells} - {len(header)}:
        raise ValueError(
            f"rows have {sorted(lengths)} cells under a header of {len(header)}; give as many"
        )
    numeric = [
        index > 0 and all(_is_number(row[index].text) for row in cells)
        for index in range(len(header))
    ]
    return _render(
        "table.html.j2",
        header=[_named(_as_cell(c), numeric[i], False) for i, c in enumerate(header)],
        rows=[
            [_named(cell, numeric[i], i in mark) for i, cell in enumerate(row)]
            for row, mark in zip(cells, marks, strict=True)
        ],
    )


def picture(path: Path, caption: str) -> Markup:
    """A PNG file as part of the page, as wide as the text, with its caption.

    Raises:
        FileNotFoundError: no such file.
    """
    return _macro("figure", _encoded(path), caption, "", True)


def pictures(files: Sequence[Picture]) -> Markup:
    """PNG files one below the other, none enlarged.

    Raises:
        FileNotFoundError: no such file.
    """
    return _macro(
        "pictures",
        [_macro("figure", _encoded(f.path), f.caption, f.title, False) for f in files],
    )


def write_page(
    path: Path,
    title: str,
    introduction: str,
    parts: Sequence[Markup],
    contents: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the whole page.

    Args:
        path: HTML file.
        title: of the page.
        introduction: plain text under the title.
        parts: what the functions above return, in order; a plain text among them is escaped.
        contents: anchors of sections and their names, for links under the introduction.
    """
    text = _render(
        "page.html.j2", title=title, introduction=introduction, parts=parts, contents=contents
    )
    write_text_atomically(path, text)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(template: str, **values: Any) -> Markup:
    return Markup(_environment().get_template(template).render(values).strip("\n") + "\n")


def _macro(name: str, *values: Any) -> Markup:
    """One of the small parts."""
    return Markup(getattr(_environment().get_template("parts.html.j2").module, name)(*values))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _as_cell(cell: str | Cell) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)


def _columns(mark: int | Collection[int] | None) -> set[int]:
    if mark is None:
        return set()
    return {mark} if isinstance(mark, int) else set(mark)


def _is_number(text: str) -> bool:
    stripped = text.strip("+-\N{MINUS SIGN}% s").replace(".", "", 1).replace(":", "")
    return stripped.isdigit() or text in EMPTY


def _named(cell: Cell, numeric: bool, best: bool) -> dict[str, str]:
    """What the template shows of a cell, with its CSS classes."""
    names = " ".join(["number"] * numeric + ["best"] * best)
    return {"text": cell.text, "note": cell.note, "names": names}
