"""tools/finetune.py: from a user's files to a detector or segmentor that predicts, and what it refuses."""

import runpy
import sys
from pathlib import Path

import annotated
import numpy as np
import pytest
import torch
from annotated import labels
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

from mmrel.checkpoints.conversion import to_official
from mmrel.launch.safe_loading import restore_loading
from mmrel.models.backbones import ViT

TOOL = Path(__file__).parents[2] / "tools" / "finetune.py"
WIDTH = 16


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in DINO's layout: four blocks, patches of 8 pixels."""
    arch = dict(embed_dims=WIDTH, num_layers=4, num_heads=2, feedforward_channels=32)
    torch.manual_seed(0)
    model = ViT(arch=arch, img_size=32, patch_size=8)
    path = tmp_path_factory.mktemp("backbone") / "dino.pth"
    torch.save(to_official(model.state_dict(), "dino")[0], path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    try:
        runpy.run_path(str(TOOL), run_name="__main__")
    finally:
        restore_loading()


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_detect__from_coco_to_predictions(
    tmp_path: Path,
    backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mmdet")
    content = annotated.coco(4)
    content["annotations"] = content["annotations"][:4]
    data, work = annotated.write_coco_set(tmp_path / "data", content), tmp_path / "work"
    options = ("--backbone", backbone, "--num-heads", 2, "--work-dir", work)
    run(monkeypatch, "detect", data, *options, "--iters", 2, "--batch", 1)
    printed = capsys.readouterr().out
    for text in (
        "Mask R-CNN",
        "3 + 1",
        "cat 3",
        "box AP",
        "mask AP",
        "DetInferencer",
        "best check",
    ):
        assert text in printed
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        "annotations.json",
        *(f"{n}.png" for n in range(4)),
    }
    assert Image.open(work / "predictions.png").width > 1000
    from mmdet.apis import DetInferencer

    best = next(work.glob("best_*.pth"))
    inferencer = DetInferencer(
        str(work / "detect.py"), str(best), device="cpu", show_progress=False
    )
    found = inferencer(str(tmp_path / "data" / "0.png"), out_dir=str(tmp_path / "out"))
    assert set(found["predictions"][0]) == {"labels", "scores", "bboxes", "masks"}
    assert inferencer.visualizer.dataset_meta["classes"] == ["cat"]
    assert "holds checkpoints of another run" in refused(
        monkeypatch, capsys, "detect", data, *options
    )


def test_segment__from_masks_to_predictions_and_on(
    tmp_path: Path,
    backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mmseg")
    root = annotated.write_masks(tmp_path / "data", [labels(0, 1, 255)] * 3)
    work = tmp_path / "work"
    options = ("--backbone", backbone, "--num-heads", 2, "--work-dir", work)
    run(monkeypatch, "segment", root, *options, "--iters", 2, "--batch", 2)
    printed = capsys.readouterr().out
    for text in ("UperNet", "2 + 1", "mean IoU", "MMSegInferencer", "255 is ignored"):
        assert text in printed
    assert Image.open(work / "predictions.png").width > 500
    more = ("train_cfg.max_iters=3",)
    run(monkeypatch, "segment", root, *options, "--resume", "--cfg-options", *more)
    assert (work / "iter_3.pth").is_file()
    from mmseg.apis import MMSegInferencer

    best = next(work.glob("best_*.pth"))
    inferencer = MMSegInferencer(str(work / "segment.py"), str(best), device="cpu")
    found = inferencer(str(root / "images" / "0.jpg"))["predictions"]
    assert found.shape == (30, 40) and set(np.unique(found)) <= {0, 1}


def dry(
    monkeypatch: pytest.MonkeyPatch, task: str, data: Path, backbone: Path, *options: object
) -> Config:
    """The configuration that a dry run writes."""
    work = data.parent / "dry"
    common = ("--backbone", backbone, "--num-heads", 2, "--work-dir", work, "--dry-run")
    run(monkeypatch, task, data, *common, *options)
    assert not list(work.glob("*/vis_data"))
    return Config.fromfile(work / "plan" / f"{task}.py")


def test_detect__boxes_alone_make_a_faster_rcnn(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mmdet")
    data = annotated.write_coco_set(tmp_path / "data")
    config = dry(monkeypatch, "detect", data, backbone, "--init", "random", "--epochs", 40)
    assert config.model.type == "FasterRCNN" and config.model.roi_head.mask_head is None
    assert config.model.backbone.init_cfg.checkpoint is None
    assert config.optim_wrapper.paramwise_cfg.layer_decay_rate == 1.0
    assert config.train_cfg.max_iters == 40 and config.train_dataloader.batch_size == 2
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
        dataset = DATASETS.build(config.train_dataloader.dataset)
    assert model.roi_head.bbox_head.num_classes == 2 and not model.roi_head.with_mask
    assert dataset.metainfo["classes"] == ["cat", "dog"]
    assert sorted(dataset[0]["data_samples"].gt_instances.labels.tolist()) == [0, 1]


def test_segment__labels_arrive_as_they_were_drawn(
    tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mmseg")
    root = annotated.write_masks(tmp_path / "data", [labels(3, 9, 255)] * 3)
    config = dry(monkeypatch, "segment", root, backbone)
    with DefaultScope.overwrite_default_scope("mmseg"):
        dataset = DATASETS.build(config.val_dataloader.dataset)
        sample = dataset[0]["data_samples"]
    assert dataset.metainfo["classes"] == ["3", "9"]
    np.testing.assert_array_equal(sample.gt_sem_seg.data[0].numpy(), labels(0, 1, 255))
    assert config.model.decode_head.num_classes == 2


def test_hours__are_measured(
    tmp_path: Path,
    backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mmseg")
    root = annotated.write_masks(tmp_path / "data", [labels(0, 1)] * 3)
    config = dry(monkeypatch, "segment", root, backbone, "--hours", 0.1)
    printed = capsys.readouterr().out
    assert f"seconds per step: {config.train_cfg.max_iters} steps in 0.1 hours" in printed
    assert 10 < config.train_cfg.max_iters < 100_000


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("layer1.0.conv1.weight", "conv1.weight"), "a ResNet"),
        (("layers.0.blocks.0.attn.relative_position_bias_table",), "a Swin transformer"),
    ],
)
def test_refused__a_checkpoint_of_another_network(
    tmp_path: Path,
    keys: tuple[str, ...],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "other.pth"
    torch.save({key: torch.zeros(4, 4) for key in keys}, file)
    data = annotated.write_coco_set(tmp_path / "data")
    options = ("--backbone", file, "--work-dir", tmp_path / "w")
    told = refused(monkeypatch, capsys, "detect", data, *options)
    assert f"--backbone {file} cannot be used" in told and kind in told


def test_refused__arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "sub"
    data.mkdir()
    common = ("detect", data, "--backbone", tmp_path / "no.pth", "--work-dir", tmp_path / "w")
    for options, message in (
        (("--epochs", 1, "--iters", 2), "give one of --epochs, --iters and --hours"),
        (("--hours", "inf"), "inf is not above 0"),
        (("--cfg-options", "a"), "'a' is no key=value"),
        (("--resume",), "There is nothing to resume in"),
        ((), "There is no checkpoint at"),
        (("--work-dir", tmp_path / "sub" / "w"), "lies inside the data"),
    ):
        assert message in refused(monkeypatch, capsys, *common, *options)
