"""SiT's fine-tuning and linear evaluation: head, recipe values, exported weights in, one real epoch in small."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmrel.models.heads import SiTClsHead
from mmrel.structures import TokenViews

CONFIGS = Path(__file__).parents[2] / "configs" / "sit" / "benchmarks"
FINETUNING = sorted(CONFIGS.glob("*deit*.py"))
LINEAR = sorted(CONFIGS.glob("*linear*.py"))
# data, classes, images per step
TABLE = {
    "flowers102": ("flowers102/trainval", 102, 64),
    "pets": ("pets/trainval", 37, 64),
    "cub": ("cub/train", 200, 64),
    "cars": ("cars/train", 196, 64),
    "aircraft": ("aircraft/trainval", 100, 64),
    "stl10": ("stl10/train", 10, 64),
    "cifar10": ("cifar10/train", 10, 64),
    "cifar100": ("cifar100/train", 100, 64),
    "in1k": ("imagenet/train", 1000, 1024),
}
SIDE, CLASSES = 32, 3


def test_head__sizes() -> None:
    """Linear(2d, d), GELU, Linear(d, classes): 333,796 parameters for ViT-S and 100 classes."""
    head = SiTClsHead(100, 384)
    assert sum(p.numel() for p in head.parameters()) == 333_796
    head.init_weights()
    for layer in (head.layers.pre_logits, head.layers.head):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()


def test_head__reads_class_token_and_mean_patch() -> None:
    """Through the neck, against the formula."""
    head = SiTClsHead(5, 12)
    neck = MODELS.build(dict(type="mmrel.TokenFeature", feature="cls+avg"))
    patches = torch.randn(2, 16, 12)
    tokens = TokenViews(torch.randn(2, 12), patches, patches, (4, 4))
    first, last = head.layers.pre_logits, head.layers.head
    feature = torch.cat([tokens.cls, patches.mean(dim=1)], dim=1)
    hidden = torch.nn.functional.gelu(feature @ first.weight.T + first.bias)
    torch.testing.assert_close(head(neck(tokens)), hidden @ last.weight.T + last.bias)


@pytest.mark.parametrize("name", TABLE)
def test_finetuning__values_of_deit(name: str) -> None:
    """DeiT's defaults (arXiv 2012.12877, table 9).

    AdamW 5e-4 per 512 images, decay 0.05, warm-up of 5 epochs from 1e-6, cosine to 1e-5, 300 epochs.
    """
    (path,) = CONFIGS.glob(f"*deit*_{name}.py")
    config = Config.fromfile(path)
    data, classes, batch = TABLE[name]
    assert config.train_dataloader.dataset.data_root == f"data/{data}"
    assert config.model.head.num_classes == config.data_preprocessor.num_classes == classes
    assert config.test_dataloader.dataset.data_root == config.val_dataloader.dataset.data_root
    optim = config.optim_wrapper
    assert optim.optimizer == dict(
        type="AdamW", lr=5e-4 * batch / 512, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05
    )
    assert "clip_grad" not in optim and config.auto_scale_lr.base_batch_size == batch
    warmup, cosine = config.param_scheduler
    assert warmup.start_factor * optim.optimizer.lr == pytest.approx(1e-6)
    assert (warmup.end, cosine.begin, cosine.end, cosine.eta_min) == (5, 5, 300, 1e-5)
    assert config.train_cfg.max_epochs == 300
    assert config.model.backbone.drop_path_rate == 0.1
    assert config.model.head.loss.label_smooth_val == 0.1
    assert [(a.type, a.alpha) for a in config.model.train_cfg.augments] == [
        ("Mixup", 0.8),
        ("CutMix", 1.0),
    ]
    assert config.train_dataloader.sampler == dict(
        type="RepeatAugSampler", shuffle=True, num_repeats=3
    )
    steps = {step["type"]: step for step in config.train_dataloader.dataset.pipeline}
    assert (steps["RandAugment"].magnitude_level, steps["RandAugment"].num_policies) == (9, 2)
    assert steps["RandomErasing"].erase_prob == 0.25 and steps["RandomErasing"].mode == "rand"
    test = {step["type"]: step for step in config.test_dataloader.dataset.pipeline}
    assert (test["ResizeEdge"].scale, test["CenterCrop"].crop_size) == (256, 224)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 100 small images each; RepeatAugSampler draws in multiples of 256."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / str(label)).mkdir()
        for i in range(100):
            pixels = rng.integers(80 * label, 80 * label + 40, (12, 14, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / str(label) / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained tiny backbone, as tools/export_backbone.py writes it."""
    model = tiny.build(tiny.sit(), seed=3)
    state = {f"backbone.{k}": v for k, v in model.teacher.backbone.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "backbone.pth"
    torch.save({"state_dict": state, "meta": {"num_heads": tiny.HEADS}}, path)
    return path


def shrink(config: Config, folders: Path, checkpoint: Path | None, work_dir: Path) -> Config:
    """The same recipe with 32-pixel images, the tiny ViT and one epoch."""
    arch = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
    config.model.backbone.update(arch=arch, patch_size=4, img_size=SIDE)
    config.model.backbone.init_cfg.checkpoint = None if checkpoint is None else str(checkpoint)
    if config.model.backbone.get("frozen_stages"):
        config.model.backbone.frozen_stages = 2
    config.model.head.update(in_channels=12, num_classes=CLASSES)
    config.data_preprocessor.num_classes = CLASSES
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config[name]
        loader.update(num_workers=0, persistent_workers=False, batch_size=64)
        loader.dataset.data_root = str(folders)
        for step in loader.dataset.pipeline:
            for key in ("scale", "crop_size"):
                if key in step:
                    step[key] = SIDE
    config.val_evaluator = config.test_evaluator = dict(type="Accuracy", topk=(1,))
    config.optim_wrapper.type = "OptimWrapper"  # the host's AMP wrapper needs a GPU
    config.train_cfg.update(max_epochs=1, val_interval=1)
    config.work_dir = str(work_dir)
    return config


@pytest.mark.parametrize("path", [*FINETUNING[:1], *LINEAR[:1]], ids=lambda p: p.stem)
def test_benchmark__trains_from_exported_weights(
    path: Path, folders: Path, exported: Path, tmp_path: Path
) -> None:
    """A real epoch through the Runner: the exported weights are in, frozen ones stay, accuracy is measured."""
    config = shrink(Config.fromfile(path), folders, exported, tmp_path)
    runner = Runner.from_cfg(config)
    runner.train()
    given = torch.load(exported, weights_only=True)["state_dict"]
    frozen = "linear" in path.name
    for name, value in runner.model.backbone.state_dict().items():
        if frozen or name == "pos_embed":
            continue
        assert not torch.equal(value, given[f"backbone.{name}"]), f"{name} was not trained"
    if frozen:
        trained = {n for n, p in runner.model.named_parameters() if p.requires_grad}
        assert trained == {"head.fc.weight", "head.fc.bias"}
        for name, value in runner.model.backbone.state_dict().items():
            if name != "pos_embed":  # resized
                assert torch.equal(value, given[f"backbone.{name}"]), name
    assert 0 <= runner.message_hub.get_scalar("val/accuracy/top1").current() <= 100


@pytest.mark.parametrize("path", [*FINETUNING, *LINEAR], ids=lambda p: p.stem)
def test_benchmark__header_and_full_size(path: Path) -> None:
    """The file says what it is; on torch's meta device the real widths fit together."""
    header = path.read_text().split("_base_")[0]
    for word in ("Paper:", "Command:", "Hardware:", "Expected:", path.name):
        assert word in header
    config = Config.fromfile(path)
    config.model.backbone.init_cfg.checkpoint = None
    with torch.device("meta"), DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build({"data_preprocessor": config.data_preprocessor, **config.model})
        scores = model.head(model.extract_feat(torch.empty(2, 3, 224, 224)))
    assert scores.shape == (2, config.model.head.num_classes)


def test_finetuning__refuses_weights_that_do_not_fit(
    folders: Path, exported: Path, tmp_path: Path
) -> None:
    config = shrink(Config.fromfile(FINETUNING[0]), folders, exported, tmp_path)
    config.model.backbone.arch.embed_dims = 24
    config.model.head.in_channels = 24
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build({"data_preprocessor": config.data_preprocessor, **config.model})
        with pytest.raises(ValueError, match="does not fit this ViT"):
            model.init_weights()
