"""Features of images that are normalised and read as those that the weights were trained on."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from checkpoints import official
from log_lines import log_lines
from mmengine.config import Config
from PIL import Image

import mmrel.models.data_preprocessors
from mmrel.apis import extract_features, get_backbone
from mmrel.checkpoints.config_text import OUR_PREPROCESSORS, normalization
from mmrel.checkpoints.export import export_backbone
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.utils.normalization import IMAGENET

SIZES = dict(resize=20, crop=16)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def backbone():
    return get_backbone(Config(dict(model=tiny.dino())))


OWN = dict(mean=[100.0, 110.0, 120.0], std=[40.0, 50.0, 60.0])
PREPROCESSOR = dict(type="mmrel.ViewPreprocessor", **OWN)


@pytest.mark.parametrize("place", ["beside", "in model", "in base"])
def test_normalization__of_the_run_in_checkpoint_export_and_features(
    tmp_path, photos, place
) -> None:
    """The features are those of the algorithm that was saved, whose images had other statistics than ImageNet's."""
    cfg = tiny.ibot()
    model = tiny.build({**cfg, "data_preprocessor": PREPROCESSOR}).eval()
    written = {
        "beside": dict(model=cfg, data_preprocessor=PREPROCESSOR),
        "in model": dict(model=dict(cfg, data_preprocessor=PREPROCESSOR)),
        "in base": dict(
            model=dict(type="mmrel.SERE", base=dict(cfg, data_preprocessor=PREPROCESSOR))
        ),
    }[place]
    meta = dict(cfg=Config(written).pretty_text)
    path, exported = tmp_path / "epoch_1.pth", tmp_path / "backbone.pth"
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    assert export_backbone(path, exported)["mean"] == OWN["mean"]
    raw = [np.asarray(Image.open(photo)) for photo in photos]
    inputs = torch.from_numpy(np.stack(raw)).permute(0, 3, 1, 2)
    with torch.no_grad():
        images = model.data_preprocessor({"inputs": inputs}, False)["inputs"]
        expected = model.extract_tokens(images, "teacher").cls
    for source in (path, exported):
        backbone = get_backbone(source)
        assert backbone.normalization == (tuple(OWN["mean"]), tuple(OWN["std"]))
        found = extract_features(backbone, raw, resize=16, crop=16)
        torch.testing.assert_close(found, expected)
    assert get_backbone(Config(written)).normalization == backbone.normalization


def test_normalization__unknown_is_said(tmp_path, photos) -> None:
    """timm's files do not tell: many of its models have 127.5, others ImageNet's."""
    state = official.vit(width=64, patch=4, grid=(4, 4))
    state |= {"head.weight": torch.zeros(10, 64), "head.bias": torch.zeros(10)}
    path = tmp_path / "timm.pth"
    torch.save(state, path)
    with log_lines() as lines:
        backbone = get_backbone(path)
    assert backbone.normalization is None
    assert len(lines) == 1 and "does not tell the mean and deviation" in lines[0]
    with log_lines() as lines:
        half = get_backbone(path, mean=[127.5] * 3, std=[127.5] * 3)
    assert not lines and half.normalization.mean == (127.5,) * 3
    pixels = np.full((16, 16, 3), 255, np.uint8)
    with torch.no_grad():
        expected = half(torch.ones(1, 3, 16, 16)).cls
    torch.testing.assert_close(extract_features(half, pixels, resize=16, crop=16), expected)


@pytest.mark.parametrize(
    ("mean", "std"), [([1, 2, 3], None), ([1, 2], [1, 2]), ([1, 2, 3], [1, 0, 1])]
)
def test_normalization__bad_numbers(tmp_path, mean, std) -> None:
    torch.save(official.vit(width=64, patch=4, grid=(4, 4)), tmp_path / "a.pth")
    for source in (tmp_path / "a.pth", Config(dict(model=tiny.dino()))):
        with pytest.raises(ValueError, match="one number for each"):
            get_backbone(source, mean=mean, std=std)


@pytest.mark.parametrize(
    ("preprocessor", "known"),
    [
        (dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True), True),  # mmpretrain's
        (dict(mean=[1, 2, 3], std=[4, 5, 6]), False),  # of B, G and R
        (dict(mean=[1, 2, 3], std=[4, 5, 6], bgr_to_rgb=True), True),  # mmdet's
        (dict(to_rgb=True), False),
        (dict(mean=["a", 2, 3], std=[4, 5, 6], to_rgb=True), False),
        (dict(mean=[1, 2, 3], std=[4, 0, 6], to_rgb=True), False),
    ],
)
def test_normalization__of_other_preprocessors(preprocessor, known) -> None:
    found = normalization(f"data_preprocessor = {preprocessor!r}\n")
    assert found == (((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)) if known else None)


def test_normalization__the_preprocessors_of_mmrel() -> None:
    """Those that have ImageNet's unless they say otherwise."""
    ours = {
        name
        for name, kind in vars(mmrel.models.data_preprocessors).items()
        if isinstance(kind, type) and issubclass(kind, ViewPreprocessor)
    }
    assert ours == set(OUR_PREPROCESSORS)
    for name in ours:
        assert (
            normalization(f"model = dict(data_preprocessor=dict(type='mmrel.{name}'))") == IMAGENET
        )
    assert normalization("model = dict(type='mmrel.DINO')") == IMAGENET
    assert normalization("model = dict(type='ImageClassifier')") is None


def test_extract_features__one_depth_for_all_images(backbone, tmp_path) -> None:
    """A dark 12-bit image beside a bright one is not taken for one of 10 bits."""
    values = [np.full((24, 24), level, np.uint16) for level in (900, 4000)]
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for array, path in zip(values, paths, strict=True):
        Image.fromarray(array).save(path)
    bytes8 = [np.repeat((array >> 4).astype(np.uint8)[..., None], 3, axis=2) for array in values]
    expected = extract_features(backbone, bytes8, **SIZES)
    pictures = [Image.open(path) for path in paths]
    for images in (paths, pictures, iter(paths)):
        torch.testing.assert_close(extract_features(backbone, images, **SIZES), expected)
    one = extract_features(backbone, paths[0], bit_depth=12, **SIZES)
    torch.testing.assert_close(one, expected[:1])
