"""The same images in a folder, in archives, in lists and in tables."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet


def files_of(folder: Path) -> dict[str, bytes]:
    """Content by path relative to a folder, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w", prefix: str = "") -> Path:
    """A tar archive, compressed as ``mode`` says."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def table_of(files: dict[str, bytes], classes: list[str] | None = None) -> pyarrow.Table:
    """A table as `datasets` writes it: a column of images, and one of classes if their names are given."""
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    cells = [{"bytes": data, "path": name} for name, data in files.items()]
    columns = {"image": pyarrow.array(cells, kind)}
    features: dict[str, object] = {"image": {"_type": "Image"}}
    if classes is not None:
        labels = [classes.index(name.split("/")[0]) for name in files]
        columns["label"] = pyarrow.array(labels, pyarrow.int64())
        features["label"] = {"_type": "ClassLabel", "names": classes}
    noted = json.dumps({"info": {"features": features}})
    return pyarrow.table(columns).replace_schema_metadata({"huggingface": noted})


def write_parquet(path: Path, table: pyarrow.Table, rows: int = 5) -> Path:
    """A Parquet file of small row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path, row_group_size=rows)
    return path


def write_arrow(path: Path, table: pyarrow.Table, form: str = "stream") -> Path:
    """An Arrow file in one of its two forms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = pyarrow.ipc.new_stream if form == "stream" else pyarrow.ipc.new_file
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return path
