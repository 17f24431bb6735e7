"""tools/extract_features.py: the file, its order and labels, unreadable images, and k-NN as tools/knn.py has it."""

import importlib.util
import json
import multiprocessing
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.apis import extract_features, get_backbone
from mmrel.evaluation import knn_accuracy

ROOT = Path(__file__).parents[2]
CLASSES = ("bark", "sand", "sky")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "extract_features.py"
    spec = importlib.util.spec_from_file_location("extract_features_tool", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits of three classes, of which the last has no images in `val`; sizes differ."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 7), ("val", 5)):
        for number, name in enumerate(CLASSES):
            folder = root / split / name
            (folder / "deep").mkdir(parents=True)
            for i in range(0 if (split, name) == ("val", "sky") else count):
                tone = 90 + 25 * number + rng.normal(0, 25, 3)
                base = tone + rng.integers(-80, 80, (20 + i, 26, 3))
                where = folder / "deep" if i == 2 else folder
                Image.fromarray(base.clip(0, 255).astype(np.uint8)).save(where / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def config(images: Path) -> Path:
    """A pretraining whose k-NN hook has the tool's protocol, at 20 and 16 pixels."""
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="ResizeEdge", scale=20, edge="short", backend="pillow", interpolation="bicubic"),
        dict(type="CenterCrop", crop_size=16),
        dict(type="PackInputs"),
    ]
    loaders = {
        split: dict(
            batch_size=4,
            num_workers=0,
            collate_fn=dict(type="default_collate"),
            dataset=dict(
                type="mmrel.ImageFolder",
                data_root=str(images / split),
                with_label=True,
                pipeline=pipeline,
            ),
        )
        for split in ("train", "val")
    }
    hook = dict(
        type="mmrel.KNNHook", bank_dataloader=loaders["train"], val_dataloader=loaders["val"]
    )
    path = images / "config.py"
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        "custom_imports = dict(imports=['mmrel'], allow_failed_imports=False)\n"
        f"model = {tiny.dino()!r}\ncustom_hooks = [{hook!r}]\n"
    )
    return path


@pytest.fixture(scope="module")
def checkpoint(images: Path, config: Path) -> Path:
    model = tiny.build(tiny.dino())
    with torch.no_grad():
        model.teacher.backbone.layers[0].ln1.weight.mul_(1.5)
    path = images / "epoch_1.pth"
    meta = dict(cfg=config.read_text())
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return path


def arguments(*given: object) -> list[str]:
    sizes = ["--image-size", "16", "--resize", "20", "--workers", "0", "--device", "cpu"]
    return [*map(str, given), *sizes]


def test_tool__file(tool, images, checkpoint, tmp_path, capsys) -> None:
    """Features of every image in the order of the paths; plain arrays, no object to unpickle."""
    out = tmp_path / "new" / "features.npz"
    assert tool.main(arguments(checkpoint, images / "val", out, "--batch-size", 4)) == 0
    output = capsys.readouterr()
    assert f"{out}: 10 x 12 features, 3 classes" in output.out and "10/10" in output.err
    assert "ETA" in output.err
    with np.load(out, allow_pickle=False) as found:
        assert set(found) == {"features", "labels", "classes", "paths"}
        features, labels, paths = found["features"], found["labels"], found["paths"]
        assert found["classes"].tolist() == list(CLASSES)
    assert (features.dtype, labels.dtype) == (np.float32, np.int64)
    assert paths.tolist()[:5] == [f"bark/{i}.png" for i in (0, 1, 3, 4)] + ["bark/deep/2.png"]
    assert labels.tolist() == [0] * 5 + [1] * 5
    backbone = get_backbone(checkpoint)
    files = [images / "val" / path for path in paths]
    expected = extract_features(backbone, files, resize=20, crop=16)
    torch.testing.assert_close(torch.from_numpy(features), expected)
    assert [path.name for path in out.parent.iterdir()] == ["features.npz"]
    assert out.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("network", "feature"), [("teacher", "cls"), ("student", "avg")])
def test_tool__knn_is_that_of_the_knn_tool(
    tool, images, config, checkpoint, tmp_path, monkeypatch, network, feature
) -> None:
    """The accuracies and, to 1e-5, the normalised features themselves."""
    report = tmp_path / "knn.json"
    command = ["knn.py", config, checkpoint, "--k", 1, 3, 20, "--out", report]
    command += ["--network", network, "--feature", feature]
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    monkeypatch.setattr("mmrel.engine.hooks.knn.knn_accuracy", _listening(seen))
    runpy.run_path(str(ROOT / "tools" / "knn.py"), run_name="__main__")
    splits = []
    for split in ("train", "val"):
        out = tmp_path / f"{split}.npz"
        options = ("--network", network, "--feature", feature)
        assert tool.main(arguments(checkpoint, images / split, out, *options)) == 0
        with np.load(out) as found:
            splits.append([torch.from_numpy(found[name]) for name in ("features", "labels")])
    expected = json.loads(report.read_text())
    for name, value in knn_accuracy(splits[0], splits[1], (1, 3, 20)).items():
        assert value == pytest.approx(expected[name], abs=1e-5), name
    assert 30 < expected["top1_k1"] < 100
    for (features, _), theirs in zip(splits, seen, strict=True):
        unit = torch.nn.functional.normalize(features, dim=1)
        torch.testing.assert_close(unit, theirs, rtol=1e-5, atol=1e-5)


