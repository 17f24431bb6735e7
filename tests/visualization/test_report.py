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
