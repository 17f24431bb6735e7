"""Which images a classifier on frozen features is trained on, and which judge it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from mmrel.apis.class_folders import Reading, split_folders
from mmrel.datasets.splits import draw_images, images_by_class, read_image_list
from mmrel.datasets.transforms.load import share_depth
from mmrel.evaluation.loading import build_loader
from mmrel.utils.text import listed

HOLDOUT = 0.2


@dataclass(frozen=True)
class ChosenImages:
    """Labelled images of one folder.

    Attributes:
        folder: where they lie.
        paths: relative to it.
        labels: a class's number among the sorted folders of the training set.
    """

    folder: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...]

    @property
    def files(self) -> list[Path]:
        """Their whole paths."""
        return [self.folder / path for path in self.paths]


def choose_images(
    train: str | Path,
    val: str | Path | None = None,
    shots: int | None = None,
    fraction: float | None = None,
    images: str | Path | None = None,
    holdout: float = HOLDOUT,
    seed: int = 0,
) -> tuple[ChosenImages, ChosenImages]:
    """The images to train on, and those to judge by.

    Args:
        train: folder with one folder of images per class; or one with ``train`` and ``val`` that hold such folders.
        val: folder of classes to judge by. ``None``, where there is no split: with ``images``, all others of ``train``;
            else a share of every class, drawn at random, which is not trained on.
        shots: train on so many images of each class, drawn at random.
        fraction: train on this share of each class, drawn at random.
        images: train on those that a text file names, see :func:`mmrel.datasets.splits.read_image_list`.
        holdout: the share to judge by where there is no split.
        seed: of what is drawn.

    Raises:
        FileNotFoundError: a folder, the list, an image that it names, or every image is missing.
        ValueError: one class only, classes of ``val`` that ``train`` has no image of, or options that do not fit.
    """
    train_folder, val_folder = split_folders(train, val)
    classes = images_by_class(train_folder)
    if sum(option is not None for option in (shots, fraction, images)) > 1:
        raise ValueError("give one of shots, fraction and images, or none of them")
    pool, judges = classes, None if val_folder is None else images_by_class(val_folder)
    if judges is None and images is None:
        divisible = {name: paths for name, paths in classes.items() if len(paths) > 1}
        held = set(draw_images(divisible, fraction=_share(holdout), seed=seed))
        judges = {name: [p for p in paths if p in held] for name, paths in classes.items()}
        pool = {name: [p for p in paths if p not in held] for name, paths in classes.items()}
    chosen = [path for paths in pool.values() for path in paths]
    if images is not None:
        chosen = read_image_list(Path(images).expanduser(), classes)
    elif shots is not None or fraction is not None:
        chosen = draw_images(pool, shots, fraction, seed)
    if judges is None:
        taken = set(chosen)
        judges = {name: [p for p in paths if p not in taken] for name, paths in classes.items()}
    others = [path for paths in judges.values() for path in paths]
    numbers = {name: number for number, name in enumerate(classes)}
    _check_classes(chosen, others, train_folder)
    return (
        _labelled(train_folder, chosen, numbers),
        _labelled(val_folder or train_folder, others, numbers),
    )


@contextmanager
def chosen_loaders(
    parts: Sequence[ChosenImages], transforms: list[dict[str, Any]], reading: Reading
) -> Iterator[list[DataLoader]]:
    """Ordered loaders of the images; values of more than 8 bits are read as the first part's.

    Args:
        parts: the images.
        transforms: config of what follows the decoding.
        reading: how they are read.
    """
    decode = dict(type="mmrel.DecodeImage", bit_depth=reading.bit_depth)
    with tempfile.TemporaryDirectory(prefix="mmrel-lists-") as folder:
        loaders = []
        for number, part in enumerate(parts):
            lines = zip(part.paths, part.labels, strict=True)
            listing = Path(folder) / f"{number}.txt"
            listing.write_text("".join(f"{path} {label}\n" for path, label in lines), "utf-8")
            dataset = dict(
                type="mmrel.ImageFolder",
                data_root=str(part.folder),
                ann_file=str(listing),
                with_label=True,
                max_bad_fraction=reading.max_bad_fraction,
                pipeline=[decode, *transforms],
            )
            settings = dict(batch_size=reading.batch_size, num_workers=reading.workers)
            loaders.append(build_loader({**settings, "dataset": dataset}))
        for loader in loaders[1:]:
            share_depth(loaders[0].dataset, loader.dataset)
        yield loaders


def _share(holdout: float) -> float:
    if not 0 < holdout < 1:
        raise ValueError(f"holdout is {holdout}; give a share between 0 and 1, such as {HOLDOUT}")
    return holdout


def _labelled(folder: Path, paths: Sequence[str], numbers: dict[str, int]) -> ChosenImages:
    return ChosenImages(folder, tuple(paths), tuple(numbers[_class_of(path)] for path in paths))


def _check_classes(train: Sequence[str], val: Sequence[str], folder: Path) -> None:
    known = {_class_of(path) for path in train}
    if len(known) < 2:
        raise ValueError(
            f"the training images in {folder} are of one class only ({listed(sorted(known))}), so that every answer "
            "would be right; give two classes or more"
        )
    if not val:
        raise ValueError(
            f"no image is left to judge by: all of {folder} are trained on; give a validation folder"
        )
    if unknown := sorted({_class_of(path) for path in val} - known):
        raise ValueError(
            f"the validation set has images of {len(unknown)} class(es) that the training set has none of, which can "
            f"never be classified rightly: {listed(unknown)}. Add such images there, or remove the folders here"
        )


def _class_of(path: str) -> str:
    return path.partition("/")[0]
