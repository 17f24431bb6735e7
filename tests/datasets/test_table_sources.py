"""Parquet and Arrow files: layouts of Hugging Face `datasets`, and what is told of others."""

from pathlib import Path

import pyarrow
import pytest
from containers import table_of, write_arrow, write_parquet

from mmrel.datasets import ImageFolder
from mmrel.datasets.sources import open_source
from mmrel.utils import UsageError

CLASSES = ["a", "b"]


def is_image(name: str) -> bool:
    return name.endswith(".png")


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow__both_forms(form: str, tmp_path: Path) -> None:
    path = write_arrow(tmp_path / "x.arrow", table_of({"1.png": b"one", "2.png": b"two"}), form)
    source = open_source(str(path), is_image, lambda n: 0)
    assert [source.read(i) for i in range(2)] == [b"one", b"two"]
    assert source.path(1) == f"{path}/1"


def test_tables__splits(tmp_path: Path) -> None:
    """The layouts of a `DatasetDict` on the hub and of `save_to_disk`."""
    table = table_of({"a/1.png": b"one", "b/2.png": b"two"}, CLASSES)
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write_parquet(tmp_path / "hub" / "data" / f"{name}.parquet", table)
    for split in ("train", "test"):
        write_arrow(tmp_path / "disk" / split / "data-00000-of-00001.arrow", table)
        write_arrow(tmp_path / "disk" / split / "cache-123.arrow", table)
    sizes = {"hub": 4, "hub/data/test-*.parquet": 2, "disk": 2, "disk/test": 2}
    for root, size in sizes.items():
        dataset = ImageFolder(str(tmp_path / root), with_label=True)
        assert len(dataset) == size and dataset.CLASSES == ("a", "b")


def test_tables__bad_ones(tmp_path: Path) -> None:
    no_image = pyarrow.table({"text": ["x"]})
    with pytest.raises(UsageError, match=r"no column of images.*found text \(string\)"):
        ImageFolder(str(write_parquet(tmp_path / "x.parquet", no_image)))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UsageError, match=r"cut.parquet cannot be read as a table.*Copy it again"):
        ImageFolder(str(tmp_path / "cut.parquet"))
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    paths = pyarrow.table({"image": pyarrow.array([{"bytes": None, "path": "x.png"}], kind)})
    source = open_source(str(write_parquet(tmp_path / "p.parquet", paths)), is_image, lambda n: 0)
    with pytest.raises(ValueError, match="holds no bytes of an image"):
        source.read(0)
