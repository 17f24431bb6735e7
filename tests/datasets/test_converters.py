"""Original files in, class folders out; what is not where it should be is named; nothing in a file is run."""

import os
import pickle
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image

from mmrel.datasets import ImageFolder
from mmrel.datasets.converters import WrongLayoutError, convert_dataset
from mmrel.datasets.converters.cifar import BATCHES, load_plain

pytest.importorskip("scipy")


def found(root: Path) -> dict[str, np.ndarray]:
    """Pixels of every PNG below a folder, by relative path."""
    return {
        path.relative_to(root).as_posix(): np.asarray(Image.open(path))
        for path in sorted(root.rglob("*.png"))
    }


def cifar10(pixels: np.ndarray, labels: list[int], binary: bool) -> dict[str, bytes]:
    """Two images in each of the six files."""
    files = {}
    rows = archives.planes(pixels).reshape(6, 2, -1)
    for name, batch, batch_labels in zip(
        (*BATCHES, "test_batch"), rows, np.reshape(labels, (6, 2)).tolist(), strict=True
    ):
        if binary:
            column = np.array(batch_labels, np.uint8)[:, None]
            files[f"cifar-10-batches-bin/{name}.bin"] = np.hstack([column, batch]).tobytes()
        else:
            content = {b"data": batch, b"labels": batch_labels, b"batch_label": b"x"}
            files[f"cifar-10-batches-py/{name}"] = archives.python2_pickle(content)
    if binary:
        files["cifar-10-batches-bin/batches.meta.txt"] = b"plane\ncar\n\n"
    else:
        meta = archives.python2_pickle({b"label_names": [b"plane", b"car"]})
        files["cifar-10-batches-py/batches.meta"] = meta
    return files


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar10__pixels_and_classes(tmp_path: Path, binary: bool, packed: bool) -> None:
    pixels, labels = archives.images(12, 32), [0, 1] * 6
    files = cifar10(pixels, labels, binary)
    write = archives.write_tar if packed else archives.write_files
    source = write(tmp_path / "source", files)
    assert convert_dataset("cifar10", source, tmp_path / "out") == {"train": 10, "test": 2}
    result = found(tmp_path / "out")
    assert len(result) == 12
    assert (result["train/plane/data_batch_2_00000.png"] == pixels[2]).all()
    assert (result["test/car/test_batch_00001.png"] == pixels[11]).all()


@pytest.mark.parametrize("binary", [True, False])
def test_cifar100__fine_labels(tmp_path: Path, binary: bool) -> None:
    pixels, names = archives.images(2, 32), [b"apple", b"bear"]
    rows = archives.planes(pixels)
    if binary:
        labels = np.array([[7, 1], [3, 0]], np.uint8)  # coarse, fine
        content = {f"{name}.bin": np.hstack([labels, rows]).tobytes() for name in ("train", "test")}
        content["fine_label_names.txt"] = b"\n".join(names) + b"\n"
    else:
        batch = {b"data": rows, b"coarse_labels": [7, 3], b"fine_labels": [1, 0]}
        content = dict.fromkeys(("train", "test"), archives.python2_pickle(batch))
        content["meta"] = archives.python2_pickle({b"fine_label_names": names})
    source = archives.write_files(tmp_path / "source", content)
    assert convert_dataset("cifar100", source, tmp_path / "out") == {"train": 2, "test": 2}
    assert (found(tmp_path / "out")["train/bear/train_00000.png"] == pixels[0]).all()


def test_svhn__ten_is_zero_and_extra_is_optional(tmp_path: Path) -> None:
    pixels = archives.images(3, 32)
    labels = np.array([[10], [1], [9]], np.uint8)
    content = archives.mat(X=pixels.transpose(1, 2, 3, 0), y=labels)
    files = dict.fromkeys(("train_32x32.mat", "test_32x32.mat"), content)
    source = archives.write_files(tmp_path / "source", files)
    assert convert_dataset("svhn", source, tmp_path / "out") == {"train": 3, "test": 3}
    assert (found(tmp_path / "out")["test/0/000000.png"] == pixels[0]).all()
    archives.write_files(source, {"extra_32x32.mat": content})
    assert convert_dataset("svhn", source, tmp_path / "more")["extra"] == 3


