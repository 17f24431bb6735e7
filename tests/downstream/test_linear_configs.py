"""The linear probes' recipes: values against their sources, one training and one evaluation iteration of each."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmrel.models.classifiers.linear_probe import ProbeFeature

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(
    path
    for method in ("dino", "ibot", "sere", "mocov3", "selfpatch")
    for path in CONFIGS.glob(f"{method}/benchmarks/*linear*.py")
)
SWEEP = [round(digit * 10.0**power, 10) for power in range(-4, 1) for digit in range(1, 10)]
DINOV2 = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]
FOUR = [(1, 0), (1, 2), (4, 0), (4, 2)]
SGD, LARS = ("SGD", 0.9, 0.0), ("LARS", 0.9, 0.0)
# features (blocks, avgpool), channels in, rates per 256 images, optimizer, images per step, length (epochs or steps)
TABLE = {
    "dino/vit-small-p16_8xb128-linear-100e": ([(4, 0)], [1536], [0.001], SGD, 1024, 100),
    "dino/vit-base-p16_8xb128-linear-100e": ([(1, 2)], [1536], [0.001], SGD, 1024, 100),
    "dino/vit-small-p16_8xb128-linear-dinov2-12500it": (
        FOUR,
        [384, 768, 1536, 1920],
        DINOV2,
        SGD,
        1024,
        12500,
    ),
    "ibot/vit-small-p16_8xb128-linear-45heads-100e": ([(4, 0)], [1536], SWEEP, SGD, 1024, 100),
    "ibot/vit-base-p16_8xb128-linear-45heads-100e": ([(1, 2)], [1536], SWEEP, SGD, 1024, 100),
    "ibot/vit-base-p16_8xb2048-linear-lars-90e": ([(1, 0)], [768], [0.1], LARS, 16384, 90),
    "sere/vit-small-p16_8xb128-linear-45heads-100e": ([(4, 0)], [1536], SWEEP, SGD, 1024, 100),
    "sere/vit-base-p16_8xb128-linear-45heads-100e": ([(1, 2)], [1536], SWEEP, SGD, 1024, 100),
    "mocov3/vit-small-p16_8xb128-linear-90e": ([(1, 0)], [384], [3.0], SGD, 1024, 90),
    "mocov3/vit-base-p16_8xb128-linear-90e": ([(1, 0)], [768], [3.0], SGD, 1024, 90),
    "selfpatch/vit-small-p16_8xb128-linear-45heads-100e": ([(1, 1)], [384], SWEEP, SGD, 1024, 100),
}
SIDE, CLASSES = 32, 3


@pytest.fixture(autouse=True)
def _unformatted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Runner writes its configuration as it comes: to break the lines of 45 heads nicely takes two seconds."""
    for place in (
        "yapf.yapflib.yapf_api",
        "mmengine.config.config",
    ):  # of today's MMEngine, of 0.10.7
        monkeypatch.setattr(f"{place}.FormatCode", lambda text, **_: (text, False), raising=False)


def name_of(path: Path) -> str:
    return f"{path.parents[1].name}/{path.stem.removesuffix('_in1k')}"


def test_table__names_every_recipe() -> None:
    assert {name_of(path) for path in RECIPES} == set(TABLE)


