"""A label means the same in two folders, though each of them lists its own classes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from image_files import encoded, pixels
from log_lines import log_lines
from mmpretrain.datasets import CustomDataset

from mmrel.datasets import ImageFolder
from mmrel.datasets.class_names import share_classes
from mmrel.engine.hooks import ClassNamesHook
from mmrel.utils import UsageError

IMAGE = encoded(pixels())


def folder(root: Path, *classes: str, empty: tuple[str, ...] = (), **options: Any) -> ImageFolder:
    for name in (*classes, *empty):
        (root / name).mkdir(parents=True)
    for name in classes:
        (root / name / "x.jpg").write_bytes(IMAGE)
    return ImageFolder(str(root), with_label=True, **options)


def labels(dataset: Any) -> dict[str, int]:
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return {Path(info["img_path"]).parent.name: info["gt_label"] for info in infos}


def test_share__numbers_by_name(tmp_path: Path) -> None:
    train = folder(tmp_path / "train", "ant", "bee", "cat")
    val = folder(tmp_path / "val", "bee", "cat", empty=("zebra",))
    assert labels(val) == {"bee": 0, "cat": 1}
    with log_lines() as lines:
        share_classes(train, val, "bank", "validation set")
    assert labels(val) == {"bee": 1, "cat": 2} and val.get_gt_labels().tolist() == [1, 2]
    assert val.CLASSES == train.CLASSES == ("ant", "bee", "cat")
    assert len(lines) == 1 and "has no image of 1 of the 3 classes of the bank: ant" in lines[0]
    share_classes(train, val, "bank", "validation set")  # again changes nothing
    assert labels(val) == {"bee": 1, "cat": 2}


@pytest.mark.parametrize("empty", [(), ("dog",)])
def test_share__a_class_that_can_never_be_right(tmp_path: Path, empty: tuple[str, ...]) -> None:
    """It is missing in the bank, or its folder there holds nothing."""
    train = folder(tmp_path / "train", "ant", "bee", empty=empty)
    val = folder(tmp_path / "val", "bee", "dog")
    with pytest.raises(UsageError, match="1 class.* that the bank has none of.* rightly: dog"):
        share_classes(train, val, "bank", "validation set")


def test_share__other_data_sets_cannot_be_renumbered(tmp_path: Path) -> None:
    train = folder(tmp_path / "train", "ant", "bee")
    folder(tmp_path / "val", "bee")
    val = CustomDataset(data_root=str(tmp_path / "val"))
    with pytest.raises(UsageError, match=r"differently \(ant\).*Use mmrel.ImageFolder"):
        share_classes(train, val, "bank", "validation set")


def test_share__other_names_for_the_folders(tmp_path: Path) -> None:
    """Labels by order: the same names of different folders would compare what is not the same."""
    both = dict(classes=["Ant", "Bee"])
    train = folder(tmp_path / "train", "n1", "n2", **both)
    same = folder(tmp_path / "same", "n1", "n2", **both)
    share_classes(train, same, "training set", "validation set")
    other = folder(tmp_path / "other", "n2", "n3", **both)
    with pytest.raises(UsageError, match=r"name their classes alike, but .* \(n1, n3\)"):
        share_classes(train, other, "training set", "validation set")


def test_folder__classes_given_in_another_order(tmp_path: Path) -> None:
    dataset = folder(tmp_path, "ant", "bee", classes=["bee", "cow", "ant"])
    assert labels(dataset) == {"ant": 2, "bee": 0} and len(dataset.CLASSES) == 3


def test_folder__classes_that_know_only_some_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 folder.* not among the 2 given classes: bee"):
        folder(tmp_path, "ant", "bee", classes=["ant", "cow"])


def runner(train: Any, **loops: Any) -> Any:
    made = {f"{name}_loop": None for name in ("val", "test")}
    for name, dataset in loops.items():
        made[f"{name}_loop"] = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    return SimpleNamespace(train_dataloader=SimpleNamespace(dataset=train), **made)


def test_hook__fine_tuning(tmp_path: Path) -> None:
    train = folder(tmp_path / "train", "ant", "bee", "cat")
    val = folder(tmp_path / "val", "cat")
    ClassNamesHook().before_train(runner(train, val=val))
    assert labels(val) == {"cat": 2}
    ClassNamesHook().before_train(runner(train))  # without validation


def test_hook__test_of_a_checkpoint(tmp_path: Path) -> None:
    """There is no training folder any more; the checkpoint knows its classes."""
    val, meta = folder(tmp_path, "cat"), {"dataset_meta": {"classes": ("ant", "bee", "cat")}}
    hook = ClassNamesHook()
    hook.after_load_checkpoint(runner(None), {"meta": meta})
    hook.before_test(runner(None, test=val))
    assert labels(val) == {"cat": 2}
    other = folder(tmp_path / "b", "dog")
    with pytest.raises(UsageError, match="training set of the checkpoint.*: dog"):
        hook.before_val(runner(None, val=other))


def test_hook__weights_to_start_from_do_not_name_the_classes(tmp_path: Path) -> None:
    train, val = folder(tmp_path / "a", "ant", "bee"), folder(tmp_path / "b", "bee")
    hook = ClassNamesHook()
    hook.after_load_checkpoint(runner(train), {"meta": {"dataset_meta": {"classes": ("x",)}}})
    hook.before_train(runner(train, val=val))
    hook.before_val(runner(train, val=val))
    assert labels(val) == {"bee": 1}
