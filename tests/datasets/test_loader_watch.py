"""A loader whose worker hangs or is killed says on which file."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image
from torch.utils.data import DataLoader

from mmrel.datasets import ImageFolder
from mmrel.datasets.loader_watch import LoaderError, SampleBoard, watched_batches
from mmrel.utils.worker_signals import shield_workers


class Trouble:
    """A transform that sleeps, or dies, at one file."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, results: dict) -> int:
        if results["img_path"].endswith("3.png"):
            if self.kind == "hangs":
                time.sleep(60)
            elif self.kind == "is killed":
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise RuntimeError("a fault of the transform's own")
        return results["sample_idx"]


def folder(root: Path, kind: str) -> ImageFolder:
    root.mkdir()
    for number in range(6):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / f"{number}.png")
    dataset = ImageFolder(str(root), pipeline=[])
    dataset.pipeline.transforms.append(Trouble(kind))
    return dataset


def through(loader: DataLoader, pause: float = 0.0) -> list[int]:
    """All batches, with some work on each."""
    seen: list[int] = []
    with watched_batches(loader) as batches:
        for batch in batches:
            time.sleep(pause)
            seen += batch.tolist()
    return seen


@pytest.mark.parametrize("pause", [0.0, 0.5])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize(
    ("kind", "told", "remedy"),
    [
        ("hangs", "DataLoader timed out after 1", "train_dataloader.timeout"),
        ("is killed", "is killed by signal|exited unexpectedly", "train_dataloader.num_workers"),
    ],
)
def test_batches__name_the_file(
    tmp_path: Path, kind: str, told: str, remedy: str, persistent: bool, pause: float
) -> None:
    dataset = folder(tmp_path / "images", kind)
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=2,
        timeout=1 if kind == "hangs" else 20,
        persistent_workers=persistent,
    )
    shield_workers(loader)
    start = time.monotonic()
    with pytest.raises(
        LoaderError, match=rf"({told}).*{dataset.img_prefix}3\.png \(sample 3, "
    ) as caught:
        through(loader, pause)
    assert time.monotonic() - start < 15
    assert remedy in str(caught.value)


def test_batches__other_errors_stay_as_they_are(tmp_path: Path) -> None:
    dataset = folder(tmp_path / "images", "fails")
    with pytest.raises(RuntimeError, match="a fault of the transform's own") as caught:
        through(DataLoader(dataset, num_workers=1))
    assert not isinstance(caught.value, LoaderError)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches__are_the_loaders(tmp_path: Path, workers: int) -> None:
    """Also where a wrapper holds the data set, and in the second epoch of persistent workers."""
    dataset = folder(tmp_path / "images", "no trouble")
    dataset.pipeline.transforms.pop()
    dataset.pipeline.transforms.append(lambda results: results["sample_idx"])
    loader = DataLoader(
        ConcatDataset([dataset]), num_workers=workers, persistent_workers=workers > 0
    )
    for _ in range(2):
        assert through(loader) == list(range(6))
    if workers:
        assert dataset.sample_board.in_work() == []


def test_board__outside_a_worker() -> None:
    board = SampleBoard(2)
    with board.working_on(3):
        assert board.in_work() == []