def test_stl10__columns_first(tmp_path: Path) -> None:
    pixels = archives.images(2, 96)
    stored = pixels.transpose(0, 3, 2, 1).tobytes()
    files = {f"stl10_binary/{split}_X.bin": stored for split in ("train", "test", "unlabeled")}
    files |= {f"stl10_binary/{split}_y.bin": bytes([2, 1]) for split in ("train", "test")}
    files["stl10_binary/class_names.txt"] = b"airplane\nbird\n"
    source = archives.write_tar(tmp_path / "stl10_binary.tar.gz", files)
    counts = convert_dataset("stl10", source, tmp_path / "out")
    assert counts == {"train": 2, "test": 2, "unlabeled": 2}
    result = found(tmp_path / "out")
    assert (result["train/bird/000000.png"] == pixels[0]).all()
    assert (result["unlabeled/000001.png"] == pixels[1]).all()


def tiny_imagenet() -> dict[str, bytes]:
    root = "tiny-imagenet-200"
    files = {
        f"{root}/train/n{i}/images/n{i}_{k}.JPEG": archives.jpeg() for i in (1, 2) for k in (0, 1)
    }
    files[f"{root}/train/n1/n1_boxes.txt"] = b"n1_0.JPEG\t0\t0\t5\t5\n"
    files |= {f"{root}/val/images/val_{k}.JPEG": archives.jpeg() for k in (0, 1)}
    files[f"{root}/val/val_annotations.txt"] = (
        b"val_0.JPEG\tn2\t0\t0\t9\t9\nval_1.JPEG\tn1\t0\t0\t9\t9\n"
    )
    return files


def test_tiny_imagenet__val_by_its_list(tmp_path: Path) -> None:
    files = tiny_imagenet()
    source = archives.write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    assert convert_dataset("tiny-imagenet", source, tmp_path / "out") == {"train": 4, "val": 2}
    assert (tmp_path / "out/val/n2/val_0.JPEG").read_bytes() == files[
        "tiny-imagenet-200/val/images/val_0.JPEG"
    ]
    assert (tmp_path / "out/train/n2/n2_1.JPEG").is_file()


def test_flowers102__splits_of_setid(tmp_path: Path) -> None:
    files = {f"jpg/image_{i:05d}.jpg": archives.jpeg() for i in (1, 2, 3)}
    files["imagelabels.mat"] = archives.mat(labels=np.array([[77, 1, 102]], np.uint8))
    splits = {
        name: np.array([[i]], np.uint16) for name, i in (("trnid", 3), ("valid", 1), ("tstid", 2))
    }
    files["setid.mat"] = archives.mat(**splits)
    source = archives.write_files(tmp_path / "source", files)
    counts = convert_dataset("flowers102", source, tmp_path / "out")
    assert counts == {"train": 1, "val": 1, "test": 1}
    assert (tmp_path / "out/train/102/image_00003.jpg").is_file()
    assert (tmp_path / "out/val/077/image_00001.jpg").is_file()