def _listening(seen: list[torch.Tensor]):
    def listening(bank, val, k, temperature):
        seen.extend([bank[0], val[0]])
        return knn_accuracy(bank, val, k, temperature)

    return listening


def test_tool__flat_folder_has_no_labels(tool, images, checkpoint, tmp_path) -> None:
    """Files that lie directly in the folder get -1, also where others have classes."""
    source, out = tmp_path / "flat", tmp_path / "a.npz"
    source.mkdir()
    for name in ("b.png", "a.png"):
        (source / name).write_bytes((images / "val" / "sand" / "0.png").read_bytes())
    assert tool.main(arguments(checkpoint, source, out)) == 0
    with np.load(out) as found:
        assert found["labels"].tolist() == [-1, -1] and found["classes"].shape == (0,)
        assert found["paths"].tolist() == ["a.png", "b.png"]
    (source / "set").mkdir()
    (source / "set" / "c.png").write_bytes((source / "a.png").read_bytes())
    assert tool.main(arguments(checkpoint, source, out)) == 0
    with np.load(out) as found:
        assert found["labels"].tolist() == [-1, -1, 0] and found["classes"].tolist() == ["set"]


@pytest.fixture
def damaged(images: Path, tmp_path: Path) -> Path:
    """Eight images in two classes, the first of which is none."""
    source = tmp_path / "damaged"
    for name in ("bark", "sand"):
        (source / name).mkdir(parents=True)
        for path in (images / "val" / name).glob("*.png"):
            (source / name / path.name).write_bytes(path.read_bytes())
    (source / "bark" / "0.png").write_bytes(b"no image")
    return source


def test_tool__an_unreadable_file_is_left_out_and_listed(
    tool, checkpoint, damaged, tmp_path, capsys
) -> None:
    """No other image takes its row; the list goes when the next run finds nothing."""
    out = tmp_path / "a.npz"
    command = arguments(checkpoint, damaged, out, "--batch-size", 3)
    assert tool.main(command) == 0
    listed = tmp_path / "a.npz.unreadable.jsonl"
    assert f"1 unreadable file(s) left out, see {listed}" in capsys.readouterr().out
    entry = json.loads(listed.read_text())
    assert entry["path"] == str(damaged / "bark" / "0.png")
    assert "cannot identify" in entry["reason"]
    with np.load(out) as found:
        paths, features = found["paths"].tolist(), torch.from_numpy(found["features"])
    assert len(paths) == 7 and "bark/0.png" not in paths
    expected = extract_features(
        get_backbone(checkpoint), [damaged / path for path in paths], resize=20, crop=16
    )
    torch.testing.assert_close(features, expected)
    (damaged / "bark" / "0.png").unlink()
    assert tool.main(command) == 0 and not listed.exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_tool__many_unreadable_files_stop_it(
    tool, checkpoint, damaged, tmp_path, capsys, workers
) -> None:
    """Two of eight are more than one and 0.1 %; the processes count together, and the message is one line."""
    (damaged / "sand" / "0.png").write_bytes(b"")
    out = tmp_path / "a.npz"
    command = arguments(checkpoint, damaged, out, "--batch-size", 3)
    command[command.index("--workers") + 1] = str(workers)
    assert tool.main(command) == 1
    assert not multiprocessing.active_children()
    error = capsys.readouterr().err.rstrip().splitlines()[-1]
    assert error.startswith("extract_features: ") and "2 of 8 files" in error
    assert "max_bad_fraction" in error and f"{out}.unreadable.jsonl" in error
    assert not out.exists()
    if not workers:
        assert tool.main([*command, "--max-bad-fraction", "0.25"]) == 0
        assert len(np.load(out)["paths"]) == 6


def test_tool__random_weights_and_mean_patch(tool, images, config, tmp_path) -> None:
    out = tmp_path / "a.npz"
    assert tool.main(arguments(config, images / "val", out, "--feature", "cls+avg")) == 0
    assert np.load(out)["features"].shape == (10, 24)