def built(config: Config) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build({"data_preprocessor": config.data_preprocessor, **config.model})


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_recipe__values_of_the_papers(path: Path) -> None:
    """Evaluation protocols of DINO, iBOT, DINOv2, MAE and MoCo v3, read from what the host would build."""
    config = Config.fromfile(path)
    kinds, channels, rates, (optimizer, momentum, decay), batch, length = TABLE[name_of(path)]
    settings = config.optim_wrapper.optimizer
    assert (settings.type, settings.momentum, settings.weight_decay) == (optimizer, momentum, decay)
    assert config.optim_wrapper.type == "OptimWrapper" and "clip_grad" not in config.optim_wrapper
    assert config.train_dataloader.batch_size * 8 == config.auto_scale_lr.base_batch_size == batch
    heads = config.model.get("heads", [{}])
    keys = config.optim_wrapper.get("paramwise_cfg", {}).get("custom_keys", {})
    found = [settings.lr * keys.get(f"heads.{i}.", {}).get("lr_mult", 1) for i in range(len(heads))]
    assert found == pytest.approx([rate * batch / 256 for _ in kinds for rate in rates])
    assert [keys[f"heads.{i}."]["lr_mult"] for i in range(len(heads)) if len(heads) > 1] == [
        head["lr_mult"] for head in heads if len(heads) > 1
    ]
    with torch.device("meta"):
        model = built(config)
    assert model.kinds == [ProbeFeature(*kind) for kind in kinds for _ in rates]
    assert [head.fc.in_features for head in model.heads[:: len(rates)]] == channels
    cosine = config.param_scheduler[-1]
    assert cosine.get("eta_min", 0) == 0 and cosine.end == length
    assert config.train_cfg.get("max_epochs", config.train_cfg.get("max_iters")) == length
    evaluator = "Accuracy" if len(heads) == 1 else "mmrel.MultiHeadAccuracy"
    assert config.val_evaluator == dict(type=evaluator, topk=(1, 5)) == config.test_evaluator


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_recipe__schedule_and_transforms(path: Path) -> None:
    config, name = Config.fromfile(path), name_of(path)
    train = {step["type"]: step for step in config.train_dataloader.dataset.pipeline}
    assert list(train) == ["LoadImageFromFile", "RandomResizedCrop", "RandomFlip", "PackInputs"]
    method = "bicubic" if "dinov2" in name or "lars" in name else "bilinear"
    crop = dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation=method)
    assert train["RandomResizedCrop"] == crop and train["RandomFlip"].prob == 0.5
    test = {step["type"]: step for step in config.val_dataloader.dataset.pipeline}
    resize = test["ResizeEdge"]
    assert (resize.scale, resize.backend, resize.interpolation) == (256, "pillow", "bicubic")
    assert test["CenterCrop"].crop_size == 224 and config.data_preprocessor.to_rgb
    if "lars" in name:
        warmup, cosine = config.param_scheduler
        assert (warmup.type, warmup.end, cosine.begin, cosine.T_max) == ("LinearLR", 10, 10, 80)
        assert warmup.convert_to_iter_based and cosine.convert_to_iter_based
        assert config.optim_wrapper.paramwise_cfg.custom_keys[".bias"] == dict(lars_exclude=True)
    else:
        (cosine,) = config.param_scheduler
        assert (cosine.begin, cosine.T_max) == (0, cosine.end)
        assert cosine.by_epoch is ("dinov2" not in name)
    assert config.model.get("batch_norm", False) is ("lars" in name or "selfpatch" in name)


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_recipe__header_and_backbone(path: Path) -> None:
    """The file says what it is; the backbone is the one that the method's pretraining exports."""
    header = path.read_text(encoding="utf-8").split("_base_")[0]
    for word in ("Paper:", "Command:", "Hardware:", "Expected:", path.name):
        assert word in header
    model = Config.fromfile(path).model.backbone
    method, size = path.parents[1].name, "base" if "vit-base" in path.stem else "small"
    (folder,) = {path.parents[1]}
    pretraining = next(iter(sorted(folder.glob(f"*vit-{size}-p16*_in1k.py"))), None)
    if pretraining is None:
        pytest.skip(f"{method} has no recipe of this size")
    theirs = Config.fromfile(pretraining).model
    theirs = theirs.get("base", theirs).backbone
    for key in ("type", "arch", "patch_size", "with_cls_token", "final_norm"):
        assert model.get(key) == theirs.get(key), key


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of four small images."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / str(label)).mkdir()
        for i in range(4):
            pixels = rng.integers(80 * label, 80 * label + 40, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / str(label) / f"{i}.png")
    return root


def exported(backbone: dict, path: Path) -> dict[str, torch.Tensor]:
    """A pretrained tiny backbone, as tools/export_backbone.py writes it; its tensors."""
    settings = {key: value for key, value in backbone.items() if key != "init_cfg"}
    state = {f"backbone.{k}": v for k, v in tiny.build(settings, seed=3).state_dict().items()}
    torch.save({"state_dict": state, "meta": {"num_heads": tiny.HEADS}}, path)
    return state


