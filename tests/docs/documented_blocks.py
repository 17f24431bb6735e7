"""The code blocks of README.md and of ``docs``, and what their markers say.

A block of ``bash`` or ``python`` runs in the tests unless a comment in the line above it says what it needs that a
test has not: ``<!-- runs: needs COCO -->``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("bash", "python")
OTHER = ("", "text", "json", "yaml", "bibtex")
"""What is no code: output, trees of folders, files."""
NEEDS = {
    "a GPU",
    "several GPUs",
    "SLURM",
    "ImageNet",
    "ImageNet-S",
    "COCO",
    "ADE20K",
    "PASCAL VOC",
    "DAVIS",
    "other data",
    "other weights",
    "an installation",
    "minutes",
}
"""What a marker may name. ``minutes``: what would run, but longer than a test; it has tests of its own."""

FENCE = re.compile(
    r"^(?:<!--(?P<marker>[^\n]*?)-->\n+)?^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
MARKER = re.compile(r"runs: needs (?P<needs>.+)")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: the file, relative to the repository.
        line: where its first line of code stands.
        language: ``bash`` or ``python``.
        needs: what the marker names, or ``None`` for a block that runs.
    """

    page: str
    line: int
    language: str
    text: str
    needs: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and all pages of the documentation that are written by hand."""
    written = (
        path
        for path in (ROOT / "docs").rglob("*.md")
        if not {"_build", "generated"} & set(path.relative_to(ROOT).parts)
    )
    return [ROOT / "README.md", *sorted(written)]


def blocks_of(text: str, page: str) -> list[Block]:
    """The code blocks of a page.

    Raises:
        AssertionError: a block in a language, or with a marker, that this module does not know.
    """
    found = []
    for match in FENCE.finditer(text):
        language, line = match["language"].strip(), text.count("\n", 0, match.start("text")) + 1
        if language.startswith("{") or language in OTHER:
            continue
        assert language in CODE, f"{page}:{line}: a block is of {CODE} or {OTHER}, not {language!r}"
        marker = MARKER.fullmatch((match["marker"] or "").strip())
        needs = marker["needs"].strip() if marker else None
        said = "runs:" in (match["marker"] or "")
        assert bool(marker) == said, f"{page}:{line}: unknown marker {match['marker']!r}"
        assert needs is None or set(needs.split(", ")) <= NEEDS, (
            f"{page}:{line}: needs {needs!r}, known are {sorted(NEEDS)}"
        )
        found.append(Block(page, line, language, match["text"], needs))
    return found


def all_blocks() -> list[Block]:
    """The code blocks of all pages."""
    return [
        block
        for path in pages()
        for block in blocks_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
