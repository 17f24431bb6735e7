"""Packaging of mmrel; see ``Makefile`` for the usual way to install.

The neutral requirements name no OpenMMLab distribution: the same import names come from two
families of distributions, and a user keeps the family that is installed. The extras choose one.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
REPOSITORY = "https://github.com/mmrel/mmrel"
PACKAGED = ("configs", "tools", "model-index.yml")

# The two families, each library by library. mmcv has no wheel on PyPI: mmcv-lite is its Python part.
FAMILIES = {
    "onedl": {
        "engine": ["onedl-mmengine>=0.10.8", "onedl-mmcv>=2.3", "onedl-mmpretrain>=1.3"],
        "detection": ["onedl-mmdetection>=3.5"],
        "segmentation": ["onedl-mmsegmentation>=1.4"],
    },
    "openmmlab": {
        "engine": [
            "mmengine>=0.10.7,<1",
            "mmcv-lite>=2.1.0,<2.2",
            "mmpretrain>=1.2.0,<2",
            "numpy<2",
            "setuptools<81",
        ],
        "detection": ["mmdet>=3.3.0,<4"],
        "segmentation": ["mmsegmentation>=1.2.2,<2", "ftfy", "regex"],
    },
}
# What the families leave to others. These extras bring no OpenMMLab package, so they are safe beside any.
NEUTRAL = {
    "detection": ["pycocotools", "shapely"],
    "segmentation": ["pycocotools"],
    "scenes": ["scikit-image>=0.22", "scikit-learn>=1.3", "pycocotools"],
    "fast": ["simplejpeg>=1.8"],
    "parquet": ["pyarrow>=14"],
    "tiff": ["tifffile"],
    "logging": ["tensorboard"],
    "safetensors": ["safetensors>=0.4"],
    "export": ["onnx>=1.15", "onnxruntime>=1.17"],
}
# Data to measure on: 91 MB that are CC BY-NC-SA, so no other extra brings them, `all` and `test` neither.
EVIDENCE = ["elpv-dataset>=1.0.0.post1"]
# transformers is what Hugging Face folders are compared with; nothing else of mmrel needs it.
TEST = ["pytest>=8", "pytest-xdist>=3", 'transformers>=5; python_version >= "3.11"']
# The documentation site: `make docs`.
DOCS = ["furo>=2024.8", "myst-nb>=1.2", "sphinx>=8.1", "sphinx-copybutton>=0.5.2"]


def extras() -> dict[str, list[str]]:
    """Return the extras: the neutral ones, and for each family its engine, its parts and all of it."""
    found = {
        **NEUTRAL,
        "all": sorted({need for needs in NEUTRAL.values() for need in needs}),
        "evidence": EVIDENCE,
        "test": TEST,
        "docs": DOCS,
        "dev": [*TEST, "mypy>=1.10", "ruff>=0.6", "setuptools>=69,<81", "wheel"],
    }
    for family, parts in FAMILIES.items():
        engine = parts["engine"]
        found[family] = engine
        for part in ("detection", "segmentation"):
            found[f"{family}-{part}"] = [*engine, *parts[part], *NEUTRAL[part]]
        whole = {need for needs in parts.values() for need in needs}
        found[f"{family}-all"] = sorted({*whole, *found["all"]})
    return found


class BuildPy(build_py):
    """Puts configurations and tools where MMEngine and MIM look for them: ``mmrel/.mim``.

    A wheel gets a copy; an editable install gets links, so that edits show at once.
    """

    def run(self) -> None:
        """Build the package, without what an earlier build left, then add ``.mim``."""
        editable = getattr(self, "editable_mode", False)
        if not editable:
            remove(Path(self.build_lib) / "mmrel")
        super().run()
        target = (ROOT if editable else Path(self.build_lib)) / "mmrel" / ".mim"
        target.mkdir(parents=True, exist_ok=True)
        for name in PACKAGED:
            place = target / name
            remove(place)
            if editable:
                place.symlink_to(Path("../..") / name)
            elif (ROOT / name).exists():
                copy(ROOT / name, place)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder without Python's caches."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy2(source, target)


def version() -> str:
    """Read the version without importing the package."""
    names: dict[str, str] = {}
    exec((ROOT / "mmrel" / "version.py").read_text(encoding="utf-8"), names)
    return names["__version__"]


def readme() -> str:
    """Read the README, with addresses in place of its links into the repository: PyPI shows it by itself."""
    path = ROOT / "README.md"
    # A bare export of the sources lacks it.
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:)", rf"\g<1>{REPOSITORY}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^\]]*\]\()(?!https?:|#)", rf"\g<1>{REPOSITORY}/blob/main/", text)


setup(
    name="mmrel",
    version=version(),
    description="Pretraining of vision transformers from relations inside images, for OpenMMLab",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    url=REPOSITORY,
    project_urls={
        "Source": REPOSITORY,
        "Documentation": f"{REPOSITORY}/tree/main/docs",
        "Issues": f"{REPOSITORY}/issues",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
    },
    keywords=[
        "self-supervised learning",
        "vision transformer",
        "pretraining",
        "representation learning",
        "SERE",
        "SelfPatch",
        "SiT",
        "RelViT",
        "DINO",
        "iBOT",
        "OpenMMLab",
        "object detection",
        "semantic segmentation",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["mmrel", "mmrel.*"]),
    package_data={"mmrel": ["py.typed", "visualization/templates/*.html.j2"]},
    install_requires=[
        "jinja2>=3.0",
        "markupsafe>=2.0",
        "matplotlib",
        "numpy",
        "packaging",
        "pillow",
        "torch>=2.1",
        "torchvision>=0.16",
    ],
    extras_require=extras(),
    entry_points={"console_scripts": ["mmrel=mmrel.launch.console:main"]},
    cmdclass={"build_py": BuildPy},
    zip_safe=False,
)
