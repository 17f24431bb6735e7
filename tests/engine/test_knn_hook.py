"""The k-NN hook on a real model and a folder of images: logs, modesand generators."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from log_lines import log_lines
from PIL import Image

import mmrel.engine.hooks  # noqa: F401
from mmrel.engine.hooks import KNNHook
from mmrel.evaluation import extract_features
from mmrel.evaluation.loading import build_loader
from mmrel.utils import UsageError


def make_images(root: Path, count: int = 6) -> Path:
    """Two classes, dark and bright, of 16-pixel images."""
    rng = np.random.default_rng(0)
    for label, base in (("bright", 200), ("dark", 30)):
        folder = root / label
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = (base + rng.integers(-20, 20, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=95)
    return root


def loader(root: Path, with_label: bool = True) -> dict:
    return dict(
        batch_size=5,
        num_workers=0,
        collate_fn=dict(type="default_collate"),
        dataset=dict(
            type="mmrel.ImageFolder",
            data_root=str(root),
            with_label=with_label,
            pipeline=[dict(type="mmrel.DecodeImage"), dict(type="mmpretrain.PackInputs")],
        ),
    )


def hook(root: Path, **changes: object) -> KNNHook:
    settings = dict(bank_dataloader=loader(root), val_dataloader=loader(root), k=(1, 3))
    return KNNHook(**{**settings, **changes})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("network", ["teacher", "student"])
@pytest.mark.parametrize("feature", ["cls", "avg", "cls+avg"])
def test_evaluate__tells_dark_from_bright(images: Path, network: str, feature: str) -> None:
    model = tiny.build(tiny.dino())
    result = hook(images, network=network, feature=feature).evaluate(model)
    assert result["top1_k1"] == result["top1_k3"] == 100.0
    assert 0 < result["feature_std"] <= 1.1


def test_evaluate__leaves_modes_and_generators_alone(images: Path) -> None:
    model = tiny.build(tiny.dino())
    model.teacher.backbone.layers[0].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    hook(images).evaluate(model)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])


def test_evaluate__training_goes_on_afterwards(images: Path) -> None:
    """Nothing that was cached in inference mode may come back in training."""
    model = tiny.build(tiny.dino())
    hook(images, network="student").evaluate(model)
    losses = model(tiny.view_batch(), mode="loss")
    sum(value for key, value in losses.items() if "loss" in key).backward()


def test_evaluate__bank_is_cut_evenly(images: Path) -> None:
    one = hook(images, max_bank=4)
    one.evaluate(tiny.build(tiny.dino()))
    dataset = one._loaders[0].dataset
    assert [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))] == [0, 0, 1, 1]


def test_evaluate__unlabelled_images(images: Path) -> None:
    with pytest.raises(ValueError, match="one folder per class"):
        hook(images, bank_dataloader=loader(images, with_label=False)).evaluate(
            tiny.build(tiny.dino())
        )


def test_network__unknown(images: Path) -> None:
    with pytest.raises(ValueError, match="'teacher' or 'student'"):
        hook(images, network="momentum").evaluate(tiny.build(tiny.dino()))


def test_hook__logs_the_curve(images: Path, tmp_path: Path) -> None:
    import engine_toys

    settings = engine_toys.config(tmp_path, model=tiny.dino(), log_level="INFO")
    settings["model"]["type"] = "ToyDINO"
    settings["train_cfg"]["max_epochs"] = 3
    settings["default_hooks"]["checkpoint"] = None
    knn = dict(type="mmrel.KNNHook", interval=2, at_start=True, k=(1, 3))
    settings["custom_hooks"] = [
        dict(type="mmrel.TeacherUpdateHook"),
        dict(knn, bank_dataloader=loader(images), val_dataloader=loader(images)),
    ]
    runner = engine_toys.build(settings)
    runner.train()
    lines = (Path(runner.log_dir) / "vis_data" / "scalars.json").read_text().splitlines()
    curve = [line for line in map(json.loads, lines) if "knn/top1_k3" in line]
    assert [(line["epoch"], line["step"]) for line in curve] == [(0, 0), (2, 12), (3, 18)]
    log = next(Path(runner.log_dir).glob("*.log")).read_text()
    assert "Epoch(knn) [2]  knn/top1_k1: " in log
    assert len(runner.message_hub.get_scalar("knn/top1_k3").data[0]) == 3


def test_evaluate__a_class_that_validation_lacks(tmp_path: Path) -> None:
    """Identical images are all right, though each folder lists its own classes."""
    bank = make_images(tmp_path / "bank")
    val = make_images(tmp_path / "val")
    shutil.rmtree(val / "bright")
    with log_lines() as lines:
        result = hook(bank, val_dataloader=loader(val), k=(1,)).evaluate(tiny.build(tiny.dino()))
    assert result["top1_k1"] == 100.0
    assert any("has no image of 1 of the 2 classes of the bank: bright" in line for line in lines)


def test_evaluate__a_class_that_the_bank_lacks(tmp_path: Path) -> None:
    bank, val = make_images(tmp_path / "bank"), make_images(tmp_path / "val")
    shutil.rmtree(bank / "bright")
    with pytest.raises(UsageError, match="never be classified rightly: bright"):
        hook(bank, val_dataloader=loader(val)).evaluate(tiny.build(tiny.dino()))


def test_evaluate__says_what_max_bank_leaves_out(images: Path) -> None:
    with log_lines() as lines:
        hook(images, max_bank=1, k=(1, 3)).evaluate(tiny.build(tiny.dino()))
    assert any("k=3 takes all 1 images of the bank" in line for line in lines)
    assert any("6 of 12 images are of classes (label 1) without an image" in line for line in lines)


def test_evaluate__unreadable_files_do_not_count_twice(tmp_path: Path) -> None:
    """Another image replaces them in the batch; it has its own place already."""
    bank = make_images(tmp_path / "bank")
    val = make_images(tmp_path / "val", count=2)
    (val / "dark" / "9.jpg").write_bytes(b"")
    data = build_loader(loader(val))
    features, labels = extract_features(
        lambda images: images.mean(dim=(2, 3)), tiny.build(tiny.dino()).data_preprocessor, data
    )
    assert len(data.dataset) == 5 and labels.tolist() == [0, 0, 1, 1] and len(features) == 4
    with log_lines() as lines:
        hook(bank, val_dataloader=loader(val), k=(1,)).evaluate(tiny.build(tiny.dino()))
    assert any("1 of 5 images are left out of the k-NN" in line for line in lines)


def test_loader__refuses_no_samples(images: Path) -> None:
    with pytest.raises(ValueError, match="at most 0 images are asked for"):
        build_loader(loader(images), 0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (dict(val_dataloader="missing"), "missing"),
        (dict(bank_dataloader="unlabelled"), "one folder per class"),
        (dict(network="momentum"), "'teacher' or 'student'"),
        (dict(feature="patch"), "'patch'"),
    ],
)
def test_hook__is_tried_before_the_first_step(
    images: Path, tmp_path: Path, changes: dict, error: str
) -> None:
    """With an interval of 10 epochs, each of these used to end the run after the tenth."""
    import engine_toys

    special = {"missing": loader(tmp_path / "none"), "unlabelled": loader(images, with_label=False)}
    settings = engine_toys.config(tmp_path, model=dict(tiny.dino(), type="ToyDINO"))
    knn = dict(type="mmrel.KNNHook", bank_dataloader=loader(images), val_dataloader=loader(images))
    changes = {key: special.get(value, value) for key, value in changes.items()}
    settings["custom_hooks"] = [
        dict(type="mmrel.TeacherUpdateHook"),
        dict(knn, interval=10, **changes),
    ]
    runner = engine_toys.build(settings)
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(
    "changes", [dict(k=()), dict(k=(0,)), dict(temperature=0), dict(interval=0), dict(max_bank=0)]
)
def test_hook__options_that_cannot_be(images: Path, changes: dict) -> None:
    with pytest.raises(ValueError, match=r"The usual values are \(10, 20\)"):
        hook(images, **changes)


def test_hook__a_fault_in_the_evaluation_costs_no_checkpoint(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the resumed run makes up for the evaluation: its curve has every epoch once."""
    import engine_toys

    settings = engine_toys.config(tmp_path, model=dict(tiny.dino(), type="ToyDINO"))
    settings["train_cfg"]["max_epochs"] = 2
    settings["default_hooks"]["checkpoint"] |= dict(by_epoch=True)
    knn = dict(type="mmrel.KNNHook", bank_dataloader=loader(images), val_dataloader=loader(images))
    settings["custom_hooks"] = [dict(type="mmrel.TeacherUpdateHook"), dict(knn, k=(3,))]
    evaluate, calls = KNNHook.evaluate, []

    def failing(self: KNNHook, model: torch.nn.Module) -> dict:
        calls.append(model)
        if len(calls) == 2:
            raise OSError("the storage is gone")
        return evaluate(self, model)

    monkeypatch.setattr(KNNHook, "evaluate", failing)
    with pytest.raises(OSError, match="the storage is gone"):
        engine_toys.build(settings).train()
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]
    runner = engine_toys.build({**settings, "resume": True})
    runner.train()
    assert len(runner.message_hub.get_scalar("knn/top1_k3").data[0]) == 2
    assert len(calls) == 3
