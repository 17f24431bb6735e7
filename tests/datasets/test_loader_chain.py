"""The whole loader, built as MMEngine's runner builds it, with and without workers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import photo_folder
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmrel.datasets.bad_samples import (
    TooManyBadSamplesError,
    connect_bad_sample_log,
    read_bad_samples,
)
from mmrel.models.data_preprocessors import ViewPreprocessor

PIPELINE = [
    dict(type="mmrel.DecodeImage"),
    dict(type="mmrel.MultiCrop", global_size=32, local_size=16, num_local=3),
    dict(type="mmrel.DrawColorAugmentation"),
    dict(type="mmrel.BlockMask", patch_size=8),
    dict(type="mmrel.PackViews", patch_size=8),
]


def loader(root: Path, workers: int = 0, min_bad_allowed: int = 3) -> DataLoader:
    config = dict(
        batch_size=4,
        num_workers=workers,
        persistent_workers=workers > 0,
        drop_last=True,
        sampler=dict(type="mmrel.KeyedSampler", shuffle=True),
        collate_fn=dict(type="default_collate"),
        dataset=dict(
            type="mmrel.ImageFolder",
            data_root=str(root),
            min_bad_allowed=min_bad_allowed,
            pipeline=PIPELINE,
        ),
    )
    return Runner.build_dataloader(config, seed=5)


def flat(batch: dict[str, Any]) -> list[torch.Tensor]:
    rest = [batch[k] for k in ("geometry", "color", "masks", "sample_index", "num_global")]
    return [*batch["inputs"], *rest]


def equal(first: list[dict], second: list[dict]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(x, y)
        for a, b in zip(first, second, strict=True)
        for x, y in zip(flat(a), flat(b), strict=True)
    )


def epochs(source: DataLoader, numbers: tuple[int, ...] = (0, 1)) -> list[dict]:
    batches = []
    for number in numbers:
        source.sampler.set_epoch(number)
        batches.extend(source)
    return batches


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"), bad=True)


def test_chain__same_batches_for_any_number_of_workers(root: Path) -> None:
    batches = [epochs(loader(root, workers)) for workers in (0, 1, 2)]
    assert len(batches[0]) == 6
    assert equal(batches[0], batches[1]) and equal(batches[0], batches[2])
    assert not torch.equal(batches[0][0]["inputs"][0], batches[0][3]["inputs"][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_chain__resumes_in_the_middle_of_an_epoch(root: Path, workers: int) -> None:
    whole = epochs(loader(root))
    resumed = loader(root, workers)
    resumed.sampler.skip(8)
    assert len(resumed) == 3
    assert equal(epochs(resumed), whole[2:])


@pytest.mark.parametrize("workers", [0, 2])
def test_chain__bad_files_are_listed_once_over_all_workers(
    root: Path, tmp_path: Path, workers: int
) -> None:
    source = loader(root, workers)
    connect_bad_sample_log(source.dataset, tmp_path / "bad.jsonl", "run")
    epochs(source, (0, 1, 2))
    names = sorted(Path(e["path"]).name for e in read_bad_samples(tmp_path / "bad.jsonl", "run"))
    assert names == ["cut.jpg", "empty.jpg", "page.jpg"]


@pytest.mark.parametrize("workers", [0, 2])
def test_chain__too_many_bad_files_stop_it(root: Path, tmp_path: Path, workers: int) -> None:
    source = loader(root, workers, min_bad_allowed=1)
    connect_bad_sample_log(source.dataset, tmp_path / "bad.jsonl", "run")
    # Two workers may meet their bad files at once: then the one that is reported has seen the third.
    count = "[23]" if workers else "2"
    with pytest.raises(TooManyBadSamplesError, match=rf"{count} of 15 files in .* are unreadable"):
        epochs(source)
    if workers:  # or else the garbage collector ends them, which takes 5 seconds each
        source._iterator._shutdown_workers()


def test_chain__batch_becomes_views(root: Path) -> None:
    batch = next(iter(loader(root)))
    views = ViewPreprocessor()(batch, training=True)["inputs"]
    assert views.global_crops.shape == (8, 3, 32, 32) and views.local_crops.shape == (12, 3, 16, 16)
    assert views.geometry.boxes.shape == (4, 5, 5) and views.masks.shape == (8, 16)
    assert views.sample_indices == tuple(batch["sample_index"].tolist())
    assert torch.isfinite(views.global_crops).all()
