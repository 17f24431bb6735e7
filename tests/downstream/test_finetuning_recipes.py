"""Fine-tuning of SERE, iBOT, DINO, MoCo v3, SelfPatch: values by source, full sizes, an iteration of each in small."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmrel.models.backbones.mocov3_vit import VIT_SMALL as MOCOV3_SMALL
from mmrel.utils.data_roots import set_data_root

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = ("dino", "ibot", "mocov3", "selfpatch", "sere")
RECIPES = [
    path
    for method in METHODS
    for path in sorted(CONFIGS.glob(f"{method}/benchmarks/vit-*.py"))
    if not {"linear", "logistic"} & set(path.stem.replace("_", "-").split("-"))
]
IBOT, MAE, DEIT = "arXiv 2111.07832", "arXiv 2111.06377", "arXiv 2012.12877"
# source: recipe, methods, epochs, stochastic depth, layer decay, rate, batch, warm-up, lowest rate
SMALL_SET = (1000, 0.1, None, 7.5e-6 * 768 / 512, 768, 5, 1e-5)
CARS = (1000, 0.1, None, 7.5e-5 * 768 / 512, 768, 5, 1e-5)
FEW = (1000, 0.1, None, 5e-6 * 768 / 512, 768, 5, 1e-6)
TABLE = {
    # iBOT's fine-tuning of ImageNet-1k
    "vit-small-p16_8xb128-amp-coslr-200e_in1k": (IBOT, 200, 0.1, 0.75, 4e-3, 1024, 20, 1e-6),
    "vit-base-p16_8xb128-amp-coslr-100e_in1k": (IBOT, 100, 0.2, 0.65, 4e-3, 1024, 20, 1e-6),
    "vit-large-p16_8xb128-amp-coslr-50e_in1k": (IBOT, 50, 0.4, 0.75, 4e-3, 1024, 5, 1e-6),
    # MAE's: 5e-4 (ViT-L: 1e-3) per 256 images; ViT-S as ViT-B
    "vit-small-p16_8xb128-gap-amp-coslr-100e_in1k": (MAE, 100, 0.1, 0.65, 2e-3, 1024, 5, 1e-6),
    "vit-base-p16_8xb128-gap-amp-coslr-100e_in1k": (MAE, 100, 0.1, 0.65, 2e-3, 1024, 5, 1e-6),
    "vit-large-p16_8xb128-gap-amp-coslr-50e_in1k": (MAE, 50, 0.2, 0.75, 4e-3, 1024, 5, 1e-6),
    # DeiT's for 150 epochs, as mmpretrain has it for MoCo v3
    "vit-small-p16_8xb64-amp-coslr-150e_in1k": (DEIT, 150, 0.1, None, 5e-4, 512, 5, 1e-5),
    "vit-base-p16_8xb64-amp-coslr-150e_in1k": (DEIT, 150, 0.1, None, 5e-4, 512, 5, 1e-5),
    # iBOT's 1 % and 10 %: 5e-6 per 512 images; batch and lowest rate are ours
    "vit-small-p16_8xb96-deit-amp-1000e_in1k-1percent": (IBOT, *FEW),
    "vit-small-p16_8xb96-deit-amp-1000e_in1k-10percent": (IBOT, *FEW),
    # iBOT's transfer: rates per 512 images, batches of 768
    "vit-small-p16_8xb96-deit-amp-1000e_cifar10": (IBOT, *SMALL_SET),
    "vit-small-p16_8xb96-deit-amp-1000e_cifar100": (IBOT, *SMALL_SET),
    "vit-small-p16_8xb96-deit-amp-1000e_flowers102": (IBOT, *SMALL_SET),
    "vit-small-p16_8xb96-deit-amp-1000e_cars": (IBOT, *CARS),
    "vit-small-p16_8xb96-deit-amp-360e_inat18": (
        *(IBOT, 360, 0.1, None, 5e-5 * 768 / 512, 768, 5, 1e-5),
    ),
    "vit-small-p16_8xb96-deit-amp-360e_inat19": (
        *(IBOT, 360, 0.1, None, 2.5e-5 * 768 / 512, 768, 5, 1e-5),
    ),
    "vit-base-p16_8xb96-deit-amp-360e_inat18": (IBOT, 360, *SMALL_SET[1:]),
    "vit-base-p16_8xb96-deit-amp-360e_inat19": (IBOT, 360, *SMALL_SET[1:]),
    # DeiT's on one GPU, as for SiT: 5e-4 per 512 images
    "vit-small-p16_1xb64-deit-amp-300e_pets": (DEIT, 300, 0.1, None, 6.25e-5, 64, 5, 1e-5),
}
# data: folder of the training images, list, the same for the test, classes
IMAGENET = ("imagenet/train", "", "imagenet/val", "", 1000)
DATA = {
    "in1k": IMAGENET,
    "in1k-1percent": ("imagenet", "splits/1percent.txt", *IMAGENET[2:]),
    "in1k-10percent": ("imagenet", "splits/10percent.txt", *IMAGENET[2:]),
    "cifar10": ("cifar10/train", "", "cifar10/test", "", 10),
    "cifar100": ("cifar100/train", "", "cifar100/test", "", 100),
    "cars": ("cars/train", "", "cars/test", "", 196),
    "flowers102": ("flowers102/trainval", "", "flowers102/test", "", 102),
    "pets": ("pets/trainval", "", "pets/test", "", 37),
    "inat18": ("inaturalist2018", "train.txt", "inaturalist2018", "val.txt", 8142),
    "inat19": ("inaturalist2019", "train.txt", "inaturalist2019", "val.txt", 1010),
}
WIDTHS = {"small": 384, "base": 768, "large": 1024}
SIDE, CLASSES = 32, 3
recipes = pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parts[-3]}-{p.stem}")


def method_of(path: Path) -> str:
    return path.parts[-3]


def size_of(path: Path) -> str:
    return path.stem.split("-")[1]


@cache
def read(path: Path) -> Config:
    return Config.fromfile(path)


def fresh(path: Path) -> Config:
    return Config(read(path).to_dict(), filename=str(path), format_python_code=False)


def test_recipes__every_task_of_every_method() -> None:
    """Each method has ImageNet, 1 %, 10 % and every transfer set for ViT-S; ViT-B where its values differ."""
    for method in METHODS:
        names = [path.stem for path in RECIPES if method_of(path) == method]
        for data in DATA:
            assert any(n.startswith("vit-small") and n.endswith(f"_{data}") for n in names), data
        for data in ("in1k", "inat18", "inat19"):
            assert any(n.startswith("vit-base") and n.endswith(f"_{data}") for n in names), data


@recipes
def test_recipe__values_of_its_source(path: Path) -> None:
    config = read(path)
    source, epochs, drop_path, decay, rate, batch, warmup, lowest = TABLE[path.stem]
    assert source in path.read_text().split("_base_")[0], "the header names another source"
    optim, model = config.optim_wrapper, config.model
    assert optim.optimizer == dict(
        type="AdamW",
        lr=pytest.approx(rate, rel=1e-12),
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.05,
    )
    assert optim.paramwise_cfg.get("layer_decay_rate") == decay
    assert ("constructor" in optim) == (decay is not None)
    assert (config.train_cfg.max_epochs, model.backbone.drop_path_rate) == (epochs, drop_path)
    gpus, images = (int(n) for n in path.stem.split("_")[1].split("-")[0].split("xb"))
    assert config.auto_scale_lr.base_batch_size == batch == gpus * images
    assert config.train_dataloader.batch_size == images
    first, cosine = config.param_scheduler
    assert (first.end, cosine.begin, cosine.end) == (warmup, warmup, epochs)
    least = cosine.get("eta_min") or cosine.eta_min_ratio * optim.optimizer.lr
    assert least == pytest.approx(lowest) and least < optim.optimizer.lr
    assert cosine.get("convert_to_iter_based", False) == ("coslr" in path.stem)
    if "deit" in path.stem:
        assert first.start_factor * optim.optimizer.lr == pytest.approx(1e-6)
    assert optim.get("clip_grad") == (dict(max_norm=5.0) if "150e" in path.stem else None)


@recipes
def test_recipe__network_of_its_method(path: Path) -> None:
    """Which token, which norm, how many heads; where the weights lie in the checkpoint."""
    model, method, size = read(path).model, method_of(path), size_of(path)
    few = "percent" in path.stem
    arch = {"small": "deit-small", "base": "deit-base", "large": "large"}[size]
    if (method, size) == ("mocov3", "small"):
        arch = MOCOV3_SMALL
    backbone = model.backbone
    assert (backbone.type, backbone.arch, backbone.patch_size) == ("mmrel.ViT", arch, 16)
    assert backbone.get("with_cls_token", True) == (method != "selfpatch")
    pooled = "gap" in path.stem or (method == "selfpatch" and not few)
    assert backbone.get("final_norm", True) == (method != "selfpatch" and not pooled)
    prefix = "teacher.backbone." if few else "backbone."
    assert backbone.init_cfg == dict(type="Pretrained", checkpoint=None, prefix=prefix)
    if few:
        assert model.neck.init_cfg.prefix == "teacher.neck.projection."
    elif pooled:
        assert (model.neck.feature, model.neck.norm_channels) == ("avg", WIDTHS[size])
    else:
        assert (model.neck.feature, "norm_channels" in model.neck) == ("cls", False)
    scaled = TABLE[path.stem][3] is not None
    std = 2e-5 if scaled else 0.02  # iBOT multiplies 0.02 by 0.001, MAE draws with 2e-5
    assert model.head.init_cfg == dict(
        type="TruncNormal", layer="Linear", std=pytest.approx(std, rel=1e-12)
    )


@recipes
def test_recipe__augmentation_and_data(path: Path) -> None:
    """mixup 0.8, cutmix 1.0, smoothing 0.1, RandAugment m9-mstd0.5-inc1, erasing 0.25 (iNaturalist 0.1)."""
    config = read(path)
    data = path.stem.split("_")[-1]
    train, train_list, test, test_list, classes = DATA[data]
    loaders = config.train_dataloader, config.val_dataloader, config.test_dataloader
    wanted = [(train, train_list), (test, test_list), (test, test_list)]
    for loader, (folder, names) in zip(loaders, wanted, strict=True):
        assert loader.dataset.data_root == f"data/{folder}"
        assert loader.dataset.get("ann_file", "") == names
        assert loader.batch_size == config.train_dataloader.batch_size
    assert loaders[0].dataset.get("data_prefix", "") == ("train" if "percent" in data else "")
    model = config.model
    assert model.head.num_classes == config.data_preprocessor.num_classes == classes
    assert model.head.loss.label_smooth_val == 0.1
    assert [(a.type, a.alpha) for a in model.train_cfg.augments] == [
        ("Mixup", 0.8),
        ("CutMix", 1.0),
    ]
    steps = {step.type: step for step in loaders[0].dataset.pipeline}
    draw, erase = steps["RandAugment"], steps["RandomErasing"]
    assert (draw.magnitude_level, draw.magnitude_std, draw.num_policies) == (9, 0.5, 2)
    assert (draw.policies, draw.total_level) == ("timm_increasing", 10)
    assert (erase.erase_prob, erase.mode) == (0.1 if "inat" in data else 0.25, "rand")
    assert erase.fill_color == config.data_preprocessor.mean[::-1]  # images are BGR until later
    repeated = loaders[0].sampler.type == "RepeatAugSampler"
    assert repeated == ("deit" in path.stem)
    for view in (steps["RandomResizedCrop"], {s.type: s for s in loaders[1].dataset.pipeline}):
        resize = view.get("ResizeEdge", view)
        assert (resize["backend"], resize["interpolation"]) == ("pillow", "bicubic")


def _packaged(name: str) -> Config:
    import mmpretrain

    return Config.fromfile(Path(mmpretrain.__file__).parent / ".mim" / "configs" / name)


def test_mae_form__is_mmpretrains() -> None:
    """mmpretrain's own recipe for MAE's ViT-B: the same pipelines, rates and decay."""
    ours = read(CONFIGS / "sere/benchmarks/vit-base-p16_8xb128-gap-amp-coslr-100e_in1k.py")
    theirs = _packaged("mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py")
    for name in ("train_dataloader", "val_dataloader"):
        assert ours[name].dataset.pipeline == theirs[name].dataset.pipeline
        assert ours[name].batch_size == theirs[name].batch_size
    for key in ("lr", "weight_decay", "betas"):
        assert ours.optim_wrapper.optimizer[key] == theirs.optim_wrapper.optimizer[key]
    assert ours.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65
    assert theirs.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65
    first, cosine = theirs.param_scheduler
    assert ours.param_scheduler[0] == first
    assert ours.param_scheduler[1].eta_min_ratio * 2e-3 == pytest.approx(cosine.eta_min)
    assert ours.model.train_cfg == theirs.model.train_cfg
    assert ours.model.head.loss == theirs.model.head.loss
    assert ours.model.head.init_cfg == theirs.model.head.init_cfg[0]


def test_mocov3__is_mmpretrains() -> None:
    """mmpretrain's own recipe for MoCo v3's ViT-B, but for its average of the weights."""
    ours = read(CONFIGS / "mocov3/benchmarks/vit-base-p16_8xb64-amp-coslr-150e_in1k.py")
    theirs = _packaged("mocov3/benchmarks/vit-base-p16_8xb64-coslr-150e_in1k.py")
    for name in ("train_dataloader", "val_dataloader"):
        assert ours[name].dataset.pipeline == theirs[name].dataset.pipeline
    assert ours.optim_wrapper.optimizer == theirs.optim_wrapper.optimizer
    assert ours.optim_wrapper.clip_grad == theirs.optim_wrapper.clip_grad
    first, cosine = theirs.param_scheduler
    assert dict(ours.param_scheduler[0]) == dict(by_epoch=True, **first)
    assert dict(ours.param_scheduler[1], T_max=145) == cosine
    assert ours.model.train_cfg == theirs.model.train_cfg
    assert ours.model.head.loss == theirs.model.head.loss


@recipes
def test_recipe__header_and_full_size(path: Path) -> None:
    """The file says what it is; on torch's meta device the real widths fit together."""
    header = path.read_text().split("_base_")[0]
    command = f"configs/{method_of(path)}/benchmarks/{path.name}"
    for word in ("Paper:", "Command:", "Hardware:", "Expected:", command):
        assert word in header, word
    assert "not yet measured" in " ".join(header.replace("#", "").lower().split())
    model = read(path).model
    # no need for each depth: the widths are what must fit
    shape, classes = full_size(json.dumps(model.to_dict(), sort_keys=True)), model.head.num_classes
    assert shape == (2, classes)


