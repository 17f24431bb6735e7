"""The commands and Python blocks of README.md and docs run, page by page, on small photos and checkpoints.

A page takes seconds to a minute, so that only the first ones a reader meets run by default; ``-m slow`` runs all.
"""

import itertools
from pathlib import Path

import documented_sandbox as sandbox
import pytest
from documented_blocks import Block, all_blocks

QUICK = ("README.md", "docs/downstream.md")
PAGES = {
    page: tuple(blocks)
    for page, blocks in itertools.groupby(all_blocks(), key=lambda block: block.page)
}
RUNNING = [page for page, blocks in PAGES.items() if any(b.needs is None for b in blocks)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("documented")
    sandbox.build(place)
    return place


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=() if p in QUICK else pytest.mark.slow) for p in RUNNING],
)
def test_page__runs(folder: Path, page: str) -> None:
    sandbox.run_page(folder, PAGES[page], folder / "log.txt")


def test_page__fails_where_a_command_or_a_block_fails(folder: Path) -> None:
    bad = Block("page.md", 3, "bash", "python tools/knn.py none.pth photos\n", None)
    with pytest.raises(AssertionError, match=r"page.md:3: .*none.pth"):
        sandbox.run_page(folder, [bad], folder / "log.txt")
    wrong = Block("page.md", 7, "python", "print(1 / 0)\n", None)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        sandbox.run_page(folder, [wrong], folder / "log.txt")