def test_tool__blocks_before_the_norm_of_rectangles(tool, images, checkpoint, tmp_path) -> None:
    out = tmp_path / "a.npz"
    shape = ["--image-size", "16", "24", "--out-indices", "-2", "-1", "--no-norm"]
    given = [*map(str, (checkpoint, images / "val", out)), *shape, "--workers", "0"]
    assert tool.main([*given, "--device", "cpu"]) == 0
    with np.load(out) as file:
        paths = [images / "val" / name for name in file["paths"].tolist()]
        options = dict(out_indices=(0, 1), out_norm=False, crop=(16, 24))
        expected = extract_features(get_backbone(checkpoint), paths, **options)
        assert expected.shape == (10, 24)
        np.testing.assert_allclose(file["features"], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_tool__failed_write_leaves_the_old_file(tool, images, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "a.npz"
    out.write_bytes(b"old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    assert tool.main(arguments(checkpoint, images / "val", out)) == 1
    assert out.read_bytes() == b"old" and list(tmp_path.iterdir()) == [out]


def lacking(checkpoint: Path, folder: Path) -> Path:
    """The same file without one of the teacher's tensors."""
    content = torch.load(checkpoint, weights_only=True)
    del content["state_dict"]["teacher.backbone.layers.1.ln2.bias"]
    torch.save(content, folder / "lacking.pth")
    return folder / "lacking.pth"


def test_tool__usage_errors(tool, images, checkpoint, tmp_path, capsys) -> None:
    val, out = images / "val", tmp_path / "a.npz"
    (tmp_path / "empty").mkdir()
    cases = [
        ((tmp_path / "no.pth", val, out), "does not exist"),
        ((checkpoint, tmp_path / "none", out), "none' is missing; it must be a folder"),
        ((checkpoint, tmp_path / "empty", out), "holds no image"),
        ((checkpoint, val, tmp_path), "is a folder; give the name of the file"),
        ((checkpoint, val, checkpoint / "a.npz"), "File exists"),
        ((checkpoint, val, out, "--resize", 8), "crop is 16 and resize is 8"),
        ((checkpoint, val, out, "--image-size", 15), "not a whole number of 4-pixel patches"),
        ((checkpoint, val, out, "--device", "abacus"), "--device abacus cannot be used"),
        ((checkpoint, val, out, "--max-bad-fraction", 2), "max_bad_fraction is 2.0"),
        ((checkpoint, val, out, "--out-indices", 2), "not valid for 2 blocks"),
        ((checkpoint, val, out, "--image-size", 1, 2, 3), "--image-size is [1, 2, 3]"),
        ((lacking(checkpoint, tmp_path), val, out), "1 key(s) missing: layers.1.ln2.bias"),
    ]
    for given, message in cases:
        sizes = ["--image-size", "16", "--resize", "20", "--workers", "0", "--device", "cpu"]
        assert tool.main([*sizes, *map(str, given)]) == 1, given
        assert message in capsys.readouterr().err
        assert not out.exists()
    with pytest.raises(SystemExit):
        tool.main([*map(str, (checkpoint, val, out)), "--batch-size", "0"])


def test_tool__classes_of_another_file(tool, images, checkpoint, tmp_path, capsys) -> None:
    """Without a folder, the other classes keep the numbers that they have in the training file."""
    part = tmp_path / "part"
    shutil.copytree(images / "val" / "sand", part / "sand")
    train, out = tmp_path / "train.npz", tmp_path / "part.npz"
    assert tool.main(arguments(checkpoint, images / "train", train)) == 0
    assert tool.main(arguments(checkpoint, part, out, "--classes-from", train)) == 0
    with np.load(out) as file:
        assert file["classes"].tolist() == list(CLASSES) and set(file["labels"].tolist()) == {1}
    (part / "sand").rename(part / "snow")
    assert tool.main(arguments(checkpoint, part, out, "--classes-from", train)) == 1
    assert "1 class(es) that are not among the 3 given ones: snow" in capsys.readouterr().err
    assert tool.main(arguments(checkpoint, part, out, "--classes-from", checkpoint)) == 1
    assert "holds no classes" in capsys.readouterr().err


def test_tool__an_archive_as_the_folder(tool, images, checkpoint, tmp_path) -> None:
    archive = shutil.make_archive(str(tmp_path / "val"), "zip", images / "val")
    outs = tmp_path / "folder.npz", tmp_path / "archive.npz"
    for source, out in zip((images / "val", archive), outs, strict=True):
        assert tool.main(arguments(checkpoint, source, out)) == 0
    with np.load(outs[0]) as wanted, np.load(outs[1]) as found:
        for name in ("features", "labels", "paths"):
            assert np.array_equal(found[name], wanted[name])
        assert found["classes"].tolist() == ["bark", "sand"]


def test_tool__normalises_as_told(tool, images, checkpoint, tmp_path) -> None:
    folder, out = images / "val" / "sand", tmp_path / "x.npz"
    numbers = ["--mean", "100", "110", "120", "--std", "40", "50", "60"]
    assert tool.main(arguments(checkpoint, folder, out, *numbers)) == 0
    backbone = get_backbone(checkpoint, mean=[100, 110, 120], std=[40, 50, 60])
    with np.load(out) as file:
        paths = [folder / name for name in file["paths"].tolist()]
        expected = extract_features(backbone, paths, resize=20, crop=16)
        np.testing.assert_allclose(file["features"], expected.numpy(), rtol=1e-4, atol=1e-5)
