"""What a ``data_root`` is, told by looking at it."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from mmengine.logging import print_log

from mmrel.datasets.folder_listing import list_files
from mmrel.datasets.sources.archive import ArchiveSource
from mmrel.datasets.sources.arrow import ArrowSource
from mmrel.datasets.sources.base import ImageSource
from mmrel.datasets.sources.files import BackendArgs, FolderSource, IsImage, remote_folder
from mmrel.datasets.sources.joined import JoinedSource
from mmrel.datasets.sources.list_file import ENDINGS, Allowed, ListSource
from mmrel.datasets.sources.members import archive_kind
from mmrel.datasets.sources.parquet import ParquetSource
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.utils.errors import UsageError

ARCHIVES = (".zip", ".tar")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
TABLES = (".parquet", ".arrow")
LAST_ENDINGS = {Path(f"x{ending}").suffix for ending in (*ARCHIVES, *COMPRESSED, *TABLES)}
WANTED = (
    f"a folder of images ({' '.join(sorted(IMAGE_SUFFIXES))}), a list of them (.txt, .csv), a zip or tar archive, a "
    "Parquet or Arrow file, or a folder of archives or of such files"
)
TRAIN = "train"
MAX_LISTED = 10_000


def open_sources(
    roots: Sequence[str], is_image: IsImage, allowed: Allowed, backend_args: BackendArgs = None
) -> ImageSource:
    """The images that one or several roots stand for, see :func:`open_source`."""
    sources = [open_source(root, is_image, allowed, backend_args) for root in roots]
    return sources[0] if len(sources) == 1 else JoinedSource(sources)


def open_source(
    root: str, is_image: IsImage, allowed: Allowed, backend_args: BackendArgs = None
) -> ImageSource:
    """The images that a root stands for.

    Args:
        root: a local folder, file, pattern (``shards/train-*.tar``), place inside an archive
            (``imagenet.zip/train``), or an address.
        is_image: whether a file counts, by its name.
        allowed: from the number of images, how many may be missing.
        backend_args: of MMEngine's backend for remote storage.

    Raises:
        FileNotFoundError: there is nothing.
        UsageError: there is something that cannot be read.
    """
    if "://" in root or backend_args is not None:
        return _open_remote(root, is_image, allowed, backend_args)
    path = Path(root)
    if path.is_dir():
        return _open_folder(root, is_image)
    if path.exists():
        return _open_files(root, [root], [""], is_image, allowed)
    if glob.has_magic(root):
        found = sorted(glob.glob(root, recursive=True))  # noqa: PTH207
        if any(map(os.path.isdir, found)):
            return open_sources(found, is_image, allowed)
        if found:
            return _open_files(root, found, _short(found), is_image, allowed)
    for parent in path.parents:
        if parent.is_file() and archive_kind(str(parent)):
            inside = str(path.relative_to(parent))
            return ArchiveSource(root, [str(parent)], [""], is_image, inside)
    return _refuse(root, "missing")


def _open_remote(
    root: str, is_image: IsImage, allowed: Allowed, backend_args: BackendArgs
) -> ImageSource:
    if root.lower().endswith(ENDINGS):
        return ListSource(root, is_image, allowed, backend_args)
    if root.lower().endswith((*ARCHIVES, *COMPRESSED, *TABLES)):
        raise UsageError(
            f"data_root={root}: archives and tables are read from local files or mounted storage alone; copy it there"
        )
    return remote_folder(root, is_image, backend_args)


def _open_folder(root: str, is_image: IsImage) -> ImageSource:
    """A folder of images; without any, of archives or tables."""
    source = FolderSource(root, is_image)
    if len(source) or not source.listing.skipped.keys() & LAST_ENDINGS:
        return source
    endings = (*ARCHIVES, *COMPRESSED, *TABLES)
    names = list_files(root, lambda name: name.lower().endswith(endings)).images
    names = _of_one_split([name for name in names if not _is_cache(name)])
    paths = [os.path.join(root, name) for name in names]  # noqa: PTH118
    return _open_files(root, paths, names, is_image, lambda count: 0) if names else source


def _is_cache(name: str) -> bool:
    """Whether `datasets` keeps a result of its own there."""
    return name.rpartition("/")[2].startswith("cache-")


def _open_files(
    root: str, paths: Sequence[str], names: Sequence[str], is_image: IsImage, allowed: Allowed
) -> ImageSource:
    """Files of one kind."""
    endings = {Path(path).suffix.lower() for path in paths}
    if endings == {".parquet"}:
        return ParquetSource(root, paths, names)
    if endings == {".arrow"}:
        return ArrowSource(root, paths, names)
    if endings & set(TABLES):
        raise UsageError(
            f"data_root {root!r} has files of several kinds ({' '.join(sorted(endings))}); give them as "
            "data_root=[/a,/b], or by a pattern such as /a/*.parquet"
        )
    if len(paths) == 1 and paths[0].lower().endswith(ENDINGS):
        return ListSource(paths[0], is_image, allowed)
    if all(archive_kind(path) or path.lower().endswith(ARCHIVES) for path in paths):
        return ArchiveSource(root, paths, names, is_image)
    return _refuse(root, "a file" if len(paths) == 1 else f"{len(paths)} files")


def _short(paths: Sequence[str]) -> list[str]:
    """Paths without the folder that all are below."""
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    return [os.path.relpath(path, folder) for path in paths]


def _of_one_split(names: list[str]) -> list[str]:
    """Of the files of several splits of a data set, those for training."""
    splits = Counter(map(_split, names))
    if len(splits) < 2 or TRAIN not in splits:
        return names
    others = ", ".join(
        f"{name} ({count})" for name, count in sorted(splits.items()) if name != TRAIN
    )
    print_log(
        f"of the splits of the data set, {TRAIN} ({splits[TRAIN]} files) is read, and not {others}; a pattern such as "
        "data_root='/a/test-*.parquet' or a folder of it names another",
        "current",
    )
    return [name for name in names if _split(name) == TRAIN]


def _split(name: str) -> str:
    """Of ``data/train-00000-of-00002.parquet`` and ``train/data-00000-of-00001.arrow``: train."""
    folder, _, file = name.rpartition("/")
    stem = file.partition(".")[0].partition("-")[0]
    last = folder.rpartition("/")[2]
    is_number = stem in ("data", "part") or stem.isdecimal()
    return last if is_number and last else stem


def _refuse(root: str, what: str) -> ImageSource:
    raise FileNotFoundError(
        f"data_root {root!r} is {what}; it must be {WANTED}: correct data_root in the data set's config"
    )


def check_folder(root: str) -> str:
    """The root, if it is a folder or an address.

    Raises:
        FileNotFoundError: it is neither.
    """
    if "://" not in root and root and not Path(root).is_dir():
        _refuse(root, "a file" if Path(root).exists() else "missing")
    return root


def nothing_found(source: ImageSource, with_label: bool, endings: Sequence[str]) -> str:
    """What to say of a source without images."""
    where = "in its class folders" if with_label else "in it or in its subfolders"
    return (
        f"data_root {source.root!r} holds no image {where}; looked for "
        f"{' '.join(sorted(endings))}, found by ending: {_found_instead(source)}. Correct data_root, or "
        "set extensions or with_label=False"
    )


def _found_instead(source: ImageSource) -> str:
    if Path(source.root).is_dir():
        files = (name for _, _, names in os.walk(source.root) for name in names)
        endings = Counter(Path(name).suffix.lower() or "none" for name in islice(files, MAX_LISTED))
    else:
        endings = source.listing.skipped
        if len(source):
            return f"{len(source)} images without a class"
    return ", ".join(f"{n} x {e}" for e, n in endings.most_common(5)) or "no file at all"
