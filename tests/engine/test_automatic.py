"""``"auto"`` in a configuration: the numbers of the run, in the dumped configuration, and again after a resume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmrel.engine.automatic import settle_length, settle_without_data
from mmrel.engine.run_length import choose_momentum
from mmrel.launch.runner import build_runner
from mmrel.utils import UsageError
from mmrel.utils.config import load_config
from mmrel.utils.data_roots import set_data_root

CONFIGS = Path(__file__).parents[2] / "configs"
CUSTOM = sorted(set(CONFIGS.glob("*/*_vit-small-p16_custom.py")) - set(CONFIGS.glob("gram/*.py")))
TINY = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos") / "nested"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 255, (40 + 3 * number, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    return root.parent


def of(path: Path, photos: Path, **options: Any) -> Config:
    config = load_config(str(path), {"crop_size": 48, "data_root": str(photos), **options})
    config.train_dataloader.update(batch_size=4, num_workers=0, pin_memory=False)
    config.train_dataloader.persistent_workers = False
    return config


def shrunk(path: Path, photos: Path, work_dir: Path) -> Config:
    """A recipe as ``tools/train.py`` has it before the runner is built, with a tiny network and 4 images a step."""
    config = of(path, photos)
    base = config.model.get("base", config.model)
    base.backbone.arch = TINY
    for part in ("neck", "decoder"):
        if part in base:
            base[part].in_channels = 24
            base[part].update(hidden_channels=32) if part == "neck" else None
    if "num_heads" in base.get("neck", {}):
        base.neck.num_heads = 2
    if "num_heads" in config.model:
        config.model.update(num_heads=2, norm_cfg=dict(type="BN"))
    config.train_dataloader.dataset.pipeline[1].update(num_local=1 if "local" in str(path) else 0)
    if config.model.get("base") is not None:
        config.model.local = False
    if base.get("neck", {}).get("type") == "mmrel.ContrastiveProjection":
        base.neck.norm_cfg = dict(type="BN1d")
    for part in ("neck", "head", "patch_head"):
        if "out_channels" in base.get(part, {}):
            base[part].out_channels = 16
    if "patch_out_channels" in base.get("neck", {}):
        base.neck.patch_out_channels = base.patch_head.out_channels = 16
    config.optim_wrapper.precision = "fp32"
    config.train_cfg.max_epochs = 3
    config.work_dir = str(work_dir)
    return config


@pytest.mark.parametrize("path", CUSTOM, ids=lambda path: path.parent.name)
def test_recipe__trains_and_leaves_numbers(path: Path, photos: Path, tmp_path: Path) -> None:
    """6 photos in batches of 4: 1 step per epoch."""
    runner = build_runner(shrunk(path, photos, tmp_path))
    assert len(runner._train_dataloader["dataset"]) == 6
    runner.train()
    assert runner.iter == 3
    (dumped,) = tmp_path.glob("*.py")
    text = dumped.read_text()
    assert "'auto'" not in text
    saved = Config.fromfile(dumped)
    assert saved.train_dataloader.drop_last is True
    recipe = saved.recipe
    assert saved.optim_wrapper.optimizer.lr == pytest.approx(
        recipe.lr * 4 / recipe.batch_size, rel=1e-3
    )
    assert saved.auto_scale_lr.base_batch_size == 4
    hook = saved.default_hooks.get("teacher_update")
    assert (hook is None) == (path.parent.name == "relvit")
    assert hook is None or hook.momentum == choose_momentum(
        3, 4, recipe.momentum, recipe.batch_size
    )
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "This run: 6 images, 4 per step, 3 epoch(s): 3 steps" in log
    assert "3 steps are too few" in log


def test_fewer_images_than_a_batch(photos: Path, tmp_path: Path) -> None:
    config = of(CONFIGS / "dino/dino_vit-small-p16_custom.py", photos)
    config.train_dataloader.batch_size = 64
    _, lines, _ = settle_length(config)
    assert config.train_dataloader.drop_last is False
    assert config.optim_wrapper.optimizer.lr == pytest.approx(1e-3 * 6 / 512, rel=1e-3)
    assert any("fewer than a batch of 64" in line for line in lines)


def test_processes_and_accumulation_count(photos: Path) -> None:
    config = of(CONFIGS / "ibot/ibot_vit-small-p16_custom.py", photos)
    config.train_dataloader.batch_size = 1
    config.optim_wrapper.accumulative_counts = 3
    _, (headline, *_), _ = settle_length(config, processes=2)
    assert "6 per step" in headline and "(1 per epoch)" in headline
    assert config.optim_wrapper.optimizer.lr == pytest.approx(2e-3 * 6 / 1024, rel=1e-3)


def test_a_number_of_ones_own_stays(photos: Path) -> None:
    config = of(CONFIGS / "ibot/ibot_vit-small-p16_custom.py", photos)
    config.default_hooks.teacher_update.momentum = 0.42
    config.param_scheduler[0].warmup = 7
    settle_length(config)
    assert config.default_hooks.teacher_update.momentum == 0.42
    assert config.param_scheduler[0].warmup == 7


def test_settling_is_a_function_of_the_run(photos: Path) -> None:
    path = CONFIGS / "sere/ibot-sere_vit-small-p16_custom.py"
    first, second = of(path, photos), of(path, photos)
    settle_length(first)
    settle_length(second)
    assert first.to_dict() == second.to_dict()
    before = first.to_dict()
    assert settle_length(first) == (None, [], [])
    assert first.to_dict() == before


def test_resume__same_numbers_and_same_weights(photos: Path, tmp_path: Path) -> None:
    """Stopped after the first of three epochs and resumed: the numbers and every tensor are those of one run."""
    path = CONFIGS / "ibot/ibot_vit-small-p16_custom.py"
    build_runner(shrunk(path, photos, tmp_path / "whole")).train()
    build_runner(shrunk(path, photos, tmp_path / "parts")).train()
    (tmp_path / "parts/last_checkpoint").write_text(str(tmp_path / "parts/epoch_1.pth"))
    config = shrunk(path, photos, tmp_path / "parts")
    config.resume = True
    build_runner(config).train()
    texts = [Config.fromfile(next((tmp_path / name).glob("*.py"))) for name in ("whole", "parts")]
    assert texts[0].default_hooks.to_dict() == texts[1].default_hooks.to_dict()
    whole, parts = (
        torch.load(tmp_path / name / "epoch_3.pth", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_without_data_the_papers_numbers_stand() -> None:
    config = load_config(str(CONFIGS / "ibot/ibot_vit-small-p16_custom.py"))
    settle_without_data(config)
    assert config.model.head.teacher_temperature.warmup_epochs == 30
    assert config.default_hooks.teacher_update.momentum == 0.996
    assert config.optim_wrapper.optimizer.lr == 2e-3
    assert config.param_scheduler[0].warmup == 10


def test_no_epochs_no_numbers(photos: Path) -> None:
    config = of(CONFIGS / "ibot/ibot_vit-small-p16_custom.py", photos)
    config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=5)
    with pytest.raises(UsageError, match=r"need train_cfg\.max_epochs"):
        settle_length(config)


def test_a_batch_larger_than_the_data_is_told(photos: Path, tmp_path: Path) -> None:
    """A published recipe, which leaves out the last batch."""
    config = shrunk(CONFIGS / "dino/dino_vit-small-p16_custom.py", photos, tmp_path)
    config.train_dataloader.update(batch_size=64, drop_last=True)
    with pytest.raises(UsageError, match=r"6 images, fewer than a batch of 64"):
        build_runner(config).train()


def test_a_width_of_its_own_is_told(photos: Path, tmp_path: Path) -> None:
    path = CONFIGS / "sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"
    config = Config.fromfile(path)
    set_data_root(config, str(photos))
    config.model.base.backbone.arch = "deit-tiny"
    config.work_dir = str(tmp_path)
    with pytest.raises(
        UsageError,
        match=r"192 channels and neck 'projection'.*in_channels=384: set in_channels=192",
    ):
        build_runner(config)