def shrink(config: Config, folders: Path, work_dir: Path) -> Config:
    """The same recipe with 32-pixel images, a tiny ViT of as many blocks as are read, and one iteration."""
    arch = dict(embed_dims=12, num_layers=4, num_heads=2, feedforward_channels=24)
    config.model.backbone.update(arch=arch, patch_size=4, img_size=SIDE)
    config.model.backbone.init_cfg.checkpoint = str(work_dir / "backbone.pth")
    config.model.num_classes = config.data_preprocessor.num_classes = CLASSES
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config[name]
        loader.update(num_workers=0, persistent_workers=False, batch_size=12)
        loader.dataset.data_root = str(folders)
        for step in loader.dataset.pipeline:
            for key in ("scale", "crop_size"):
                if key in step:
                    step[key] = SIDE
    config.val_evaluator.topk = config.test_evaluator.topk = (1,)
    config.train_cfg.update(
        {key: 1 for key in ("max_epochs", "max_iters", "val_interval") if key in config.train_cfg}
    )
    config.log_level = "ERROR"  # MMEngine tells of each tensor that it does not train
    config.work_dir = str(work_dir)
    return config


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_recipe__trains_and_evaluates(path: Path, folders: Path, tmp_path: Path) -> None:
    """One iteration each through the host's Runner, from exported weights, which stay as they are."""
    config = shrink(Config.fromfile(path), folders, tmp_path)
    given = exported(dict(config.model.backbone), tmp_path / "backbone.pth")
    runner = Runner.from_cfg(config)
    runner.train()
    for key, value in runner.model.backbone.state_dict().items():
        assert torch.equal(value, given[f"backbone.{key}"]), key
    if len(config.model.get("heads", [{}])) == 1:
        assert 0 <= runner.message_hub.get_scalar("val/accuracy/top1").current() <= 100
        return
    rates = [group["lr"] for group in runner.optim_wrapper.optimizer.param_groups]
    assert len(set(rates)) == len(TABLE[name_of(path)][2])
    best = runner.message_hub.get_scalar("val/probe/best_on_val_top1").current()
    each = [
        runner.message_hub.get_scalar(f"val/probe/{name}/top1").current()
        for name in runner.model.head_names
    ]
    assert best == max(each)
    assert next(tmp_path.glob("best_probe_best_on_val_top1_*"))


def test_runner__many_rates_are_separate_runs(folders: Path, tmp_path: Path) -> None:
    """Three epochs of two batches through the Runner: each of three heads ends as in a run of its own."""
    (path,) = CONFIGS.glob("ibot/benchmarks/vit-small*45heads*.py")
    mults = [0.01, 0.1, 1.0]

    def run(chosen: list[int], start: dict[str, torch.Tensor] | None) -> tuple[dict, dict]:
        config = shrink(Config.fromfile(path), folders, tmp_path)
        config.model.heads = [dict(lr_mult=mults[i]) for i in chosen]
        keys = {f"heads.{k}.": dict(lr_mult=mults[i]) for k, i in enumerate(chosen)}
        config.optim_wrapper.paramwise_cfg.custom_keys = keys
        config.train_dataloader.batch_size = 6
        config.train_cfg.update(max_epochs=3, val_interval=3)
        config.param_scheduler[0].update(T_max=3, end=3)
        exported(dict(config.model.backbone), tmp_path / "backbone.pth")
        config.experiment_name = f"{tmp_path.name}_{'_'.join(map(str, chosen))}"
        runner = Runner.from_cfg(config)
        runner.model.init_weights()
        runner.model.init_weights = lambda: None
        if start is not None:
            one = {
                f"0.{k.partition('.')[2]}": v for k, v in start.items() if k[0] == str(chosen[0])
            }
            runner.model.heads.load_state_dict(one)
        begun = {key: value.clone() for key, value in runner.model.heads.state_dict().items()}
        runner.train()
        return begun, runner.model.heads.state_dict()

    begun, together = run([0, 1, 2], None)
    for i in range(3):
        _, alone = run([i], begun)
        for key, value in alone.items():
            torch.testing.assert_close(together[f"{i}{key[1:]}"], value, rtol=0, atol=1e-6)
            moved = (value - begun[f"{i}{key[1:]}"]).abs().max()
            assert moved > 1e-3 * mults[i]
