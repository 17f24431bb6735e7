"""Recipes through the host's runner on tiny sets in the true folders: a training iteration, then an evaluation.

The network and the sizes of images and crops are shrunk; all else is as shipped: paths, pipelines, loaders, losses,
optimiser, schedule, metric.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import downstream_builds as builds
import pytest
import torch
import true_layouts
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmrel.launch.runner import LaunchedRunner

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

RECIPES = [p for p in (*builds.DETECTION, *builds.SEGMENTATION) if not p.stem.endswith("_scenes")]
FAST = {
    "mask-rcnn_vit-small-p16_fpn_8xb2-amp-ms-crop-1x_coco",
    "vit-small-p16_linear_4xb4-amp-160k_ade20k-512x512",
    "vit-small-p16_upernet_4xb4-amp-40k_voc12aug-512x512",
    "vit-small-p16_patch-linear_8xb32-amp-100e_imagenet-s919-224x224",
}
SIZES = ("scale", "scales", "crop_size", "size", "max_size")
METRICS = {"mmdet": "coco/segm_mAP", "mmseg": "mIoU"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layouts")
    for make in true_layouts.MAKERS.values():
        make(root / "data")
    true_layouts.make_imagenet_s(root / "data", 300)
    true_layouts.make_imagenet_s(root / "data", 50)
    return root


@pytest.fixture(autouse=True)
def here(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work where ``data`` is, as a user does, and leave no scope behind."""
    monkeypatch.chdir(folders)
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


def _smaller(value: Any, factor: int) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_smaller(item, factor) for item in value)
    return max(1, value // factor)


def shrunk(path: Path, work_dir: Path) -> Config:
    """The recipe on a small network, small crops and one process."""
    config = builds.shrink(builds.load(path))
    factor = 4 if "imagenet-s" in path.stem else 8
    loaders = [config[f"{name}_dataloader"] for name in ("train", "val", "test")]
    # What a variable of the file names several times may be one object, which must shrink once.
    parts = [*loaders, config.get("tta_pipeline", [])]
    for step in {id(step): step for part in parts for step in builds.walk(part)}.values():
        for key in SIZES:
            if step.get("type") and step.get(key) is not None:
                step[key] = _smaller(step[key], factor)
    if "imagenet-s" in path.stem:
        config.model.data_preprocessor.size = (56, 56)
    for loader in loaders:
        loader.update(num_workers=0, persistent_workers=False, batch_size=min(2, loader.batch_size))
    if "roi_head" in config.model:
        config.model.test_cfg.rcnn.score_thr = 0.0  # an untrained network is sure of nothing
    length = "max_iters" if "max_iters" in config.train_cfg else "max_epochs"
    config.train_cfg.update({length: 1, "val_interval": 1})
    config.optim_wrapper.type = "OptimWrapper"  # the host's AMP wrapper needs a GPU
    config.merge_from_dict(dict(work_dir=str(work_dir), log_level="WARNING"))
    return config


def _cases() -> list[Any]:
    return [
        pytest.param(p, id=p.stem, marks=() if p.stem in FAST else (pytest.mark.slow,))
        for p in RECIPES
    ]


@pytest.mark.parametrize("path", _cases())
def test_recipe__trains_and_evaluates(path: Path, tmp_path: Path) -> None:
    config = shrunk(path, tmp_path)
    runner = Runner.from_cfg(config)
    before = {}
    runner.register_hook(_Remember(before), priority="VERY_LOW")
    runner.train()
    for name, param in runner.model.named_parameters():
        moved = not torch.equal(param.detach(), before[name])
        # A rate that starts at a millionth of itself moves no float32 weight of 1 or more.
        assert moved <= param.requires_grad, name
    assert any(not torch.equal(p.detach(), before[n]) for n, p in runner.model.named_parameters())
    score = runner.message_hub.get_scalar(f"val/{METRICS[config.default_scope]}").current()
    assert -1 <= score <= 100  # COCO's AP is -1 where nothing is to be found
    assert list(tmp_path.glob("*.pth"))


def test_tta__averages_twelve_predictions_of_a_checkpoint(tmp_path: Path) -> None:
    """What ``tools/test.py CONFIG CHECKPOINT --tta`` does, on PASCAL VOC."""
    (path,) = builds.CONFIGS.glob("segmentation/vit-small-p16_linear*voc12-*")
    config = shrunk(path, tmp_path)
    weights = builds.build(config, "mmseg").state_dict()
    torch.save(dict(state_dict=weights, meta={}), tmp_path / "trained.pth")
    config.load_from = str(tmp_path / "trained.pth")
    config.randomness = dict(seed=7)  # what the file does not give would be other weights
    # The lines of enable_tta() in tools/test.py.
    config.model = dict(**config.tta_model, module=config.model)
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    runner = LaunchedRunner.from_cfg(config)
    counts: list[int] = []
    merge = runner.model.merge_preds
    runner.model.merge_preds = lambda batch: counts.extend(map(len, batch)) or merge(batch)
    score = runner.test()
    assert counts == [12] * 3 and 0 <= score["mIoU"] <= 100
    for name, value in runner.model.module.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_imagenet_s__masks_of_the_test_set(tmp_path: Path) -> None:
    """The documented command's options: the photos of ``test``, which have no labels, become masks for the server."""
    (path,) = builds.CONFIGS.glob("segmentation/vit-small-p16_patch-linear*s919*")
    config = shrunk(path, tmp_path)
    config.merge_from_dict(
        {
            "test_dataloader.dataset.data_prefix": dict(img_path="test", seg_map_path=None),
            "test_evaluator.format_only": True,
            "test_evaluator.output_dir": str(tmp_path / "masks"),
        }
    )
    assert Runner.from_cfg(config).test() == {}
    found = sorted(p.relative_to(tmp_path / "masks") for p in tmp_path.glob("masks/*/*"))
    assert [p.parent.name for p in found] == list(true_layouts.SYNSETS)
    assert [p.name for p in found] == [f"ILSVRC2012_val_{i + 9:08d}.png" for i in range(3)]
    with Image.open(tmp_path / "masks" / found[0]) as mask:
        assert (mask.mode, mask.size) == ("RGB", true_layouts.SIZE)


class _Remember(Hook):
    """Keeps the weights that training starts from."""

    def __init__(self, kept: dict[str, torch.Tensor]) -> None:
        self.kept = kept

    def before_train(self, runner: Runner) -> None:
        self.kept.update({n: p.detach().clone() for n, p in runner.model.named_parameters()})
