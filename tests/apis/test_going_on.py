"""Settings for going on: what they say, that configurations take them, and that the numbers follow from the length."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import mmrel  # noqa: F401
from mmrel.apis.going_on import going_on_options
from mmrel.engine.going_on import (
    KEPT_SHARE,
    choose_frozen_epochs,
    choose_frozen_momentum,
    choose_kept_momentum,
)
from mmrel.engine.run_length import RunLength, choose_momentum, initial_share
from mmrel.registry import MODELS
from mmrel.utils import UsageError
from mmrel.utils.config import dicts_in, load_config

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = (
    "sere/ibot-sere",
    "ibot/ibot",
    "dino/dino",
    "mocov3/mocov3",
    "selfpatch/selfpatch",
    "sit/sit",
)


def build(settings: dict) -> torch.nn.Module:
    """The model, with numbers in the place of those that follow from the length of a run."""
    for part in dicts_in([settings]):
        part |= {key: 1 for key in ("warmup_epochs", "alpha") if part.get(key) == "auto"}
    return MODELS.build(settings)


def custom(method: str) -> Config:
    options = dict(network="vit-tiny", crop_size=48)
    return load_config(str(CONFIGS / f"{method}_vit-small-p16_custom.py"), options)


@pytest.mark.parametrize("method", [*METHODS, "relvit/relvit"])
def test_options__of_every_method(method: str) -> None:
    config = custom(method)
    config.merge_from_dict(going_on_options(config, "weights.pth"))
    assert config.load_from == "weights.pth"
    assert config.optim_wrapper.paramwise_cfg.backbone_lr_mult == 0.1
    assert config.default_hooks.freeze_backbone.epochs == "auto"
    assert config.default_hooks.get("checkpoint"), "what was there stays"
    has_teacher = "relvit" not in method
    assert ("teacher_update" in config.default_hooks) == has_teacher
    model = build(config.model.to_dict())
    kept = ("patch_embed.projection.weight", "pos_embed", "cls_token")
    assert not any(p.requires_grad for n, p in model.backbone.named_parameters() if n in kept)
    assert any(p.requires_grad for p in model.backbone.layers[0].parameters())


@pytest.mark.parametrize("method", METHODS)
def test_options__with_gram_anchoring(method: str) -> None:
    config = custom(method)
    before = config.model.to_dict()
    config.merge_from_dict(going_on_options(config, "weights.pth", gram_weight=3.0))
    model = build(config.model.to_dict())
    assert type(model).__name__ == "GramAnchoring" and model.head["gram"].loss_weight == 3
    assert model.early_teacher is not None and model.backbone.frozen_stages == 0
    assert config.default_hooks.early_teacher.type == "mmrel.EarlyTeacherHook"
    assert config.model.base.type == before["type"]


def test_options__leave_the_given_configuration_alone() -> None:
    config = custom("dino/dino")
    before = config.to_dict()
    going_on_options(config, "weights.pth", gram_weight=2.0)
    assert config.to_dict() == before


def test_options__of_other_channels_train_the_patch_kernel() -> None:
    config = custom("dino/dino")
    config.model.backbone.in_channels = 5
    assert "model" not in going_on_options(config, "weights.pth")
    assert going_on_options(config, "w.pth", keep_embeddings=True)["model"] == dict(
        backbone=dict(frozen_stages=0)
    )
    config.model.backbone = dict(type="mmrel.ViT", frozen_stages=3)
    assert going_on_options(config, "w.pth")["model"] == dict(backbone=dict(frozen_stages=3))


def test_options__that_make_no_sense() -> None:
    config = custom("relvit/relvit")
    with pytest.raises(UsageError, match="RelViT has no teacher"):
        going_on_options(config, "weights.pth", gram_weight=2.0)
    config = load_config(str(CONFIGS / "gram/dino-gram_vit-small-p16_custom.py"))
    with pytest.raises(UsageError, match=r"is mmrel\.GramAnchoring already"):
        going_on_options(config, "weights.pth", gram_weight=2.0)


@pytest.mark.parametrize("path", sorted((CONFIGS / "gram").glob("*.py")), ids=lambda p: p.stem)
def test_recipes__say_what_the_options_say(path: Path) -> None:
    name = path.stem.partition("-gram")[0]
    folder = "sere" if name == "ibot-sere" else name
    options = dict(network="vit-tiny", crop_size=48)
    written = load_config(str(path), options)
    config = custom(f"{folder}/{name}")
    config.merge_from_dict(going_on_options(config, "weights.pth", gram_weight=2.0))
    written.load_from = "weights.pth"
    assert written.model.to_dict() == config.model.to_dict()
    for key in ("recipe", "optim_wrapper", "default_hooks", "param_scheduler", "train_cfg"):
        assert written[key] == config[key], key
    assert list(build(written.model.to_dict()).head)[-1] == "gram"


@pytest.mark.parametrize(
    ("length", "epochs"),
    [
        (RunLength(6400, 64, 100), 1),  # 100 steps each
        (RunLength(1280, 64, 100), 5),  # 20 steps each
        (RunLength(1280, 64, 10), 2),  # at most a fifth
        (RunLength(50, 64, 100), 20),
        (RunLength(64, 64, 1), 1),
        (RunLength(1_281_167, 1024, 100), 1),
    ],
    ids=str,
)
def test_numbers__follow_from_the_length(length: RunLength, epochs: int) -> None:
    assert choose_frozen_epochs(length) == epochs
    steps = epochs * length.steps_per_epoch
    frozen = choose_frozen_momentum(length)
    assert 0.9 <= frozen <= 0.996
    assert frozen in (0.9, 0.996) or frozen**steps == pytest.approx(0.05, rel=0.01)
    kept, rest = choose_kept_momentum(length), max(1, length.steps - steps)
    share = initial_share(kept, 1.0, rest)
    assert kept in (0.9, 0.9995) or share == pytest.approx(KEPT_SHARE, rel=0.05)
    assert kept >= choose_momentum(length.steps, 1024), "more is kept than of random weights"
