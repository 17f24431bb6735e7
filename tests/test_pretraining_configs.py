"""Every pretraining recipe: its values against the published tables, and one real step in a shrunk form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

import mmrel  # noqa: F401
from mmrel.engine.automatic import settle_length
from mmrel.ops.schedules import cosine_schedule
from mmrel.utils.network_keys import settle_network

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
    **dict.fromkeys(
        (
            "ibot/ibot_vit-large-p16_16xb64-amp-coslr-250e_in1k",
            "ibot/ibot-fsdp_vit-large-p16_64xb16-amp-coslr-250e_in1k",
        ),
        (
            (2e-3, 1e-6, 1024, 250, 0.3, (0.32, 1.0), (0.05, 0.32), 10, (0.07, 50)),
            (True, 3, 8192, "large", "dino"),
        ),
    ),
    **dict.fromkeys(
        (
            "sere/ibot-sere_vit-large-p16_16xb64-amp-coslr-100e_in1k",
            "sere/ibot-sere-fsdp_vit-large-p16_64xb16-amp-coslr-100e_in1k",
        ),
        (
            (2e-3, 1e-6, 1024, 100, 0.3, (0.32, 1.0), (0.05, 0.32), 10, (0.07, 50)),
            (True, 3, 8192, "large", "sere"),
        ),
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
    "selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k": (
        (2e-3, 1e-6, 1024, 200, 3.0, (0.25, 1.0), (0.05, 0.25), 8, (0.04, 0)),
        (True, 1, 65536, "deit-small", "dino"),
    ),
    "selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-300e_in1k": (
        (2e-3, 1e-6, 1024, 300, 3.0, (0.25, 1.0), (0.05, 0.25), 8, (0.04, 0)),
        (True, 1, 65536, "deit-small", "dino"),
    ),
    "selfpatch/selfpatch_vit-base-p16_16xb64-amp-coslr-200e_in1k": (
        (3e-3, 2e-6, 1024, 200, 0.3, (0.25, 1.0), (0.05, 0.25), 8, (0.04, 0)),
        (True, 3, 65536, "deit-base", "dino"),
    ),
    "sere/selfpatch-sere_vit-small-p16_8xb128-amp-coslr-200e_in1k": (
        (2e-3, 1e-6, 1024, 200, 3.0, (0.25, 1.0), (0.05, 0.25), 8, (0.04, 0)),
        (True, 1, 65536, "deit-small", "sere"),
    ),
}
SELFPATCH = [name for name in TABLE if "selfpatch" in name]

# arch, width, decay rule; all else is common to MoCo v3's recipes. Source: CONFIG.md of facebookresearch/moco-v3.
SMALL_12_HEADS = dict(embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536)
MOCOV3_TABLE = {
    "mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k": (SMALL_12_HEADS, 384, "all"),
    "mocov3/mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k": ("deit-base", 768, "all"),
    "sere/mocov3-sere_vit-small-p16_16xb256-amp-coslr-300e_in1k": (SMALL_12_HEADS, 384, "sere"),
}

# arch, width, images per GPU and step, data, alpha, align.
# Source: README and defaults of SiT's public code (version 3 of arXiv 2104.03602).
SIT = "sit/sit_vit-small-p16_1xb64-amp-coslr-800e_"
SIT_SMALL = ("deit-small", 384, 64)
SIT_TABLE = {
    "sit/sit_vit-small-p16_4xb64-amp-coslr-800e_in1k": (
        "deit-small",
        384,
        256,
        "imagenet/train",
        1,
        1,
    ),
    "sit/sit_vit-base-p16_4xb64-amp-coslr-800e_in1k": (
        "deit-base",
        768,
        256,
        "imagenet/train",
        1,
        1,
    ),
    "sit/sit-align16_vit-small-p16_4xb64-amp-coslr-800e_in1k": (
        *("deit-small", 384, 256, "imagenet/train", 1, 16),
    ),
    f"{SIT}flowers102": (*SIT_SMALL, "flowers102/trainval", 5, 1),
    f"{SIT}pets": (*SIT_SMALL, "pets/trainval", 5, 1),
    f"{SIT}cub": (*SIT_SMALL, "cub/train", 5, 1),
    f"{SIT}cars": (*SIT_SMALL, "cars/train", 5, 1),
    f"{SIT}aircraft": (*SIT_SMALL, "aircraft/trainval", 5, 1),
    f"{SIT}stl10": (*SIT_SMALL, "stl10/pretrain", 5, 1),
    f"{SIT}cifar10": (*SIT_SMALL, "cifar10/train", 5, 1),
    f"{SIT}cifar100": (*SIT_SMALL, "cifar100/train", 5, 1),
}

# SERE's ViT-S recipe on each base, and the base's own
SERE_BASES = {
    "ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k": "ibot/ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k",
    "dino-sere_vit-small-p16_8xb64-amp-coslr-100e_in1k": "dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k",
    "mocov3-sere_vit-small-p16_16xb256-amp-coslr-300e_in1k": (
        "mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k"
    ),
    "selfpatch-sere_vit-small-p16_8xb128-amp-coslr-200e_in1k": (
        "selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k"
    ),
}

WITH_CENTER = ("mmrel.PrototypeProjection", "mmrel.NeighbourAggregation")
"""Necks whose heads have a centre."""


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


@pytest.mark.parametrize("name", [name for name in TABLE if "large" in name])
def test_large__keeps_few_activations(name: str) -> None:
    """Every block is computed again; with FSDP2, nothing of DDP's settings is left."""
    config = Config.fromfile(CONFIGS / f"{name}.py")
    base = base_of(config)
    assert (base.backbone.recompute, base.neck.in_channels) == ("block", 1024)
    assert config.model.get("num_heads", 16) == 16
    sharded = dict(type="mmrel.FullySharded")
    assert (config.model_wrapper_cfg == sharded) == ("fsdp" in name)


