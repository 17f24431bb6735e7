"""Pages that the site makes from files that lie elsewhere in the repository, and links to such files.

The recipes' READMEs, the change log and their like stay where readers of the code look for them; here each becomes a
page, with its links made to fit. The model zoo is written from the metafiles. All of it goes to ``docs/generated``,
which is not under version control.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = DOCS / "generated"
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
SOURCE = re.findall(r'^REPOSITORY = "(.*)"$', SETUP, re.MULTILINE)[0]
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def pages() -> dict[Path, Path]:
    """Files outside ``docs`` that become pages, with their place in it."""
    named = {
        "CHANGELOG.md": "changelog",
        "SECURITY.md": "security",
        "CONTRIBUTING.md": "contributing",
        "configs/README.md": "recipes",
    }
    found = {ROOT / name: GENERATED / f"{page}.md" for name, page in named.items()}
    for readme in sorted((ROOT / "configs").glob("*/README.md")):
        found[readme] = GENERATED / "recipes" / f"{readme.parent.name}.md"
    return {source: page for source, page in found.items() if source.is_file()}


def place_of(target: Path, table: dict[Path, Path]) -> Path | str | None:
    """Where a link to a file of the repository leads: a page, an address, or nowhere."""
    for candidate in (target, target / "README.md"):
        if candidate in table:
            return table[candidate]
    if target == ROOT / "README.md":
        return DOCS / "index.md"
    if target.is_relative_to(DOCS):
        return target
    if target.exists():
        kind = "tree" if target.is_dir() else "blob"
        return f"{SOURCE}/{kind}/main/{target.relative_to(ROOT).as_posix()}"
    return None


def relinked(text: str, source: Path, page: Path) -> str:
    """The text of ``source`` with the links that it needs as ``page``; code is left alone."""
    table = pages()

    def link(match: re.Match[str]) -> str:
        place = place_of(Path(os.path.normpath(source.parent / match[1])), table)
        if place is None:
            return match[0]
        if isinstance(place, Path):
            place = Path(os.path.relpath(place, page.parent)).as_posix()
        return place + (match[2] or "")

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def write_pages(app: Sphinx) -> None:
    """Write the pages; one that is the same keeps its date, so that it is not built again."""
    wanted = {
        page: relinked(source.read_text(encoding="utf-8"), source, page)
        for source, page in pages().items()
    }
    wanted[GENERATED / "recipes.md"] += contents("recipes/*")
    wanted[GENERATED / "model-zoo.md"] = model_zoo()
    for old in GENERATED.rglob("*.md"):
        if old not in wanted:
            old.unlink()
    for page, text in wanted.items():
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")


def contents(pattern: str) -> str:
    """A hidden table of contents, which puts pages into the side bar."""
    return f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{pattern}\n```\n"


def model_zoo() -> str:
    """One table per folder of recipes, from its metafile."""
    lines = [
        "# Model zoo",
        "",
        "Every recipe of the repository, from the files that OpenMMLab's tools read (`configs/*/metafile.yml`). The",
        "name is what `mmpretrain.get_model`, `mmengine.hub` and MIM take. No weights are published yet. Figures are",
        "what the named source publishes for its own code, none of them measured here.",
        "",
    ]
    for metafile in sorted((ROOT / "configs").glob("*/metafile.yml")):
        lines += [f"## {metafile.parent.name}", "", *zoo_table(metafile), ""]
    return "\n".join(lines)


def zoo_table(metafile: Path) -> Iterator[str]:
    """The rows of one folder."""
    yield "| recipe | trained on | length | batch | backbone | published |"
    yield "|---|---|---|---|---|---|"
    for model in yaml.safe_load(metafile.read_text(encoding="utf-8"))["Models"]:
        facts = model["Metadata"]
        length = next(
            (f"{facts[key]:,} {key.lower()}" for key in ("Epochs", "Iterations") if key in facts),
            "-",
        )
        parameters = f"{facts['Parameters'] / 1e6:.1f} M" if facts.get("Parameters") else "-"
        address = f"{SOURCE}/blob/main/{model['Config']}"
        yield (
            f"| [{model['Name']}]({address}) | {facts.get('Training Data', '-')} | {length} "
            f"| {facts.get('Batch Size', '-')} | {parameters} | {published(model)} |"
        )


def published(model: dict[str, Any]) -> str:
    """The figures that a paper gives for a recipe."""
    figures = [
        f"{name} {value}"
        for entry in model.get("Published Results") or ()
        for name, value in entry.get("Metrics", {}).items()
    ]
    return "; ".join(figures) or "-"


def relink(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make the links of a page in ``docs`` to files outside of it fit."""
    page = DOCS / f"{docname}.md"
    if page.is_file() and not page.is_relative_to(GENERATED):
        source[0] = relinked(source[0], page, page)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both with Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