def test_imagenet100__links_that_the_data_set_follows(tmp_path: Path) -> None:
    names = ("n1/a.JPEG", "n2/b.JPEG", "n3/c.JPEG")
    files = {f"{split}/{name}": archives.jpeg() for split in ("train", "val") for name in names}
    source = archives.write_files(tmp_path / "imagenet", files)
    classes = tmp_path / "classes.txt"
    classes.write_text("n3 something\nn1\n\n")
    counts = convert_dataset("imagenet100", source, tmp_path / "out", classes)
    assert counts == {"train": 2, "val": 2}
    data = ImageFolder(str(tmp_path / "out/train"), with_label=True, pipeline=[])
    assert len(data) == 2 and data.CLASSES == ("n1", "n3")


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("cifar10", "batches.meta.txt", r"expected batches\.meta\.txt or batches\.meta in .*, at any depth; found"),
        ("cifar10", "data_batch_3.bin", r"expected cifar-10-batches-bin/data_batch_3\.bin in .*source.*not there"),
        ("tiny-imagenet", "val/val_annotations.txt", r"expected val/val_annotations\.txt in"),
        ("tiny-imagenet", "val/images/val_1.JPEG", r"expected tiny-imagenet-200/val/images/val_1\.JPEG"),
        ("tiny-imagenet", "train", r"expected tiny-imagenet-200/train/<class>/images/\*\.JPEG"),
    ],
)  # fmt: skip
def test_convert__says_which_file_is_missing(
    tmp_path: Path, name: str, missing: str, message: str
) -> None:
    files = tiny_imagenet()
    if name == "cifar10":
        files = cifar10(archives.images(12, 32), [0] * 12, binary=True)
    files = {
        file: content
        for file, content in files.items()
        if not file.endswith(missing) and f"/{missing}/" not in file
    }
    source = archives.write_files(tmp_path / "source", files)
    with pytest.raises(WrongLayoutError, match=message):
        convert_dataset(name, source, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize("name", ["svhn", "stl10", "flowers102", "cifar100"])
def test_convert__other_folders_and_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(WrongLayoutError, match=r"found readme\.txt"):
        convert_dataset(name, tmp_path, tmp_path / "out")
    with pytest.raises(WrongLayoutError, match="is missing; give"):
        convert_dataset(name, tmp_path / "no", tmp_path / "out")
    with pytest.raises(WrongLayoutError, match="neither a folder nor an archive"):
        convert_dataset(name, tmp_path / "readme.txt", tmp_path / "out")


def test_imagenet100__missing_class_folders(tmp_path: Path) -> None:
    source = archives.write_files(tmp_path / "imagenet", {"train/n1/a.JPEG": archives.jpeg()})
    classes = tmp_path / "classes.txt"
    classes.write_text("n1\n")
    with pytest.raises(WrongLayoutError, match=r"missing val/n1 \(1 in all\)"):
        convert_dataset("imagenet100", source, tmp_path / "out", classes)
    with pytest.raises(WrongLayoutError, match="--classes"):
        convert_dataset("imagenet100", source, tmp_path / "out")


def test_convert__never_overwrites(tmp_path: Path) -> None:
    source = archives.write_files(
        tmp_path / "source", cifar10(archives.images(12, 32), [0] * 12, binary=True)
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="remove it"):
        convert_dataset("cifar10", source, tmp_path / "out")


def test_convert__unknown_name(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"choose one of aircraft, cars, cifar10, cifar100, cub, elpv, elpv-defects, flowers102",
    ):
        convert_dataset("mnist", tmp_path, tmp_path / "out")


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("content", [Evil(), {b"data": Evil()}, np.array([Evil()], dtype=object)])
def test_load_plain__runs_nothing(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongLayoutError, match=r"it names posix\.system.*nothing in it was run"):
        load_plain(pickle.dumps(content), "data_batch_1")
    assert not list(tmp_path.iterdir())


def test_cifar10__truncated_file(tmp_path: Path) -> None:
    files = cifar10(archives.images(12, 32), [0] * 12, binary=True)
    files["cifar-10-batches-bin/data_batch_1.bin"] += b"x"
    source = archives.write_files(tmp_path / "source", files)
    with pytest.raises(
        WrongLayoutError, match=r"data_batch_1\.bin has 6147 bytes, .* multiple of the 3073"
    ):
        convert_dataset("cifar10", source, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["../escaped", "{}/escaped", "..", ".", "CON", "a\\b", "x\0y", "a/../../../escaped"]
)
def test_convert__a_class_name_leads_nowhere(name: str, tmp_path: Path) -> None:
    """Of the binary version's list, of the Python version's, and of ImageNet's."""
    name, work = name.format(tmp_path), tmp_path / "work"
    images = archives.images(12, 32)
    binary = cifar10(images, [0] * 12, binary=True)
    binary["cifar-10-batches-bin/batches.meta.txt"] = f"{name}\n{name}x\n".encode()
    source = archives.write_files(work / "binary", binary)
    with pytest.raises(ValueError, match="a class of train"):
        convert_dataset("cifar10", source, work / "out")
    (work / "list.txt").write_text(f"{name}\n")
    for split in ("train", "val"):
        (work / "imagenet" / split).mkdir(parents=True)
    with pytest.raises(ValueError, match="a class in|no class at all"):
        convert_dataset("imagenet100", work / "imagenet", work / "out", work / "list.txt")
    assert {path.name for path in tmp_path.iterdir()} == {"work"}
    assert {path.name for path in work.iterdir()} == {"binary", "imagenet", "list.txt"}


def test_convert__a_name_inside_an_archive_leads_nowhere(tmp_path: Path) -> None:
    """Image and class names of CUB come from its lists, and its files from the archive's names."""
    files = {
        "images.txt": b"1 ../../../a.jpg\n",
        "train_test_split.txt": b"1 1\n",
        "images/../../../a.jpg": b"x",
    }
    source = archives.write_zip(tmp_path / "cub.zip", files)
    with pytest.raises(ValueError, match=r"a class of train is '\.\.'"):
        convert_dataset("cub", source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["cub.zip"]


def test_convert__classes_that_differ_in_case(tmp_path: Path) -> None:
    files = {
        "annotations/trainval.txt": b"cat_1 1\nCat_2 1\n",
        "annotations/test.txt": b"cat_1 1\n",
    }
    files |= {"images/cat_1.jpg": b"x", "images/Cat_2.jpg": b"x"}
    source = archives.write_zip(tmp_path / "pets.zip", files)
    with pytest.raises(ValueError, match="'cat' and 'Cat'"):
        convert_dataset("pets", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