@pytest.mark.parametrize("name", SELFPATCH)
def test_selfpatch__published_values(name: str) -> None:
    """4 of 8 neighbours, 4096 prototypes for patches with a tenth of the weight; no class token, no final norm."""
    base = base_of(Config.fromfile(CONFIGS / f"{name}.py"))
    neck, backbone = base.neck, base.backbone
    assert (neck.k, neck.patch_out_channels, base.patch_head.out_channels) == (4, 4096, 4096)
    assert base.patch_head.loss_weight == 0.1
    assert (backbone.with_cls_token, backbone.final_norm) == (False, False)
    assert (neck.num_heads, neck.in_channels) == ((12, 768) if "base" in name else (6, 384))


def test_selfpatch__schedule() -> None:
    """SelfPatch's official command: 200 epochs of 1251 iterations."""
    config = Config.fromfile(CONFIGS / f"{SELFPATCH[0]}.py")
    total, warmup = config.train_cfg.max_epochs * 1251, config.param_scheduler[0].warmup * 1251
    peak, end = config.optim_wrapper.optimizer.lr, config.param_scheduler[0].end
    for step, lr in ((12509, 0.002), (125100, 1.08303806e-3), (250199, 1.00000009e-6)):
        assert cosine_schedule(step, total, peak, end, warmup) == pytest.approx(lr, rel=1e-8)
    update = config.default_hooks.teacher_update
    momentum = cosine_schedule(125100, total, update.momentum, update.end_momentum)
    assert momentum == pytest.approx(0.998, abs=1e-12)


@pytest.mark.parametrize("name", MOCOV3_TABLE)
def test_mocov3__published_values(name: str) -> None:
    """Learning rate 1.5e-4 per 256 images; everything is decayed, nothing clipped."""
    config = Config.fromfile(CONFIGS / f"{name}.py")
    arch, width, rule = MOCOV3_TABLE[name]
    optim, base, crops = config.optim_wrapper, base_of(config), step_of(config, "mmrel.MultiCrop")
    assert optim.optimizer == dict(
        type="AdamW", lr=2.4e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, fused=True
    )
    assert optim.optimizer.lr == pytest.approx(1.5e-4 * 4096 / 256)
    assert (optim.clip_grad, optim.paramwise_cfg.decay_rule) == (None, rule)
    (lr,) = config.param_scheduler
    assert (lr.param_name, lr.end, lr.warmup, lr.convert_to_iter_based) == ("lr", 0.0, 40, True)
    assert (config.auto_scale_lr.base_batch_size, config.train_cfg.max_epochs) == (4096, 300)
    hooks = config.default_hooks
    assert (hooks.teacher_update.momentum, hooks.teacher_update.end_momentum) == (0.99, 1.0)
    assert hooks.last_layer_freeze.epochs == 0
    assert (crops["global_scale"], crops["num_local"]) == ((0.08, 1.0), 0)
    assert (base.backbone.type, base.backbone.arch) == ("mmrel.MoCoV3ViT", arch)
    assert not {"drop_path_rate", "frozen_patch_embed"} & set(base.backbone)
    assert (base.neck.in_channels, base.neck.hidden_channels, base.neck.out_channels) == (
        width,
        4096,
        256,
    )
    assert base.head.temperature == 0.2


