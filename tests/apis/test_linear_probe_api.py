"""Which images train and judge, and the probe of a backbone on folders against a plain loop."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from PIL import Image

from mmrel.apis import extract_features, get_backbone
from mmrel.apis.baselines import thumbnail_features
from mmrel.apis.linear_probe import (
    Fit,
    choose_feature,
    describe_probes,
    probe_backbone,
    probe_thumbnails,
)
from mmrel.apis.probe_images import ChosenImages, choose_images
from mmrel.datasets.bad_samples import TooManyBadSamplesError
from mmrel.evaluation.probes import fit_linear_heads, fit_logistic
from mmrel.models.backbones import ViT
from mmrel.models.classifiers.linear_probe import ProbeFeature
from mmrel.registry import MODELS

CLASSES = ("bark", "sand", "sky")
FAST = dict(resize=20, crop=16, workers=0, batch_size=5)
FIT = Fit(settings=(0.01, 0.3, 3.0), epochs=5, batch=6)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits of three classes; those of ``val`` begin with the second."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 5)):
        for number, name in enumerate(CLASSES):
            if (split, number) == ("val", 0):
                continue
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                tone = 90 + 30 * number + rng.normal(0, 25, 3)
                pixels = tone + rng.integers(-60, 60, (20 + i, 26, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture
def backbone() -> ViT:
    torch.manual_seed(4)
    return get_backbone(Config(dict(default_scope="mmpretrain", model=tiny.dino())))


def sets(root: Path, val: bool = True) -> list[set[str]]:
    return [set(part.paths) for part in choose_images(root, root.parent / "val" if val else None)]


def test_choice__of_a_folder_with_splits_and_of_two_folders(shared: Path) -> None:
    train, val = choose_images(shared)
    assert (len(train.paths), len(val.paths)) == (30, 10)
    assert set(zip((p.split("/")[0] for p in val.paths), val.labels, strict=True)) == {
        ("sand", 1),
        ("sky", 2),
    }
    assert (train.folder, val.folder) == (shared / "train", shared / "val")
    assert choose_images(shared / "train", shared / "val") == (train, val)
    assert all(path.is_file() for path in (*train.files, *val.files))


def test_choice__without_a_split_a_share_of_each_class_is_held_out(shared: Path) -> None:
    train, val = choose_images(shared / "train", holdout=0.3)
    assert not set(train.paths) & set(val.paths)
    assert [train.labels.count(i) for i in range(3)] == [7, 7, 7]
    assert [val.labels.count(i) for i in range(3)] == [3, 3, 3]
    assert choose_images(shared / "train", holdout=0.3) == (train, val)
    few, same = choose_images(shared / "train", holdout=0.3, shots=2)
    assert same == val and set(few.paths) < set(train.paths) and len(few.paths) == 6
    other = choose_images(shared / "train", holdout=0.3, seed=1)[1]
    assert set(other.paths) != set(val.paths)


def test_choice__of_some_images(shared: Path, tmp_path: Path) -> None:
    some, val = choose_images(shared, fraction=0.2)
    assert [some.labels.count(i) for i in range(3)] == [2, 2, 2] and len(val.paths) == 10
    (tmp_path / "list.txt").write_text("bark/3.png 0\nsky/1.png 2\n sand/7.png 1\n")
    named, others = choose_images(shared / "train", images=tmp_path / "list.txt")
    assert named.paths == ("bark/3.png", "sky/1.png", "sand/7.png") and named.labels == (0, 2, 1)
    assert len(others.paths) == 27 and not set(others.paths) & set(named.paths)
    assert choose_images(shared, images=tmp_path / "list.txt")[1] == val


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(shots=1, fraction=0.1), "one of shots, fraction and images"),
        (dict(shots=11), r"fewer: bark \(10\)"),
        (dict(images="none.txt"), "none.txt is no file"),
        (
            dict(train="val", val="train"),
            r"1 class\(es\) that the training set has none of.*: bark",
        ),
        (dict(train="train", holdout=1.0), "holdout is 1.0"),
        (dict(train="train/bark"), "has no folders, so that nothing tells the classes"),
        (dict(train="none"), "does not exist"),
    ],
)
def test_choice__that_does_not_fit_is_refused(shared: Path, options: dict, message: str) -> None:
    options = {k: str(shared / v) if k in ("train", "val") else v for k, v in options.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        choose_images(**{"train": shared, **options})


def test_choice__one_class_or_nothing_to_judge_by_is_refused(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "train" / "sky", tmp_path / "a" / "sky")
    with pytest.raises(ValueError, match=r"one class only \(sky\)"):
        choose_images(tmp_path / "a")
    names = [f"{name}/{i}.png" for name in CLASSES for i in range(10)]
    (tmp_path / "all.txt").write_text("\n".join(names))
    with pytest.raises(ValueError, match="no image is left to judge by"):
        choose_images(shared / "train", images=tmp_path / "all.txt")


def features(backbone: ViT, part: ChosenImages, **options: object) -> tuple[torch.Tensor, ...]:
    found = extract_features(backbone, part.files, resize=20, crop=16, **options)
    return found, torch.tensor(part.labels)


@pytest.mark.parametrize(
    ("blocks", "avgpool", "options", "title"),
    [
        (1, 0, dict(feature="cls"), "cls"),
        (2, 0, dict(feature="cls", out_indices=(0, 1)), "cls of 2 blocks"),
        (1, 1, dict(feature="avg"), "mean patch"),
        (1, 2, dict(feature="cls+avg"), "cls + mean patch"),
    ],
)
def test_probe__is_the_fit_on_extracted_features(
    backbone: ViT, shared: Path, blocks: int, avgpool: int, options: dict, title: str
) -> None:
    images = choose_images(shared)
    seen: list[tuple[int, int]] = []
    row = probe_backbone(
        "a", backbone, images, FIT, blocks, avgpool, progress=lambda *x: seen.append(x), **FAST
    )
    train, val = (features(backbone, part, **options) for part in images)
    assert row.result == fit_linear_heads(*train, *val, FIT.settings, epochs=5, batch=6)
    assert (row.feature, row.width) == (title, train[0].shape[1])
    assert (row.num_train, row.num_val, row.num_classes, row.unreadable) == (30, 10, 3, ())
    assert seen[0] == (0, 30) and (30, 30) in seen and (10, 10) in seen and seen[-1] == (5, 5)
    assert not backbone.training


def test_probe__logistic_and_thumbnails(backbone: ViT, shared: Path) -> None:
    pytest.importorskip("sklearn")
    images, fit = choose_images(shared, shots=4), Fit("logistic", (0.001, 0.1))
    row = probe_backbone("a", backbone, images, fit, **FAST)
    train, val = (features(backbone, part, feature="cls") for part in images)
    assert row.result == fit_logistic(*train, *val, (0.001, 0.1))
    pixels = [thumbnail_features(part.files) for part in images]
    centred = [(p - pixels[0].mean(dim=0)) for p in pixels]
    baseline = probe_thumbnails(images, fit)
    assert baseline.result == fit_logistic(centred[0], train[1], centred[1], val[1], (0.001, 0.1))
    assert (baseline.name, baseline.width) == ("16x16 thumbnails", 768)


def test_probe__row_and_table(backbone: ViT, shared: Path) -> None:
    row = probe_backbone("my.pth", backbone, choose_images(shared), FIT, **FAST)
    report = row.as_dict()
    assert report["best_top1"] == row.result.best == max(report["top1"].values())
    assert report["best_was_chosen_on"] == "the validation images" and report["top5"] == {}
    assert list(report["top1"]) == ["0.01", "0.3", "3"] and report["best_top5"] is None
    text = describe_probes([row], FIT).splitlines()
    assert text[0] == "linear probe: 30 images to train on, 10 to judge by, 3 classes"
    assert "chosen on the images that judge" in text[1]
    assert text[-1].split() == [
        *("my.pth", "cls", "of", "2", "blocks"),
        f"{row.result.best:.2f}",
        f"{row.result.best_setting:g}",
    ]


@pytest.mark.parametrize(
    ("width", "depth", "tokens", "method", "expected"),
    [
        (12, 2, True, "linear", (2, 0)),
        (12, 6, True, "linear", (4, 0)),
        (768, 6, True, "linear", (1, 2)),
        (768, 6, True, "logistic", (1, 0)),
        (12, 6, True, "logistic", (1, 0)),
        (12, 6, False, "linear", (1, 1)),
        (12, 6, False, "logistic", (1, 1)),
    ],
)
def test_feature__that_of_the_papers(
    width: int, depth: int, tokens: bool, method: str, expected: tuple[int, int]
) -> None:
    """DINO's and iBOT's for ViT-S (4 blocks) and ViT-B (class token and mean patch); fewer where there are fewer."""
    arch = dict(embed_dims=width, num_layers=depth, num_heads=2, feedforward_channels=24)
    with torch.device("meta"):
        backbone = MODELS.build(dict(tiny.vit(with_cls_token=tokens), arch=arch))
    assert choose_feature(backbone, method) == ProbeFeature(*expected)
    if tokens:
        assert choose_feature(backbone, method, n_last_blocks=2) == ProbeFeature(2, 0)
        assert choose_feature(backbone, method, avgpool=2) == ProbeFeature(1, 2)
    else:
        with pytest.raises(ValueError, match="the backbone has none"):
            choose_feature(backbone, method, avgpool=0)


def test_probe__unreadable_files_are_left_out_and_named(
    backbone: ViT, shared: Path, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    shutil.copytree(shared, root)
    (root / "train" / "sand" / "4.png").write_bytes(b"no image")
    row = probe_backbone("a", backbone, choose_images(root), FIT, **FAST)
    assert (row.num_train, row.num_val) == (29, 10)
    assert [Path(path).name for path in row.unreadable] == ["4.png"]
    assert "1 unreadable file(s) left out: " in describe_probes([row], FIT)
    (root / "train" / "sky" / "4.png").write_bytes(b"no image")
    with pytest.raises(TooManyBadSamplesError):
        probe_backbone("a", backbone, choose_images(root), FIT, **FAST)


def test_fit__unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method is 'svm'; choose from linear, logistic"):
        Fit("svm")
