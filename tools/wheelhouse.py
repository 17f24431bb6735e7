"""Collects the wheels that a node without internet needs, all but torch's and torchvision's.

Run it through ``make wheelhouse PYTHON=3.12``. On the node, where torch and torchvision are
installed already::

    pip install --no-index --find-links wheelhouse "mmrel[onedl-all,test]"

onedl's OpenMMLab packages and mmrel itself are built here, as pure Python; everything else is taken
as a binary wheel for the node's Python version and this machine's platform. For a node that has
OpenMMLab's own packages, ``--extras all,test`` collects what these leave to others.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmrel.utils.errors import UsageError, reports_usage_errors

ROOT = Path(__file__).resolve().parents[1]
PURE = (
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmpretrain",
    "onedl-mmdetection",
    "onedl-mmsegmentation",
)
ON_THE_NODE = ("torch", "torchvision")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}")
    parser.add_argument("--out", type=Path, default=ROOT / "wheelhouse")
    parser.add_argument("--extras", default="onedl-all,test")
    parser.add_argument("--skip", default="", help="distributions on the node: a, b==1.0")
    return parser.parse_args()


def pip(*arguments: object) -> None:
    """Run this interpreter's pip with the constraints."""
    command = [
        sys.executable,
        "-m",
        "pip",
        *map(str, arguments),
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    if subprocess.run(command, check=False).returncode:
        raise UsageError(
            f"pip failed, see above: {' '.join(command)}. If it found no wheel, this Python "
            "version or platform has none; choose another with PYTHON=3.12."
        )


def build_pure_wheels(out: Path, extras: str) -> None:
    """Build mmrel and the OpenMMLab packages; refuse a wheel that holds compiled operators."""
    family = PURE if "onedl" in extras else ()
    pip("wheel", "--quiet", "--no-cache-dir", "--no-deps", "-w", out, *family, ROOT)
    compiled = [wheel.name for wheel in out.glob("*.whl") if not wheel.stem.endswith("-none-any")]
    if compiled:
        raise UsageError(
            f"{', '.join(compiled)} is not pure Python, so it fits one torch only. Unset "
            "PIP_NO_BUILD_ISOLATION, empty pip's cache (`pip cache purge`) and start again."
        )


def resolve(out: Path, python: str, extras: str) -> dict[str, dict[str, Any]]:
    """Return the metadata of everything that mmrel with its extras pulls, by canonical name."""
    wheel = next(out.glob("mmrel-*.whl"))
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        pip(
            *("install", "--quiet", "--dry-run", "--ignore-installed", "--target", scratch),
            *("--python-version", python, "--only-binary=:all:", "--find-links", out),
            *("--report", report, f"{wheel}[{extras}]"),
        )
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = [item["metadata"] for item in installs]
    return {canonicalize_name(metadata["name"]): metadata for metadata in found}


def reachable(packages: dict[str, dict[str, Any]], extras: str, python: str) -> set[str]:
    """Return the names that mmrel needs, not following what is on the node already."""
    seen: set[tuple[str, str]] = set()
    waiting = [("mmrel", extra) for extra in ("", *extras.split(","))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name in ON_THE_NODE or name not in packages:
            continue
        seen.add((name, extra))
        for line in packages[name].get("requires_dist", []):
            need = Requirement(line)
            environment = {"extra": extra, "python_version": python}
            if need.marker is None or need.marker.evaluate(environment):
                target = canonicalize_name(need.name)
                waiting.extend((target, wanted) for wanted in ("", *need.extras))
    return {name for name, _ in seen}


def download(out: Path, pins: list[str], python: str) -> None:
    """Fetch exactly these distributions, and what pip needs to install a checkout."""
    options = ("--no-deps", "--python-version", python, "--only-binary=:all:")
    tools = ("setuptools<81", "wheel")
    pip("download", "--quiet", *options, "--find-links", out, "-d", out, *tools, *pins)


def check_version(python: str) -> None:
    """Refuse a target whose requirements pip would get wrong.

    pip takes the environment markers of requirements from the running interpreter, and the
    constraints differ below Python 3.11.
    """
    matched = re.fullmatch(r"3\.(\d+)", python)
    if matched is None or int(matched[1]) < 10:
        raise UsageError(f"--python must be 3.10 or newer, such as 3.12, not {python!r}.")
    if (int(matched[1]) < 11) != (sys.version_info < (3, 11)):
        raise UsageError(
            f"Wheels for Python {python} cannot be collected with Python {sys.version_info[0]}."
            f"{sys.version_info[1]}, because requirements differ below 3.11. Set up .venv with "
            f"Python {python} (`make install PYTHON={python}`) and start again."
        )


@reports_usage_errors
def main() -> None:
    """Build, resolve, and download."""
    args = parse_args()
    check_version(args.python)
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    build_pure_wheels(args.out, args.extras)
    packages = resolve(args.out, args.python, args.extras)
    on_node = re.split(r"[\s,]+", args.skip)
    skipped = {canonicalize_name(name.partition("==")[0]) for name in on_node if name}
    built = {canonicalize_name(name) for name in ("mmrel", *PURE)}
    names = sorted(reachable(packages, args.extras, args.python) - skipped - built)
    download(args.out, [f"{name}=={packages[name]['version']}" for name in names], args.python)
    wheels = list(args.out.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 2**20
    print(
        f"{len(wheels)} wheels for Python {args.python}, {size:.0f} MiB, in {args.out}. On the node:"
    )
    print(f'pip install --no-index --find-links {args.out.name} "mmrel[{args.extras}]"')


if __name__ == "__main__":
    main()
