"""Every RelViT recipe: its values against the public code's scripts, and one training step in a shrunk form."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, DefaultScope, init_default_scope
from mmengine.runner import Runner
from PIL import Image

import mmrel  # noqa: F401
from mmrel.models.heads.grid import build_grid_heads
from mmrel.registry import MODELS
from mmrel.utils import register_all_modules
from mmrel.utils.data_roots import set_data_root

CONFIGS = Path(__file__).parents[1] / "configs"
FOLDER = CONFIGS / "relvit"
QUICKSTART = CONFIGS / "quickstart" / "relvit_vit-tiny-p8_scenes.py"
RECIPES = [
    *sorted(
        [
            *(p for p in FOLDER.glob("*.py") if not p.stem.endswith("custom")),
            *FOLDER.glob("benchmarks/*.py"),
        ]
    ),
    QUICKSTART,
]
"""All but the one for images of one's own, relvit_vit-small-p16_custom.py."""

# mean, std, folder, split that is evaluated, classes. Source: the public code of arXiv 2206.00481.
DATA = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "cifar10", "test", 10),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2761), "cifar100", "test", 100),
    "svhn": ((0.4378, 0.4439, 0.4729), (0.1981, 0.2011, 0.1970), "svhn", "test", 10),
    "tiny-imagenet": (
        *((0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)),
        *("tiny-imagenet", "val", 200),
    ),
    "flowers102": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "flowers102", "val", 102),
    "in100": ((0.4595, 0.4520, 0.3900), (0.2547, 0.2385, 0.2548), "imagenet100", "val", 100),
}
# architecture, width, image, patch
SETS = {
    **dict.fromkeys(("cifar10", "cifar100", "svhn"), ("deit-small", 384, 32, 4)),
    "tiny-imagenet": ("deit-small", 384, 64, 8),
    **dict.fromkeys(("flowers102", "in100"), ("deit-small", 384, 224, 32)),
}
SCENES = [path for path in RECIPES if path.stem.endswith("scenes")]
PUBLISHED = [path for path in RECIPES if path not in SCENES]
UPSTREAM = [path for path in PUBLISHED if path.stem.startswith("relvit_")]
JOINT = [path for path in PUBLISHED if path.stem.startswith("relvit-joint_")]
FINETUNING = [path for path in PUBLISHED if path.parent.name == "benchmarks"]
recipes = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


def data_of(path: Path) -> tuple:
    return DATA[path.stem.rsplit("_", 1)[-1]]


def network_of(path: Path) -> tuple[str, int, int, int, int]:
    """Architecture or class, width, image, patch, images per batch."""
    arch, width, image, patch = SETS[path.stem.rsplit("_", 1)[-1]]
    for name, changed in (
        ("vit-tiny", ("deit-tiny", 192)),
        ("vit-base", ("deit-base", 768)),
        ("swin-tiny", ("mmrel.Swin", 768)),
        ("t2t-vit-14", ("mmrel.T2TViT", 384)),
    ):
        if name in path.stem:
            arch, width = changed
    return arch, width, image, patch, 64 if arch.startswith("mmrel") else 256


def check_backbone(backbone: dict, path: Path, positions: bool) -> None:
    arch, _, image, patch, _ = network_of(path)
    if arch.startswith("mmrel"):
        assert backbone.type == arch
        return
    assert (backbone.type, backbone.arch) == ("mmrel.ViT", arch)
    assert (backbone.img_size, backbone.patch_size) == (image, patch)
    assert backbone.drop_path_rate == 0.1 and "drop_rate" not in backbone
    assert backbone.get("use_pos_embed", True) is positions


@cache
def built(backbone: str) -> Any:
    """A recipe's backbone, from its config as JSON."""
    register_all_modules()
    return MODELS.build(json.loads(backbone))


def check_heads(model: Config, heads: dict, path: Path, side: int) -> None:
    """The heads as they are built; what a recipe does not say follows from its backbone."""
    names = {name for name, head in heads.items() if head is not None}
    ablation = path.stem.partition("ablation-")[2].split("_")[0]
    wanted = {"rel": {"relation"}, "abs": {"position"}, "dist": {"distance"}, "angle": {"angle"}}
    assert names == wanted.get(ablation, {"relation", "position"})
    backbone = built(json.dumps(model.backbone.to_dict()))
    for name, head in build_grid_heads(heads, backbone).items():
        layer = head.classifier if name == "position" else head.scores.query
        assert (layer.in_features, head.side) == (network_of(path)[1], side)
    for name in names:
        assert "in_channels" not in heads[name] and ("side" in heads[name]) == (side == 6)
        assert heads[name].get("loss_weight", 1) == 1 and not heads[name].get("label_smoothing")
        assert name not in ("distance", "angle") or heads[name].target == name


