"""The data that protocols read: parts in their usual layouts, found below one folder or given one by one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmrel.datasets.folder_listing import list_files
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.utils.errors import UsageError

LAYOUTS = {
    "classification": ("train", "val"),
    "segmentation": (
        "images/training",
        "images/validation",
        "annotations/training",
        "annotations/validation",
    ),
    "davis": ("JPEGImages/480p", "Annotations/480p", "ImageSets/2017/val.txt"),
}
"""What each part must hold: class folders, ADE20K's layout, DAVIS-2017's layout."""

FOLDERS = {
    "classification": "classification",
    "segmentation": "segmentation",
    "davis": "davis",
    "video": "davis",
}
"""Sub-folders of a root, as ``tools/make_scenes.py`` writes them, and the part that each holds."""

IMAGES = "images"


@dataclass(frozen=True)
class EvaluationData:
    """What there is to evaluate on; ``None`` and empty: not given.

    Attributes:
        classification: folder with ``train/<class>`` and ``val/<class>``.
        segmentation: folder with ``images/{training,validation}`` and ``annotations/{training,validation}``.
        davis: folder with ``JPEGImages/480p``, ``Annotations/480p`` and ``ImageSets/2017``.
        images: files to draw pictures of.
    """

    classification: Path | None = None
    segmentation: Path | None = None
    davis: Path | None = None
    images: tuple[Path, ...] = ()
    _digests: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def parts(self) -> dict[str, Any]:
        """Those that are given, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
        return {name: value for name, value in named.items() if value}

    def path(self, part: str) -> Path:
        """The folder of a part that is given."""
        found: Path | None = getattr(self, part)
        assert found is not None, f"no {part} data"
        return found

    def digest(self, part: str) -> str:
        """Short hash of the names and sizes of a part's files; ``''`` if it is not given."""
        if part not in self._digests:
            files = _files(self.parts.get(part, ()))
            text = "\n".join(f"{name}\t{size}" for name, size in sorted(files))
            self._digests[part] = hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
        return self._digests[part]

    def describe(self) -> dict[str, Any]:
        """Paths and digests, as JSON content."""
        found: dict[str, Any] = {}
        for name, value in self.parts.items():
            where = [str(path) for path in value] if name == IMAGES else str(value)
            found[name] = {"path": where, "digest": self.digest(name)}
        return found


def find_data(
    root: str | Path | None = None,
    classification: str | Path | None = None,
    segmentation: str | Path | None = None,
    davis: str | Path | None = None,
    images: Sequence[str | Path] = (),
) -> EvaluationData:
    """Find the parts of the data.

    Args:
        root: what ``tools/make_scenes.py`` writes, or any folder with some of its sub-folders; or itself a folder in
            one of these layouts.
        classification: folder with ``train/<class>`` and ``val/<class>``; goes before that of ``root``, as all below.
        segmentation: folder in ADE20K's layout.
        davis: folder in DAVIS-2017's layout.
        images: files, or folders of which all images count.

    Raises:
        UsageError: something given is missing or is not what it should be, or there is no usable part at all.
    """
    given = {"classification": classification, "segmentation": segmentation, "davis": davis}
    found = {} if root is None else _below(_existing(Path(root), "--data"))
    for part, folder in given.items():
        if folder is not None:
            found[part] = _checked(part, _existing(Path(folder), f"--{part}"))
    files = tuple(_image_files(images))
    data = EvaluationData(
        found.get("classification"), found.get("segmentation"), found.get("davis"), files
    )
    if not data.parts:
        raise UsageError(
            f"no usable data{'' if root is None else f' in {root}'}: looked for the sub-folders "
            f"{', '.join(sorted(FOLDERS))}, as tools/make_scenes.py writes them, and for "
            f"{'; '.join(f'{part}: {_names(part)}' for part in LAYOUTS)}. Give such a folder with --data, or parts "
            "with --classification, --segmentation, --davis or --images"
        )
    return data


def _below(root: Path) -> dict[str, Path]:
    """Parts below a root, or the root as a part."""
    parts = {
        part: root / folder for folder, part in FOLDERS.items() if not _lacking(part, root / folder)
    }
    return parts or {part: root for part in LAYOUTS if not _lacking(part, root)}


def _checked(part: str, folder: Path) -> Path:
    if lacking := _lacking(part, folder):
        raise UsageError(
            f"--{part} {folder} has no {', '.join(lacking)}; it must hold {_names(part)}"
        )
    return folder


def _existing(path: Path, option: str) -> Path:
    path = path.expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UsageError(f"{option} {path} {what} (looked for {path.absolute()}); give a folder")
    return path


def _lacking(part: str, folder: Path) -> list[str]:
    return [name for name in LAYOUTS[part] if not (folder / name).exists()]


def _names(part: str) -> str:
    return " and ".join(LAYOUTS[part])


def _image_files(given: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in (Path(item).expanduser() for item in given):
        if path.is_dir():
            inside = list_files(str(path), _is_image).images
            if not inside:
                raise UsageError(f"--images {path} holds no image; give image files or a folder")
            files += [path / name for name in inside]
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"--images {path} does not exist; give image files or a folder")
    return files


def _is_image(name: str) -> bool:
    return name.lower().endswith(tuple(IMAGE_SUFFIXES))


def _files(part: Path | Sequence[Path]) -> list[tuple[str, int]]:
    """Names and sizes of a part's files."""
    if not isinstance(part, Path):
        return [(str(path.absolute()), path.stat().st_size) for path in part]
    names = list_files(str(part), lambda name: True).images
    return [(name, (part / name).stat().st_size) for name in names]
