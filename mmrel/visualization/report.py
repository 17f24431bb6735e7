"""A report as one HTML file: pictures inside, nothing fetched from anywhere."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from mmrel.utils.files import write_text_atomically

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f3f4f6; color: #111827; line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.2rem 2.4rem 3.5rem; background: #fff; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; padding-top: 1.1rem; border-top: 1px solid #e5e7eb; }
p { margin: .5rem 0 .8rem; max-width: 46rem; }
.verdict { margin: 1.1rem 0 .4rem; padding: .75rem 1rem; border-left: 4px solid #2f855a; background: #f0fdf4; }
.verdict.behind { border-color: #c4651a; background: #fff7ed; }
table { border-collapse: collapse; margin: .9rem 0 1rem; font-size: .95rem; }
th, td { padding: .38rem 1.1rem .38rem 0; text-align: left; border-bottom: 1px solid #e5e7eb; vertical-align: top; }
thead th { border-bottom: 2px solid #9ca3af; font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.best { font-weight: 700; }
figure { margin: 1rem 0 1.3rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .88rem; color: #4b5563; margin-top: .35rem; max-width: 48rem; }
pre { background: #f9fafb; border: 1px solid #e5e7eb; padding: .75rem .9rem; font-size: .8rem; line-height: 1.5;
  white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 4px; }
@media (max-width: 640px) { main { padding: 1.2rem 1rem 2rem; } }
"""


def escape(text: str) -> str:
    """Text that is safe inside HTML."""
    return html.escape(text)


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """The heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def verdict(text: str, good: bool) -> str:
    """The one sentence that a reader should take along; green if ``good``, else orange."""
    return f'<div class="verdict{"" if good else " behind"}">{escape(text)}</div>'


def commands(lines: Sequence[str]) -> str:
    """Commands as they can be typed."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[int | None] = ()
) -> str:
    """A table whose first column is text and whose other columns are aligned to the right if numeric.

    Args:
        header: titles of the columns.
        rows: cells as text.
        best: for each row the column that is set in bold, or ``None``.
    """
    numeric = [
        index > 0 and all(_is_number(row[index]) for row in rows) for index in range(len(header))
    ]
    marks = list(best) or [None] * len(rows)
    head = "".join(_cell("th", text, numeric[i], False) for i, text in enumerate(header))
    body = "".join(
        "<tr>"
        + "".join(_cell("td", text, numeric[i], i == mark) for i, text in enumerate(row))
        + "</tr>"
        for row, mark in zip(rows, marks, strict=True)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_number(text: str) -> bool:
    stripped = text.strip("+-\N{MINUS SIGN}% s").replace(".", "", 1).replace(":", "")
    return stripped.isdigit() or text in ("", "\N{EN DASH}")


def _cell(tag: str, text: str, numeric: bool, bold: bool) -> str:
    classes = " ".join(["number"] * numeric + ["best"] * bold)
    attribute = f' class="{classes}"' if classes else ""
    return f"<{tag}{attribute}>{escape(text)}</{tag}>"


def picture(path: Path, caption: str) -> str:
    """A PNG file as part of the page, with its caption.

    Raises:
        FileNotFoundError: no such file.
    """
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def write_page(path: Path, title: str, introduction: str, parts: Sequence[str]) -> None:
    """Write the whole page.

    Args:
        path: HTML file.
        title: of the page.
        introduction: plain text under the title.
        parts: what the functions above return, in order.
    """
    content = "\n".join([f"<h1>{escape(title)}</h1>", paragraph(introduction), *parts])
    write_text_atomically(
        path,
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n",
    )