@pytest.mark.parametrize("name", SIT_TABLE)
def test_sit__published_values(name: str) -> None:
    """Learning rate 5e-4 per 256 images; weight decay to 0.1; the corruption's defaults; no local crops."""
    config = Config.fromfile(CONFIGS / f"{name}.py")
    arch, width, batch, data, alpha, align = SIT_TABLE[name]
    optim, model, crops = config.optim_wrapper, config.model, step_of(config, "mmrel.MultiCrop")
    assert optim.optimizer == dict(
        type="AdamW",
        lr=5e-4 * batch / 256,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.04,
        fused=True,
    )
    assert (optim.clip_grad.max_norm, optim.paramwise_cfg.decay_rule) == (3.0, "dino")
    lr, decay = config.param_scheduler
    assert (lr.end, lr.warmup, decay.param_name, decay.end) == (1e-6, 10, "weight_decay", 0.1)
    assert config.train_cfg.max_epochs == 800
    hooks = config.default_hooks
    assert (hooks.teacher_update.momentum, hooks.teacher_update.end_momentum) == (0.996, 1.0)
    assert config.train_dataloader.dataset.data_root == f"data/{data}"
    assert (crops["global_scale"], crops["num_local"]) == ((0.2, 1.0), 0)
    corruption = dict(step_of(config, "mmrel.DrawCorruption"))
    assert corruption == dict(
        type="mmrel.DrawCorruption",
        material="zeros",
        drop_area=0.5,
        replace_area=0.3,
        align=align,
        rho=0.5,
    )
    assert (model.alpha, model.head.temperature) == (alpha, 0.2)
    assert (model.backbone.arch, model.backbone.drop_path_rate) == (arch, 0.1)
    assert (model.neck.in_channels, model.decoder.in_channels) == (width, width)
    assert (model.neck.hidden_channels, model.neck.out_channels) == (4096, 256)


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


def body_of(name: str) -> str:
    """A SERE recipe without its header and its base line."""
    text = (CONFIGS / "sere" / f"{name}.py").read_text()
    return "\n".join(
        line for line in text.splitlines() if line[:1] != "#" and "_base_ = [" not in line
    )


def test_sere__recipes_differ_in_their_base_only() -> None:
    """SERE is an add-on: below its header, a recipe holds the base line and the same lines as the others.

    ViT-B has the same lines too, with its own number of groups of 64 channels.
    """
    (body,) = {body_of(name) for name in SERE_BASES}
    base = body_of("ibot-sere_vit-base-p16_8xb128-amp-coslr-100e_in1k")
    assert "num_heads=6" in body
    assert base.replace("num_heads=12", "num_heads=6") == body


@pytest.mark.parametrize("name", SERE_BASES)
def test_sere__adds_two_heads_and_the_decay_rule_to_its_base(name: str) -> None:
    """As loaded: everything else is the base's, whatever the base is."""
    config = Config.fromfile(CONFIGS / "sere" / f"{name}.py").to_dict()
    base = Config.fromfile(CONFIGS / f"{SERE_BASES[name]}.py").to_dict()
    model = config.pop("model")
    assert model.pop("base") == base.pop("model")
    assert model == dict(type="mmrel.SERE", alpha=0.2, beta=0.5, num_heads=6)
    assert config["optim_wrapper"].pop("paramwise_cfg") == dict(decay_rule="sere")
    del base["optim_wrapper"]["paramwise_cfg"]
    assert config == base


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
    config.train_dataloader.dataset.data_root = str(photos)
    config.train_dataloader.batch_size = 2
    settle_network(config)
    settle_length(config)
    base = base_of(config)
    arch = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
    base.backbone.update(arch=arch, img_size=32, patch_size=8)
    base.neck.update(in_channels=24, out_channels=16, hidden_channels=32)
    if base.neck.type in WITH_CENTER:
        base.neck.bottleneck_channels = 8
    if "patch_out_channels" in base.neck:
        base.neck.update(num_heads=2, patch_out_channels=16)
    if 24 % config.model.get("num_heads", 1):
        config.model.num_heads = 6
    for head in ("head", "patch_head"):
        if "out_channels" in base.get(head, {}):
            base[head].out_channels = 16
    step_of(config, "mmrel.MultiCrop").update(global_size=32, local_size=24)
    if "decoder" in base:
        base.decoder.update(in_channels=24, patch_size=8)
        step_of(config, "mmrel.PackViews").update(patch_size=8)
        corruption = step_of(config, "mmrel.DrawCorruption")
        corruption["align"] = min(corruption["align"], 8)  # blocks of 16 pixels need larger crops
    if "BlockMask" in str(config.train_dataloader):
        step_of(config, "mmrel.BlockMask").update(patch_size=8)
    if "patch_size" in step_of(config, "mmrel.PackViews"):
        step_of(config, "mmrel.PackViews").update(patch_size=8)
    config.train_dataloader.update(
        batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False
    )
    # fp16 skips the first steps while it finds its loss scale
    config.optim_wrapper.precision = "fp32"
    config.custom_hooks = []
    config.default_hooks.pop("knn", None)
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
    assert bool(centers) == (base_of(config).neck.type in WITH_CENTER)
    assert all(bool(saved[k].any()) for k in centers)
    teacher, student = (saved[f"{p}backbone.layers.0.ln1.bias"] for p in ("teacher.", ""))
    assert bool(teacher.any()) and not torch.equal(teacher, student)


def test_recipes__have_names_of_their_own() -> None:
    """MIM finds a recipe by its file's name alone, and refuses one that two have."""
    names = [path.name for path in CONFIGS.glob("*/*.py") if path.parent.name != "_base_"]
    assert sorted(names) == sorted(set(names))