@cache
def full_size(settings: str) -> tuple[int, ...]:
    """Shape of the scores for two images, with one block of the real width."""
    model = json.loads(settings)
    with torch.device("meta"), DefaultScope.overwrite_default_scope("mmpretrain"):
        built: Any = MODELS.build(dict(model, data_preprocessor=None))
        built.backbone.layers = built.backbone.layers[:1]
        return tuple(built.head(built.extract_feat(torch.empty(2, 3, 224, 224))).shape)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of small images, by folders and by lists; RepeatAugSampler draws in multiples of 256."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for label in range(CLASSES):
        folder = root / "train" / f"n{label}"
        folder.mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(80 * label, 80 * label + 40, (12, 14, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        for i in range(4, 90):
            (folder / f"{i}.png").symlink_to(f"{i % 4}.png")
    for split in ("val", "test", "trainval"):
        (root / split).symlink_to("train")
    lines = [f"n{label}/{i}.png {label}" for label in range(CLASSES) for i in range(90)]
    (root / "splits").mkdir()
    for share in (1, 10):
        (root / "splits" / f"{share}percent.txt").write_text("\n".join(lines))
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text("\n".join(f"train/{line}" for line in lines))
    return root


def shrunk(path: Path, folders: Path) -> Config:
    """The same recipe with 32-pixel images, a tiny ViT, and one iteration of training and of evaluation."""
    config = fresh(path)
    set_data_root(config, str(folders))
    assert "data/" not in str(config.train_dataloader) + str(config.val_dataloader)
    model = config.model
    model.backbone.update(
        arch=dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24),
        patch_size=8,
        img_size=SIDE,
        drop_path_rate=0.0,
    )
    width = 12
    if model.neck.type == "mmrel.FirstProjectionLayer":
        width = 20
        model.neck.update(in_channels=12, hidden_channels=width)
        if "aggregator" in model.neck:
            model.neck.aggregator.num_heads = 2
    elif "norm_channels" in model.neck:
        model.neck.norm_channels = 12
    model.head.update(in_channels=width, num_classes=CLASSES)
    config.data_preprocessor.num_classes = CLASSES
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config[name]
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        for step in loader.dataset.pipeline:
            step.update({key: SIDE for key in ("scale", "crop_size") if key in step})
    config.train_dataloader.num_batch_per_epoch = 1
    config.val_dataloader.dataset.indices = config.test_dataloader.dataset.indices = 4
    config.val_evaluator = config.test_evaluator = dict(type="Accuracy", topk=(1,))
    config.optim_wrapper.type = "OptimWrapper"  # the host's AMP wrapper needs a GPU
    config.train_cfg.update(max_epochs=1, val_interval=1)
    return config


def settings_of(path: Path, folders: Path) -> str:
    """All that a shrunk recipe does; those of DINO, iBOT and SERE are alike."""
    config = shrunk(path, folders).to_dict()
    parts = ("model", "data_preprocessor", "train_dataloader", "val_dataloader")
    parts += ("optim_wrapper", "param_scheduler", "default_hooks")
    return json.dumps({name: config[name] for name in parts}, sort_keys=True, default=str)


_done: dict[str, str] = {}


@recipes
def test_recipe__one_iteration_in_shrunk_form(path: Path, folders: Path, tmp_path: Path) -> None:
    """Through the host's Runner: every weight moves, accuracy is measured."""
    settings = settings_of(path, folders)
    if settings in _done:
        return  # the same config under another method's name
    config = shrunk(path, folders)
    config.work_dir = str(tmp_path)
    runner = Runner.from_cfg(config)
    before: dict[str, torch.Tensor] = {}
    runner.call_hook = _noting(runner, before)
    runner.train()
    assert before and runner.iter == 1
    for name, value in runner.model.named_parameters():
        assert not torch.equal(value, before[name]), f"{name} was not trained"
    assert 0 <= runner.message_hub.get_scalar("val/accuracy/top1").current() <= 100
    _done[settings] = path.stem


def _noting(runner: Runner, into: dict[str, torch.Tensor]) -> Any:
    """``Runner.call_hook`` that notes the weights before the first step."""
    call = runner.call_hook

    def noting(name: str, **kwargs: Any) -> None:
        if name == "before_train_iter":
            into.update({n: p.detach().clone() for n, p in runner.model.named_parameters()})
        call(name, **kwargs)

    return noting


def test_rates__decay_with_depth(folders: Path) -> None:
    """4e-3 times 0.75^(13 - depth) for ViT-S; embeddings 0, block i i + 1, norm, neck and head 13."""
    config = read(CONFIGS / "ibot/benchmarks/vit-small-p16_8xb128-amp-coslr-200e_in1k.py")
    pooled = read(CONFIGS / "sere/benchmarks/vit-small-p16_8xb128-gap-amp-coslr-100e_in1k.py")
    for recipe, decay in ((config, 0.75), (pooled, 0.65)):
        rate = recipe.optim_wrapper.optimizer.lr
        groups = groups_of(recipe)
        last = "neck.norm.weight" if recipe is pooled else "backbone.ln1.weight"
        depths = {"backbone.cls_token": 0, "backbone.pos_embed": 0, "head.fc.weight": 13, last: 13}
        depths |= {f"backbone.layers.{i}.attn.qkv.weight": i + 1 for i in range(12)}
        depths["backbone.patch_embed.projection.weight"] = 0
        for name, depth in depths.items():
            assert groups[name]["lr"] == pytest.approx(rate * decay ** (13 - depth), rel=1e-12)
        for name, group in groups.items():
            exempt = group["params"][0].ndim == 1 or name.split(".")[-1] in (
                *("pos_embed", "cls_token"),
            )
            assert group["weight_decay"] == (0.0 if exempt else 0.05), name


def groups_of(config: Config) -> dict[str, dict]:
    """A recipe's parameter groups by name, on the meta device."""
    from mmengine.optim import build_optim_wrapper

    with torch.device("meta"), DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(dict(config.model, data_preprocessor=None))
        settings = dict(config.optim_wrapper, type="OptimWrapper")
        wrapper = build_optim_wrapper(model, settings)
    return {group["param_name"]: group for group in wrapper.optimizer.param_groups}


def test_rates__of_a_run() -> None:
    """Warm-up from 1e-4 of the rate, then BEiT's cosine, in every group down to the same share of its own rate."""
    from mmengine.registry import PARAM_SCHEDULERS

    config = read(CONFIGS / "ibot/benchmarks/vit-large-p16_8xb128-amp-coslr-50e_in1k.py")
    length, shares = 20, (1.0, 0.75**25)
    params = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=4e-3 * s) for s in shares]
    optimizer = torch.optim.SGD(params)
    schedulers = []
    for item in config.param_scheduler:
        settings = dict(item, optimizer=optimizer)
        settings.pop("convert_to_iter_based")
        cls = PARAM_SCHEDULERS.get(settings.pop("type"))
        schedulers.append(cls.build_iter_from_epoch(**settings, epoch_length=length))
    rates = []
    for _ in range(50 * length):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    warm, total = 5 * length, 50 * length
    steps = np.arange(warm, total - 1)
    cosine = (1 + np.cos(np.pi * (steps - warm) / (total - warm))) / 2
    for column, share in enumerate(shares):
        found = np.array([row[column] for row in rates])
        assert found[0] == pytest.approx(4e-7 * share)
        wanted = share * (1e-6 + (4e-3 - 1e-6) * cosine)
        np.testing.assert_allclose(found[warm : total - 1], wanted, rtol=1e-2)