def check_optimisation(config: Config, path: Path) -> None:
    """One AdamW group, the norm of all gradients limited to 1 (scripts of the public code)."""
    optim = config.optim_wrapper
    assert optim.type == "mmrel.SelfSupOptimWrapper"
    assert optim.paramwise_cfg == dict(decay_rule="all", with_frozen=True)
    assert optim.optimizer.to_dict() == dict(
        type="AdamW", lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1
    )
    assert optim.clip_grad == dict(max_norm=1.0, scope="global")
    (schedule,) = config.param_scheduler
    assert schedule == dict(type="mmrel.QuarterCosineSchedule", convert_to_iter_based=True)
    assert config.train_cfg.max_epochs == 100
    batch = network_of(path)[4]
    assert (config.train_dataloader.batch_size, config.auto_scale_lr.base_batch_size) == (
        batch,
        batch,
    )
    assert not config.train_dataloader.get("drop_last", False)


def check_data(config: Config, path: Path) -> None:
    mean, std, folder, _, _ = data_of(path)
    assert config.data_preprocessor.mean == pytest.approx([255 * x for x in mean])
    assert config.data_preprocessor.std == pytest.approx([255 * x for x in std])
    above = config.data_root if "val_root" not in config else str(Path(config.data_root).parent)
    assert above == f"data/{folder}"
    assert config.train_dataloader.dataset.data_root == f"data/{folder}/train"


def steps(loader: dict) -> dict[str, dict]:
    return {step.type: step for step in loader.dataset.pipeline}


@pytest.mark.parametrize("path", UPSTREAM, ids=lambda path: path.stem)
def test_upstream__published_values(path: Path) -> None:
    config = Config.fromfile(path)
    _, _, image, patch, _ = network_of(path)
    side = 6 if "megapatch6" in path.stem else image // patch
    check_backbone(config.model.backbone, path, positions=False)
    check_heads(config.model, config.model.head, path, side)
    check_optimisation(config, path)
    check_data(config, path)
    assert config.data_preprocessor.type == "mmrel.PatchAugmentingPreprocessor"
    assert "jitter_space" not in config.data_preprocessor
    transforms = steps(config.train_dataloader)
    if image == 224:
        crop = transforms["mmrel.MultiCrop"]
        assert (crop.num_global, crop.num_local, crop.global_scale) == (1, 0, (0.08, 1.0))
        assert crop.interpolation == "bilinear"
    else:
        assert transforms["mmrel.PaddedCrop"] == dict(
            type="mmrel.PaddedCrop", size=image, padding=4
        )
    draw = transforms["mmrel.DrawPatchAugmentation"]
    assert draw == dict(type="mmrel.DrawPatchAugmentation", patch_size=patch)
    assert "mmrel.ShufflePatches" not in transforms
    mega = transforms.get("mmrel.DrawMegaPatches")
    assert (mega is not None) == ("megapatch6" in path.stem)
    assert mega is None or (mega.count, mega.patch_size, "independent_cuts" in mega) == (
        6,
        32,
        False,
    )
    knn, (*_, split, _) = config.default_hooks.knn, data_of(path)
    assert (knn.network, knn.feature) == ("student", "avg")
    assert knn.bank_dataloader.dataset.data_root == config.data_root
    assert knn.val_dataloader.dataset.data_root == config.val_root
    assert Path(config.val_root) == Path(config.data_root).with_name(split)
    held_out = steps(config.val_dataloader)
    assert config.val_dataloader.dataset.data_root == config.val_root
    assert "mmrel.DrawPatchAugmentation" not in held_out
    assert held_out.get("mmrel.DrawMegaPatches") == mega
    if image == 224:
        assert list(held_out)[:4] == [
            "mmrel.DecodeImage",
            "ResizeEdge",
            "CenterCrop",
            "mmrel.MultiCrop",
        ]
    checkpoint = config.default_hooks.checkpoint
    assert (checkpoint.save_best, checkpoint.rule) == ("held_out/total", "less")
    assert not {"teacher_update", "last_layer_freeze"} & set(config.default_hooks)
    assert config.randomness.seed == 35771


