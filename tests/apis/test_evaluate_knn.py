"""k-NN on folders of classes: the figures of a plain loop, splits, processes, and what it refuses."""

import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from engine.processes import join_processes, run_processes
from mmengine.config import Config
from PIL import Image

from mmrel.apis import extract_features, get_backbone
from mmrel.apis.baselines import thumbnail_features
from mmrel.apis.class_folders import Reading, labelled_loaders, split_folders
from mmrel.apis.knn import KNNResult, choose_numbers, evaluate_knn, evaluate_thumbnails
from mmrel.apis.knn_comparison import compare_knn
from mmrel.datasets.bad_samples import TooManyBadSamplesError
from mmrel.evaluation import knn_classify, leave_one_out
from mmrel.models.backbones import ViT
from mmrel.utils import UsageError

CLASSES = ("bark", "sand", "sky")
FAST = dict(resize=20, crop=16, workers=0, batch_size=4)


def draw(folder: Path, tone: float, count: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = tone + rng.normal(0, 25, 3) + rng.integers(-60, 60, (20 + number, 26, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two splits of three classes; those of ``val`` begin with the second."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        draw(tmp_path / "photos" / "train" / name, 90 + 30 * number, 7, rng)
        if number:
            draw(tmp_path / "photos" / "val" / name, 90 + 30 * number, 5, rng)
    return tmp_path / "photos"


@pytest.fixture
def backbone() -> ViT:
    torch.manual_seed(4)
    return get_backbone(Config(dict(default_scope="mmpretrain", model=tiny.dino())))


def features(backbone: ViT, folder: Path, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    paths = sorted(folder.glob("*/*.png"))
    labels = torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    return extract_features(backbone, paths, resize=20, crop=16, **options), labels


def test_evaluate_knn__of_two_folders_by_the_names_of_classes(backbone, root) -> None:
    train, labels = features(backbone, root / "train")
    val, wanted = features(backbone, root / "val")
    ranked = knn_classify(train, labels, val, (1, 5, 20))
    found = evaluate_knn(backbone, root / "train", root / "val", k=(1, 5, 20), **FAST)
    assert list(found.top1) == [1, 5, 20]
    for k, answers in ranked.items():
        hits = answers == wanted[:, None]
        assert found.top1[k] == pytest.approx(100 * hits[:, 0].double().mean().item())
        assert found.top5[k] == pytest.approx(100 * hits.any(dim=1).double().mean().item())
    assert (found.num_train, found.num_val, found.num_classes, found.width) == (21, 10, 3, 12)
    assert (found.feature, found.unreadable) == ("cls of block 1", ())
    assert found.top1[found.best] == max(found.top1.values())
    assert evaluate_knn(backbone, root, k=(1, 5, 20), **FAST) == found
    assert evaluate_knn(backbone, root, root / "val", k=(1, 5, 20), **FAST) == found


def test_evaluate_knn__without_a_split_leaves_one_out(backbone, root) -> None:
    options = dict(feature="cls+avg", out_indices=(0, 1), out_norm=False)
    train, labels = features(backbone, root / "train", **options)
    found = evaluate_knn(backbone, root / "train", k=(3, 20), **options, **FAST)
    for k in (3, 20):
        right = leave_one_out(train, labels, k) == labels
        assert found.top1[k] == pytest.approx(100 * right.double().mean().item())
    assert found.val is None and (found.num_train, found.num_val) == (21, 21)
    assert (found.feature, found.width) == ("cls+avg of blocks 0, 1 before the norm", 48)


def test_evaluate_knn__defaults_and_progress(backbone, root) -> None:
    calls: list[tuple[int, int]] = []
    found = evaluate_knn(backbone, root, progress=lambda *now: calls.append(now), **FAST)
    assert list(found.top1) == [10, 20]
    assert calls[0] == (0, 31) and calls[-1] == (31, 31)
    done = [now for now, _ in calls]
    assert done == sorted(done) and {20, 21, 25} <= set(done)
    fewer = evaluate_knn(backbone, root, max_train=9, **FAST)
    assert list(fewer.top1) == [9] and fewer.num_train == 9


def test_thumbnails__as_thumbnail_features(root) -> None:
    paths = {s: sorted((root / s).glob("*/*.png")) for s in ("train", "val")}
    labels = {
        s: torch.tensor([CLASSES.index(path.parent.name) for path in p]) for s, p in paths.items()
    }
    pixels = {s: thumbnail_features(p) for s, p in paths.items()}
    mean = pixels["train"].mean(dim=0)
    ranked = knn_classify(pixels["train"] - mean, labels["train"], pixels["val"] - mean, (5,))[5]
    right = ranked[:, 0] == labels["val"]
    found = evaluate_thumbnails(root, k=(5,), workers=0)
    assert found.top1[5] == pytest.approx(100 * right.double().mean().item())
    assert (found.feature, found.width) == ("16x16 thumbnails", 768)
    right = leave_one_out(pixels["train"] - mean, labels["train"], 5) == labels["train"]
    found = evaluate_thumbnails(root / "train", k=(5,), workers=0)
    assert found.top1[5] == pytest.approx(100 * right.double().mean().item())


def test_comparison__random_weights_once_of_each_network(root, tmp_path) -> None:
    for name, width in (("a", 12), ("b", 12), ("c", 24)):
        arch = dict(embed_dims=width, num_layers=2, num_heads=2, feedforward_channels=24)
        cfg = {**tiny.vit(), "arch": arch}
        (tmp_path / f"{name}.py").write_text(f"model = dict(backbone={cfg!r})\n")
    paths = [tmp_path / f"{name}.py" for name in "abc"]
    rows = compare_knn(
        paths,
        root,
        readout=dict(resize=20, crop=16),
        random=True,
        thumbnails=True,
        k=(1,),
        workers=0,
    )
    names = ["a.py", "b.py", "c.py", "random weights as a.py", "random weights as c.py"]
    assert [row.name for row in rows] == [*names, "16x16 thumbnails"]
    assert [row.result.width for row in rows] == [12, 12, 24, 12, 24, 768]


def damage(root: Path) -> None:
    (root / "train" / "sand" / "3.png").write_bytes(b"no image")
    Image.new("RGB", (30, 3)).save(root / "val" / "sky" / "0.png")


def in_processes(rank: int, root: Path) -> None:
    join_processes(rank, 2, str(root.parent))
    torch.manual_seed(4)
    backbone = get_backbone(Config(dict(default_scope="mmpretrain", model=tiny.dino())))
    results = [
        evaluate_knn(backbone, root, k=(1, 5), **FAST),
        evaluate_knn(backbone, root / "train", k=(1, 5), **FAST),
        evaluate_thumbnails(root / "train", k=(1, 5), workers=0),
    ]
    torch.save([result.as_dict() for result in results], root.parent / f"{rank}.pt")


def test_evaluate_knn__two_processes_give_the_figures_of_one(backbone, root) -> None:
    """21 and 10 images, one of each unreadable or too small: the shares of the ranks differ."""
    damage(root)
    single = [
        evaluate_knn(backbone, root, k=(1, 5), **FAST),
        evaluate_knn(backbone, root / "train", k=(1, 5), **FAST),
        evaluate_thumbnails(root / "train", k=(1, 5), workers=0),
    ]
    assert [len(result.unreadable) for result in single] == [2, 1, 1]
    assert (single[0].num_train, single[0].num_val) == (20, 9)
    run_processes(in_processes, 2, root)
    for rank in range(2):
        found = torch.load(root.parent / f"{rank}.pt", weights_only=True)
        assert [KNNResult(**fields) for fields in found] == single


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluate_knn__many_unreadable_files_stop_it(backbone, root, workers) -> None:
    damage(root)
    (root / "train" / "bark" / "0.png").write_bytes(b"")
    options = {**FAST, "workers": workers}
    with pytest.raises(TooManyBadSamplesError, match="2 of 21 files"):
        evaluate_knn(backbone, root, **options)
    assert not multiprocessing.active_children()
    if not workers:
        found = evaluate_knn(backbone, root, max_bad_fraction=0.1, **options)
        names = [str(Path(path).relative_to(root)) for path in found.unreadable]
        assert names == ["train/bark/0.png", "train/sand/3.png", "val/sky/0.png"]


def test_reading__as_many_processes_as_cores_up_to_4(root, monkeypatch) -> None:
    [step] = [dict(type="mmpretrain.PackInputs")]
    for cores, expected in ((2, 2), (64, 4)):
        monkeypatch.setattr("os.sched_getaffinity", lambda process, n=cores: set(range(n)))
        [loader] = labelled_loaders(root / "train", None, [step], Reading())
        assert loader.num_workers == expected
    assert labelled_loaders(root, None, [step], Reading(workers=0))[0].num_workers == 0


def test_split_folders(root, tmp_path) -> None:
    train, val = root / "train", root / "val"
    assert split_folders(root) == split_folders(str(root), val) == (train, val)
    assert split_folders(train) == (train, None)
    assert split_folders(train, val) == (train, val)
    (root / "test").mkdir()
    assert split_folders(root) == (train, val)
    # A class may be called train.
    shutil.move(root / "val", tmp_path / "elsewhere")
    (root / "test" / "x").mkdir()
    assert split_folders(root) == (root, None)


def test_bad_input__folders(backbone, root, tmp_path) -> None:
    shutil.rmtree(root / "val" / "sky")
    (root / "val" / "snow").mkdir()
    shutil.copy(root / "val" / "sand" / "0.png", root / "val" / "snow")
    with pytest.raises(UsageError, match=r"1 class\(es\) that the bank has none of.*snow"):
        evaluate_knn(backbone, root, **FAST)
    (tmp_path / "empty" / "a").mkdir(parents=True)
    for folders in ((tmp_path / "empty",), (root / "train", tmp_path / "empty")):
        with pytest.raises(FileNotFoundError, match="holds no image in its class folders"):
            evaluate_knn(backbone, *folders, **FAST)
    for folders in ((tmp_path / "none",), (root / "train", tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match="none' does not exist"):
            evaluate_knn(backbone, *folders, **FAST)
    with pytest.raises(FileNotFoundError, match="sand' has no folders, so that nothing tells"):
        evaluate_knn(backbone, root / "train" / "sand", **FAST)
    shutil.copytree(root / "train" / "sand", tmp_path / "one" / "sand")
    with pytest.raises(ValueError, match=r"one class only \(sand\)"):
        evaluate_knn(backbone, tmp_path / "one", **FAST)
    with pytest.raises(ValueError, match="one class only"):
        evaluate_knn(backbone, tmp_path / "one", tmp_path / "one", **FAST)
    shutil.rmtree(root / "val")
    with pytest.raises(FileNotFoundError, match=r"has train/ but no val/.*train' alone"):
        evaluate_knn(backbone, root, **FAST)


def test_bad_input__numbers(backbone, root) -> None:
    """More neighbours than there are would make every k the same figure."""
    progress: list[Any] = []
    options = {**FAST, "progress": lambda *now: progress.append(now)}
    with pytest.raises(ValueError, match=r"k is \[5, 22\].*1 to 21, the 21 training images"):
        evaluate_knn(backbone, root, k=(5, 22), **options)
    with pytest.raises(ValueError, match=r"k is \[21\].*1 to 20, the 20 others of each image"):
        evaluate_knn(backbone, root / "train", k=(21,), **options)
    for k in ((), (0,)):
        with pytest.raises(ValueError, match="give numbers from 1"):
            evaluate_knn(backbone, root, k=k, **options)
    with pytest.raises(ValueError, match="temperature above 0"):
        evaluate_knn(backbone, root, temperature=0.0, **options)
    with pytest.raises(ValueError, match="feature is 'mean'"):
        evaluate_knn(backbone, root, feature="mean", **options)
    with pytest.raises(ValueError, match="whole number of 4-pixel patches"):
        evaluate_knn(backbone, root, **{**options, "crop": 18})
    with pytest.raises(TypeError, match="bach_size"):
        evaluate_knn(backbone, root, bach_size=3)


def test_choose_numbers__the_papers_that_fit() -> None:
    assert choose_numbers(None, 10**6, leave_one_out=False) == (10, 20, 100, 200)
    assert choose_numbers(None, 200, leave_one_out=True) == (10, 20, 100)
    assert choose_numbers(None, 5, leave_one_out=True) == (4,)
    assert choose_numbers((3,), 4, leave_one_out=True) == (3,)


def test_result__best_is_the_highest() -> None:
    result = KNNResult({1: 50.0, 5: 70.0}, {}, "a", None, 1, 1, 1, (), "cls", 4)
    assert result.best == 5
    assert replace(result, top1={1: 80.0, 5: 70.0}).best == 1
