"""The HTML page: escaped, self-contained, legible tables."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from mmrel.visualization import report


class Links(HTMLParser):
    """Collects everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")
        ]


def test_write_page__self_contained(tmp_path: Path) -> None:
    png = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(png)
    report.write_page(
        tmp_path / "r.html", "A <b> title", "x & y", [report.picture(png, 'a "caption"')]
    )
    text = (tmp_path / "r.html").read_text()
    links = Links()
    links.feed(text)
    assert links.found == ["data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()]
    assert "<title>A &lt;b&gt; title</title>" in text and "x &amp; y" in text
    assert "http" not in text and "@import" not in text and "url(" not in text


def test_table__numbers_right_and_best_bold() -> None:
    text = report.table(("", "SERE", "random"), [("k-NN", "41.0", "\N{MINUS SIGN}3.5")], [1])
    assert '<td class="number best">41.0</td><td class="number">\N{MINUS SIGN}3.5</td>' in text
    assert "<td>seed</td><td>a, b</td>" in report.table(("x", "y"), [("seed", "a, b")])


@pytest.mark.parametrize(("good", "name"), [(True, "verdict"), (False, "verdict behind")])
def test_verdict__colour_follows_the_outcome(good: bool, name: str) -> None:
    assert report.verdict("so it is", good) == f'<div class="{name}">so it is</div>'


def test_commands__escaped() -> None:
    assert report.commands(["a > b", "c"]) == "<pre>a &gt; b\nc</pre>"


def test_parts__escape_what_they_are_given() -> None:
    bad = "<script>"
    parts = [
        report.paragraph(bad),
        report.bullets([bad]),
        report.subheading(bad),
        report.table([bad, report.Cell(bad, bad)], [[bad, report.Cell(bad, bad)]]),
        report.section(bad, [report.paragraph(bad)], 'a"b'),
        report.details(bad, [report.paragraph(bad)]),
    ]
    text = "".join(parts)
    assert bad not in text and text.count("&lt;script&gt;") == 13 and 'id="a&#34;b"' in text


def test_write_page__plain_text_is_no_part(tmp_path: Path) -> None:
    """Only what the parts' functions return is HTML; anchors lead to sections."""
    parts = ["<b>plain</b>", report.section("One", [], "one")]
    report.write_page(tmp_path / "r.html", "t", "i", parts, [("one", "To <one>")])  # type: ignore[arg-type]
    text = (tmp_path / "r.html").read_text()
    assert "&lt;b&gt;plain&lt;/b&gt;" in text and '<section id="one">' in text
    assert '<a href="#one">To &lt;one&gt;</a>' in text


def test_pictures__one_below_the_other(tmp_path: Path) -> None:
    png = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(png)
    text = report.pictures([report.Picture(png, "below", "above"), report.Picture(png, "only")])
    assert text.count("<img") == 2 and text.count("<h4>") == 1
    assert "<h4>above</h4>" in text and "<figcaption>below</figcaption>" in text
    with pytest.raises(FileNotFoundError):
        report.picture(tmp_path / "absent.png", "")


def test_table__notes_several_best_and_wrong_lengths() -> None:
    text = report.table(("", "a", "b"), [("x", report.Cell("1.0", "random 0.5"), "1.0")], [{1, 2}])
    assert '<td class="number best">1.0<small>random 0.5</small></td>' in text
    assert text.count("best") == 2
    with pytest.raises(ValueError, match=r"\[2\] cells under a header of 3"):
        report.table(("", "a", "b"), [("x", "1")])


def test_templates__are_files_of_the_package() -> None:
    """What setup.py must carry along."""
    names = {path.name for path in report.TEMPLATES.iterdir()}
    assert names == {"page.html.j2", "parts.html.j2", "style.html.j2", "table.html.j2"}