def test_pretraining__held_out_crop(tmp_path: Path) -> None:
    """Short side 256, central 224 (README of the official code), not the whole central square."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    config = Config.fromfile(FOLDER / "relvit_vit-small-p32_1xb256-100e_in100.py")
    settings = dict(config.val_dataloader.dataset, data_root=str(tmp_path))
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        view = DATASETS.build(settings)[0]["inputs"][0]
    small = Image.fromarray(pixels).resize((341, 256), Image.Resampling.BILINEAR)
    left, top = round((341 - 224) / 2), 16
    expected = np.asarray(small)[top : top + 224, left : left + 224].transpose(2, 0, 1)
    assert view.shape == (3, 224, 224) and (view.numpy() == expected).all()


@pytest.mark.parametrize("path", FINETUNING + JOINT, ids=lambda path: path.stem)
def test_supervised__published_values(path: Path) -> None:
    config = Config.fromfile(path)
    *_, split, classes = data_of(path)
    arch, width, image, patch, _ = network_of(path)
    model, joint = config.model, path in JOINT
    check_backbone(model.backbone, path, positions=True)
    check_optimisation(config, path)
    check_data(config, path)
    assert model.type == ("mmrel.RelViTClassifier" if joint else "ImageClassifier")
    if joint:
        check_heads(model, model.pretext, path, image // patch)
        assert model.backbone.init_cfg is None
    else:
        assert model.backbone.init_cfg == dict(
            type="Pretrained", checkpoint=None, prefix="backbone."
        )
    assert model.neck.feature == ("avg" if arch == "mmrel.Swin" else "cls")
    assert (model.head.num_classes, model.head.in_channels) == (classes, width)
    assert config.data_preprocessor.num_classes == classes
    assert "augments" not in model.get("train_cfg", {})
    transforms = steps(config.train_dataloader)
    crop = "RandomResizedCrop" if image == 224 else "RandomCrop"
    assert list(transforms) == ["LoadImageFromFile", crop, "RandomFlip", "PackInputs"]
    assert transforms["RandomFlip"].prob == 0.5
    if image != 224:
        assert (transforms[crop].crop_size, transforms[crop].padding) == (image, 4)
    for loader in (config.val_dataloader, config.test_dataloader):
        assert loader.dataset.data_root == f"{config.data_root}/{split}"
        assert ("CenterCrop" in steps(loader)) == (image == 224)
    assert config.randomness.seed == (2022 if joint else 35771)


def test_recipes__all_of_the_public_code() -> None:
    """Three modes for six data sets, Swin-T and T2T-ViT-14, mega-patches, four ablations, two more widths."""
    vit, other = set(SETS), {"swin-tiny", "t2t-vit-14"}
    for paths in (UPSTREAM, JOINT, FINETUNING):
        names = {path.stem for path in paths}
        assert {
            s for s in vit if any("vit-small" in n and n.endswith(f"_{s}") for n in names)
        } == vit
        assert {s for s in other if any(s in n for n in names)} == other
    assert (len(UPSTREAM), len(JOINT), len(FINETUNING)) == (8 + 1 + 4 + 2, 8, 8)


@recipes
def test_recipe__file_says_what_it_is(path: Path) -> None:
    """The header names paper, command, hardware and expected result; the name says the batch."""
    header = path.read_text().split("_base_")[0]
    for word in ("Paper:", "Command:", "Hardware:", "Expected:", str(path.relative_to(CONFIGS))):
        assert word in header, f"{path.name} lacks {word} in its header"
    if path in PUBLISHED:
        batch = Config.fromfile(path).train_dataloader.batch_size
        assert f"_1xb{batch}-100e_" in path.name and f"1 GPU, {batch} images" in header


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``<side>/<split>/<class>/*.png``."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for side in (32, 64, 96, 230):
        for split in ("train", "test", "val"):
            for i in range(4):
                folder = root / str(side) / split / "ab"[i % 2]
                folder.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (root / "96" / "classification").symlink_to(".")
    return root


def shrunk(path: Path, pictures: Path, work_dir: Path) -> Config:
    """The recipe with a tiny network, on made-up pictures, without loader processes."""
    config = Config.fromfile(path)
    image = 96 if path in SCENES else network_of(path)[2]
    root = pictures / str({224: 230}.get(image, image))
    for key in ("data_root", "val_root") if "val_root" in config else ():
        set_data_root(config, str(root / Path(config[key]).name), key)
    if "val_root" not in config:
        set_data_root(config, str(root))
    assert "data/" not in str(config.train_dataloader) + str(config.default_hooks.get("knn"))
    model, width = config.model, 24
    if model.backbone.type == "mmrel.Swin":
        width = 96
        arch = dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
        model.backbone.update(arch=arch)
    elif model.backbone.type == "mmrel.T2TViT":
        layers = dict(num_heads=2, feedforward_channels=48)
        model.backbone.update(embed_dims=24, num_layers=2, layer_cfgs=layers)
    else:
        model.backbone.arch = dict(
            embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48
        )
    model.backbone.drop_path_rate = (
        0.0  # a branch that is dropped for the whole batch learns nothing
    )
    if model.type != "mmrel.RelViT":
        model.head.in_channels = width
    loaders = [config.train_dataloader]
    loaders += [config[name] for name in ("val_dataloader", "test_dataloader") if name in config]
    for loader in loaders:
        loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    config.train_dataloader.dataset.pop("indices", None)
    config.train_cfg.max_epochs = 1
    config.work_dir = str(work_dir)
    return config


@recipes
def test_recipe__one_training_step_in_shrunk_form(
    path: Path, pictures: Path, tmp_path: Path
) -> None:
    """A batch of its pipeline through its model and its optimizer: finite losses, everything trained moves."""
    register_all_modules()
    init_default_scope("mmpretrain")
    config = shrunk(path, pictures, tmp_path)
    torch.manual_seed(0)
    settings = copy.deepcopy(config.model)
    settings.data_preprocessor = config.data_preprocessor
    model: Any = MODELS.build(settings)
    model.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    assert len(wrapper.optimizer.param_groups) == 1
    before = {k: p.detach().clone() for k, p in model.named_parameters() if p.requires_grad}
    batch = next(iter(Runner.build_dataloader(config.train_dataloader, seed=0)))
    logged = model.train_step(batch, wrapper)
    assert all(torch.isfinite(torch.as_tensor(value)) for value in logged.values())
    after = dict(model.named_parameters())
    assert not [k for k, value in before.items() if torch.equal(after[k], value)]
    if config.model.type == "mmrel.RelViT":
        assert "backbone.pos_embed" not in before
        batch = next(iter(Runner.build_dataloader(config.val_dataloader, seed=0)))
        (held_out,) = model.eval().val_step(batch)
        assert held_out["num_images"] == 2 and torch.isfinite(held_out["total"])


@pytest.mark.parametrize(
    "name",
    [
        "relvit_vit-small-p4_1xb256-100e_cifar10",
        "relvit-joint_vit-small-p4_1xb256-100e_cifar10",
        "benchmarks/vit-small-p4_1xb256-100e_cifar10",
    ],
)
def test_recipe__trains_through_the_runner(name: str, pictures: Path, tmp_path: Path) -> None:
    """Real iterations with hooks, schedule, evaluation and a checkpoint that loads safely."""
    config = shrunk(FOLDER / f"{name}.py", pictures, tmp_path)
    if "knn" in config.default_hooks:
        for loader in ("bank_dataloader", "val_dataloader"):
            config.default_hooks.knn[loader].update(num_workers=0)
    config.experiment_name = tmp_path.name
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 2
    hub = runner.message_hub
    result = "knn/top1_k10" if name.startswith("relvit_") else "val/accuracy/top1"
    assert 0 <= hub.get_scalar(result).current() <= 100
    assert hub.get_scalar("train/lr").data[0].tolist() == pytest.approx(
        [5e-4, 1.25e-6 + (5e-4 - 1.25e-6) * 2**-0.5]
    )
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=name.startswith("relvit_"))
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values())


def test_recipe__a_wrong_folder_is_named(pictures: Path, tmp_path: Path) -> None:
    config = shrunk(FOLDER / "relvit_vit-small-p4_1xb256-100e_cifar10.py", pictures, tmp_path)
    config.train_dataloader.dataset.data_root = str(tmp_path / "cifar10/train")
    with pytest.raises(
        FileNotFoundError, match=r"cifar10/train' is missing; it must be a folder of images"
    ):
        Runner.build_dataloader(config.train_dataloader, seed=0)
