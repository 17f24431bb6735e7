"""Every pretraining recipe: its values against the published tables, and one real step in a shrunk form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

import mmrel  # noqa: F401

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(CONFIGS.glob("*/*coslr*.py"))

# lr peak, lr end, batch, epochs, clip, global scale, local scale, local crops, teacher temperature (end, warm-up),
# norm_last_layer, frozen epochs, prototypes, arch, decay rule. Sources: SERE's and iBOT's and DINO's README and code.
TABLE = {
    "sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k": (
        (2e-3, 1e-6, 1024, 100, 0.3, (0.4, 1.0), (0.05, 0.4), 10, (0.07, 30)),
        (False, 1, 8192, "deit-small", "sere"),
    ),
    "sere/ibot-sere_vit-base-p16_8xb128-amp-coslr-100e_in1k": (
        (3e-3, 2e-6, 1024, 100, 0.3, (0.32, 1.0), (0.05, 0.32), 10, (0.07, 50)),
        (True, 3, 8192, "deit-base", "sere"),
    ),
    "sere/ibot-sere-2view_vit-small-p16_8xb128-amp-coslr-100e_in1k": (
        (2e-3, 1e-6, 1024, 100, 0.3, (0.14, 1.0), None, 0, (0.07, 30)),
        (False, 1, 8192, "deit-small", "sere"),
    ),
    "sere/dino-sere_vit-small-p16_8xb64-amp-coslr-100e_in1k": (
        (1e-3, 1e-6, 512, 100, 3.0, (0.4, 1.0), (0.05, 0.4), 8, (0.04, 0)),
        (True, 1, 65536, "deit-small", "sere"),
    ),
    "ibot/ibot_vit-small-p16_16xb64-amp-coslr-800e_in1k": (
        (2e-3, 1e-6, 1024, 800, 3.0, (0.25, 1.0), (0.05, 0.25), 10, (0.07, 30)),
        (False, 1, 8192, "deit-small", "dino"),
    ),
    "ibot/ibot_vit-base-p16_16xb64-amp-coslr-400e_in1k": (
        (3e-3, 2e-6, 1024, 400, 0.3, (0.32, 1.0), (0.05, 0.32), 10, (0.07, 50)),
        (True, 3, 8192, "deit-base", "dino"),
    ),
    "dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k": (
        (1e-3, 1e-6, 512, 100, 3.0, (0.4, 1.0), (0.05, 0.4), 8, (0.04, 0)),
        (True, 1, 65536, "deit-small", "dino"),
    ),
    "dino/dino_vit-small-p16_16xb64-amp-coslr-300e_in1k": (
        (2e-3, 1e-6, 1024, 300, 3.0, (0.4, 1.0), (0.05, 0.4), 8, (0.07, 30)),
        (False, 1, 65536, "deit-small", "dino"),
    ),
    "dino/dino_vit-base-p16_16xb64-amp-coslr-400e_in1k": (
        (3e-3, 2e-6, 1024, 400, 0.3, (0.25, 1.0), (0.05, 0.25), 10, (0.07, 50)),
        (True, 3, 65536, "deit-base", "dino"),
    ),
}


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def base_of(config: Config) -> dict:
    return config.model.get("base", config.model)


def step_of(config: Config, transform: str) -> dict:
    return next(s for s in config.train_dataloader.dataset.pipeline if s["type"] == transform)


@pytest.mark.parametrize("name", TABLE)
def test_recipe__published_values(name: str) -> None:
    config = Config.fromfile(CONFIGS / f"{name}.py")
    (peak, end, batch, epochs, clip, large, small, num_local, temperature), rest = TABLE[name]
    frozen_norm, frozen_epochs, prototypes, arch, rule = rest
    optim, base, crops = config.optim_wrapper, base_of(config), step_of(config, "mmrel.MultiCrop")
    lr, decay = config.param_scheduler
    assert (optim.optimizer.lr, lr.end, lr.warmup, optim.clip_grad.max_norm) == (
        peak,
        end,
        10,
        clip,
    )
    assert (optim.optimizer.type, optim.optimizer.betas, optim.optimizer.eps) == (
        "AdamW",
        (0.9, 0.999),
        1e-8,
    )
    assert (optim.optimizer.weight_decay, decay.end, decay.param_name) == (
        0.04,
        0.4,
        "weight_decay",
    )
    assert lr.convert_to_iter_based and decay.convert_to_iter_based
    assert (config.auto_scale_lr.base_batch_size, config.train_cfg.max_epochs) == (batch, epochs)
    assert optim.paramwise_cfg.decay_rule == rule
    hooks = config.default_hooks
    assert (hooks.teacher_update.momentum, hooks.teacher_update.end_momentum) == (0.996, 1.0)
    assert hooks.last_layer_freeze.epochs == frozen_epochs
    assert (crops["global_scale"], crops["num_local"]) == (large, num_local)
    assert small is None or crops["local_scale"] == small
    assert (base.neck.norm_last_layer, base.neck.out_channels) == (frozen_norm, prototypes)
    assert (base.backbone.arch, base.backbone.drop_path_rate) == (arch, 0.1)
    for head in [base.head, *([base.patch_head] if "patch_head" in base else [])]:
        assert head.student_temperature == 0.1
        given = head.teacher_temperature
        schedule = dict(start=0.04, end=temperature[0], warmup_epochs=temperature[1])
        assert given == (schedule if temperature[1] else temperature[0])


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_recipe__file_says_what_it_is(path: Path) -> None:
    """The header names paper, command, hardware and expected result; the name says the batch."""
    header = path.read_text().split("_base_")[0]
    for word in ("Paper:", "Command:", "Hardware:", "Expected:", path.name):
        assert word in header, f"{path.name} lacks {word} in its header"
    config = Config.fromfile(path)
    gpus, batch = (int(x) for x in path.stem.split("_")[2].split("-")[0].split("xb"))
    assert config.train_dataloader.batch_size == batch
    assert config.auto_scale_lr.base_batch_size == gpus * batch


@pytest.mark.parametrize("path", [p for p in RECIPES if "ibot" in p.name], ids=name_of)
def test_recipe__masks(path: Path) -> None:
    mask = step_of(Config.fromfile(path), "mmrel.BlockMask")
    assert (mask["ratios"], mask["spreads"]) == ((0.0, 0.3), (0.0, 0.2))


def test_sere__recipes_differ_in_their_base_only() -> None:
    """SERE is an add-on: below its header, a recipe holds the base line and the same lines as the others."""
    bodies = set()
    for name in (
        "ibot-sere_vit-small-p16_8xb128",
        "ibot-sere_vit-base-p16_8xb128",
        "dino-sere_vit-small-p16_8xb64",
    ):
        text = (CONFIGS / "sere" / f"{name}-amp-coslr-100e_in1k.py").read_text()
        bodies.add(
            "\n".join(
                line for line in text.splitlines() if line[:1] != "#" and "_base_ = [" not in line
            )
        )
    assert len(bodies) == 1


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (50 + 3 * i, 60, 3), dtype=np.uint8)).save(
            root / f"{i}.jpg"
        )
    return root


def shrink(config: Config, photos: Path, work_dir: Path) -> Config:
    base = base_of(config)
    arch = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
    base.backbone.update(arch=arch, img_size=32, patch_size=8)
    base.neck.update(in_channels=24, out_channels=16, hidden_channels=32, bottleneck_channels=8)
    for head in ("head", "patch_head"):
        if head in base:
            base[head].out_channels = 16
    step_of(config, "mmrel.MultiCrop").update(global_size=32, local_size=16)
    if "BlockMask" in str(config.train_dataloader):
        step_of(config, "mmrel.BlockMask").update(patch_size=8)
    config.train_dataloader.update(
        batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False
    )
    config.train_dataloader.dataset.data_root = str(photos)
    # fp16 skips the first steps while it finds its loss scale
    config.optim_wrapper.precision = "fp32"
    config.custom_hooks = []
    config.train_cfg.max_epochs = 1
    config.work_dir = str(work_dir)
    return config


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_recipe__trains_in_shrunk_form(path: Path, photos: Path, tmp_path: Path) -> None:
    """Two real iterations through the Runner: finite losses, a checkpoint, a teacher that moved."""
    config = shrink(Config.fromfile(path), photos, tmp_path)
    runner = Runner.from_cfg(config)
    runner.train()
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=True)["state_dict"]
    assert all(torch.isfinite(v).all() for v in saved.values())
    centers = [k for k in saved if k.endswith("center.value")]
    assert centers and all(bool(saved[k].any()) for k in centers)
    teacher, student = (saved[f"{p}backbone.layers.0.ln1.bias"] for p in ("teacher.", ""))
    assert bool(teacher.any()) and not torch.equal(teacher, student)
