"""A run of the evidence from data to file, at toy size."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmrel.apis.video import copies_of_first, evaluate_sequences
from mmrel.datasets.scenes import make_scenes
from mmrel.evaluation.davis import read_split
from mmrel.utils import UsageError
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.device import chosen_device, emulates

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import evidence_finetune  # noqa: E402
from evidence_arms import FIRST_MASK, RANDOM, THUMBNAILS, Arm, find_arm  # noqa: E402
from evidence_data import ELPV, SCENES, DataSet  # noqa: E402
from evidence_run import Run, execute  # noqa: E402

NUM_TRAIN, NUM_VAL = 40, 20
FAST = {"train_cfg.max_epochs": 2, "train_dataloader.batch_size": 8}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evidence") / "scenes"
    make_scenes(str(root), num_train=NUM_TRAIN, num_val=NUM_VAL, workers=1)
    return root


@pytest.fixture
def settings() -> dict[str, Any]:
    """The judges that are quick on so few images."""
    return {name: SCENES.judges[name] for name in ("knn", "davis", "tokens", "patch_knn")}


def run_of(
    arm: Arm, data: Path, folder: Path, settings: dict[str, Any], dataset: DataSet = SCENES
) -> Run:
    own = replace(dataset, judges=settings)
    return Run(arm, 0, data, own, folder / "work", folder / "results")


def figures(path: Path) -> dict[str, float]:
    return json.loads(path.read_text())["figures"]


def test_random_weights__are_judged_beside_the_baselines(
    scenes: Path, settings: dict, tmp_path: Path
) -> None:
    run = run_of(find_arm(RANDOM), scenes, tmp_path, settings)
    # The probe of thumbnails is not among the quick judges.
    settings["linear_probe"] = dict(max_train=None, max_val=None, image_size=None, epochs=1)
    assert not run.done()
    path = execute(run)
    assert run.done() and path == run.file
    own = figures(path)
    assert {"knn_cls", "knn_avg", "propagation", "patch_knn", "cosine", "between"} <= set(own)
    assert 0 < own["cosine"] < 1
    content = json.loads(path.read_text())
    assert content["curves"] == {} and content["machine"]["processor"] and content["commit"]
    assert set(figures(path.with_name(f"{THUMBNAILS}.json"))) == {"knn_cls", "linear_probe_cls"}
    copied = evaluate_sequences(read_split(scenes / "davis", "val"), copies_of_first)
    assert figures(path.with_name(f"{FIRST_MASK}.json")) == {"propagation": 100 * copied.jf_mean}
    # Other settings are other figures: the run counts as not done.
    settings["tokens"] = {**settings["tokens"], "max_images": 3}
    assert not run.done()


@pytest.mark.slow
def test_trained_arm__twice_from_nothing_gives_the_same_figures(
    scenes: Path, settings: dict, tmp_path: Path
) -> None:
    arm = find_arm("mocov3-sere")
    arm = replace(arm, options={**arm.options, **FAST})
    paths = [
        execute(run_of(arm, scenes, tmp_path / name, settings)) for name in ("first", "second")
    ]
    first, second = (json.loads(path.read_text()) for path in paths)
    assert first["figures"] == second["figures"] and first["curves"] == second["curves"]
    curves = first["curves"]
    assert [step for step, _ in curves["propagation"]] == [5, 10]
    assert [step for step, _ in curves["knn/top1_k20"]] == [0, 5, 10]
    assert {"knn/patch_miou", "stat/spatial_of_uniform"} <= set(curves)
    assert first["costs"]["pretraining_processor_seconds"] > 0
    assert first["precision"] == ("fp32" if emulates("bf16", chosen_device()) else "bf16")


@pytest.mark.slow
def test_elpv__class_folders_alone(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scenes, in four classes, in the place of cells: one epoch of the recipe is four passes of five steps."""
    for split in ("train", "val"):
        for number, folder in enumerate(sorted((scenes / "classification" / split).iterdir())):
            own = tmp_path / "cells/classification" / split / str(number % 4)
            shutil.copytree(folder, own, dirs_exist_ok=True)
    arm = replace(find_arm("dino"), options={**FAST, "train_cfg.max_epochs": 1})
    settings = {name: ELPV.judges[name] for name in ("knn", "tokens", "correspondence")}
    run = run_of(arm, tmp_path / "cells", tmp_path, settings, ELPV)
    found = json.loads(execute(run).read_text())
    assert run.file == tmp_path / "results/elpv/dino-seed0.json" and run.done()
    assert set(found["figures"]) == {
        "knn_cls",
        "knn_avg",
        "cosine",
        "between",
        "rank",
        "correspondence",
    }
    assert [step for step, _ in found["curves"]["knn/top1_k20"]] == [0, 20]
    assert [path.name for path in run.checkpoints] == ["epoch_4.pth"]
    assert not {"propagation", "knn/patch_miou"} & set(found["curves"])
    monkeypatch.setattr(evidence_finetune, "LABEL_STEPS", 1)
    monkeypatch.setattr(evidence_finetune, "LABEL_BATCH", 16)
    # The backbone of the run, in a classifier of its four classes.
    path = evidence_finetune.finetune(run, "labels-25")
    assert path == tmp_path / "results/elpv/dino-seed0.labels-25.json"
    assert 0 <= figures(path)["labels_25"] <= 100
    folder = tmp_path / "work/elpv/dino-seed0"
    assert (folder / "backbone.pth").is_file()
    [checkpoint] = (folder / "labels-25").glob("epoch_*.pth")
    assert read_checkpoint(checkpoint)["state_dict"]["head.fc.weight"].shape == (4, 128)
    with pytest.raises(
        UsageError, match="no task 'upernet' on elpv; choose from labels-100, labels-25, labels-10"
    ):
        evidence_finetune.finetune(run, "upernet")


@pytest.mark.slow
def test_fine_tuning__a_share_of_the_labels_from_random_weights(
    scenes: Path, settings: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of 40 images, one of each class, for an epoch."""
    monkeypatch.setattr(evidence_finetune, "LABEL_STEPS", 1)
    monkeypatch.setattr(evidence_finetune, "LABEL_BATCH", 10)
    run = run_of(find_arm(RANDOM), scenes, tmp_path, settings)
    path = evidence_finetune.finetune(run, "labels-25")
    assert 0 <= figures(path)["labels_25"] <= 100
    listing = (tmp_path / "work/scenes/labels-25.txt").read_text().splitlines()
    assert sorted(int(line.split()[1]) for line in listing) == list(range(10))
    before = path.stat().st_mtime_ns
    assert evidence_finetune.finetune(run, "labels-25") == path
    assert path.stat().st_mtime_ns == before
    with pytest.raises(
        UsageError, match="there is no task 'coco' on scenes; choose from mask-rcnn, upernet"
    ):
        evidence_finetune.finetune(run, "coco")
