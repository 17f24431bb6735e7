"""Lends what is installed here to a second environment, distribution by distribution, in links.

``make test-openmmlab`` needs torch beside OpenMMLab's own packages and without onedl's. A second copy costs
gigabytes, and a path to this environment would show all of it. So the files of each distribution are linked, one
by one and with their metadata, and pip takes them for installed. Folders are real: pip, should it replace a lent
distribution, removes links and never touches the files of the lender.
"""

import argparse
import re
import sys
from fnmatch import fnmatch
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name


def pinned(constraints: Path) -> list[str]:
    """The names in a file of constraints."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)", constraints.read_text(), re.MULTILINE)
    return [canonicalize_name(name) for name in found]


def link(distribution: Distribution, target: Path) -> int:
    """Link one distribution into another site-packages.

    Scripts in ``bin`` stay behind, because their first line names an interpreter.

    Returns:
        The number of links made; a file that is there already stays.
    """
    made = 0
    for path in distribution.files or []:
        source, place = Path(str(distribution.locate_file(path))), target / path
        if ".." in path.parts or not source.is_file() or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(source)
        made += 1
    return made


def site_packages(environment: Path) -> Path:
    """Where a virtual environment of this Python keeps its distributions."""
    return environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"


def main() -> None:
    """Link everything but what the command line leaves out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("borrower", type=Path, help="the other environment, of the same Python")
    parser.add_argument("--without", nargs="+", default=[], help="names, or patterns such as 'a-*'")
    parser.add_argument("--pins", type=Path, help="constraints: what they name is left out too")
    args = parser.parse_args()
    target = site_packages(args.borrower)
    own = [*args.without, *(pinned(args.pins) if args.pins else [])]
    count = links = 0
    for distribution in distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        if not any(fnmatch(name, pattern) for pattern in own):
            links += link(distribution, target)
            count += 1
    print(f"lent {count} distributions in {links} links")


if __name__ == "__main__":
    main()
