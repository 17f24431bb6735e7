"""get_backbone and extract_features: the same numbers as a direct forward, from every kind of source and image."""

import logging
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from checkpoints import official
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image
from torchvision.transforms import functional as tv

from mmrel.apis import extract_features, get_backbone
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.models.backbones import MoCoV3ViT, ViT

ROOT = Path(__file__).parents[2]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = dict(resize=20, crop=16)


def config(model: dict) -> Config:
    return Config(dict(default_scope="mmpretrain", model=model))


@pytest.fixture
def backbone() -> ViT:
    torch.manual_seed(3)
    model = ViT(**{k: v for k, v in tiny.vit(drop_path_rate=0.5).items() if k != "type"})
    model.init_weights()
    model.eval()
    return model


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three sizes and three formats; only the PNG files hold exactly these pixels."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.jpg")]
    for number, path in enumerate(paths):
        pixels = rng.integers(0, 255, (23 + 9 * number, 31, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 23 + 9 * number), 3).save(path)
    return paths


def protocol(path: Path, resize: int, crop: int) -> torch.Tensor:
    """The protocol step by step: short side, bicubic (Pillow), central square, ImageNet's mean and deviation."""
    image = Image.open(path).convert("RGB")
    scale = resize / min(image.size)
    size = [resize if s == min(image.size) else int(s * scale) for s in image.size]
    pixels = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BICUBIC))
    top, left = round((size[1] - crop) / 2), round((size[0] - crop) / 2)
    square = torch.from_numpy(pixels[top : top + crop, left : left + crop].copy()).permute(2, 0, 1)
    return tv.normalize(square.double() / 255, list(MEAN), list(STD)).float()


@pytest.mark.parametrize("feature", ["cls", "avg", "cls+avg"])
def test_extract_features__equal_to_a_direct_forward(backbone, photos, feature) -> None:
    images = torch.stack([protocol(path, 20, 16) for path in photos])
    with torch.no_grad():
        tokens = backbone(images)
    parts = {"cls": tokens.cls, "avg": tokens.patches.mean(dim=1)}
    expected = torch.cat([parts[name] for name in feature.split("+")], dim=1)
    found = extract_features(backbone, photos, feature, batch_size=2, **SIZES)
    assert found.dtype == torch.float32 and found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_extract_features__default_sizes(backbone, photos) -> None:
    images = torch.stack([protocol(path, 256, 224) for path in photos[:1]])
    with torch.no_grad():
        expected = backbone(images).cls
    torch.testing.assert_close(
        extract_features(backbone, photos[0]), expected, rtol=1e-5, atol=1e-5
    )


def test_extract_features__every_kind_of_image_gives_the_same(backbone, photos) -> None:
    expected = extract_features(backbone, photos, **SIZES)
    pictures = [Image.open(path) for path in photos]
    arrays = [np.array(picture.convert("RGB")) for picture in pictures]
    tensor = torch.stack([protocol(path, 20, 16) for path in photos])
    mixed = [str(photos[0]), pictures[1], arrays[2]]
    for images in (pictures, arrays, mixed, tuple(photos), iter(photos), tensor):
        found = extract_features(backbone, images, **SIZES)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for one in (photos[1], str(photos[1]), pictures[1], arrays[1]):
        torch.testing.assert_close(extract_features(backbone, one, **SIZES), expected[1:2])
    same = np.stack([arrays[0], arrays[0]])
    torch.testing.assert_close(extract_features(backbone, same, **SIZES), expected[[0, 0]])


def test_extract_features__grey_and_turned_pictures_as_from_files(backbone, tmp_path) -> None:
    """Pillow images pass the rules of mmrel.DecodeImage: EXIF orientation, grey to RGB."""
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 255, (24, 40), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    picture.save(path, exif=exif)
    from_file = extract_features(backbone, path, **SIZES)
    torch.testing.assert_close(extract_features(backbone, Image.open(path), **SIZES), from_file)
    assert not torch.allclose(extract_features(backbone, picture, **SIZES), from_file)


def test_extract_features__nothing_else_changes(backbone, photos) -> None:
    """Modes, gradients, random generators and threads are as before; the result can be trained on."""
    backbone.train()
    backbone.layers[0].eval()
    modes = [module.training for module in backbone.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = extract_features(backbone, photos, **SIZES)
    assert torch.equal(first, extract_features(backbone, photos, **SIZES))
    assert [module.training for module in backbone.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    assert torch.is_grad_enabled() and all(p.grad is None for p in backbone.parameters())
    head = torch.nn.Linear(first.shape[1], 2)
    head(first).sum().backward()
    assert head.weight.grad is not None and bool(head.weight.grad.any())


def test_extract_features__without_class_token_the_mean_patch(photos) -> None:
    backbone = get_backbone(config(dict(backbone=tiny.vit(with_cls_token=False, final_norm=False))))
    expected = extract_features(backbone, photos, "avg", **SIZES)
    assert torch.equal(extract_features(backbone, photos, **SIZES), expected)
    for feature in ("cls", "cls+avg"):
        with pytest.raises(
            ValueError, match="this backbone has no class token, so choose from avg"
        ):
            extract_features(backbone, photos, feature, **SIZES)


def test_extract_features__half_precision_backbone(backbone, photos) -> None:
    expected = extract_features(backbone, photos, **SIZES)
    found = extract_features(backbone.bfloat16(), photos, **SIZES)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)


@pytest.mark.gpu
def test_extract_features__on_the_backbone_s_device(backbone, photos) -> None:
    expected = extract_features(backbone, photos, **SIZES)
    found = extract_features(backbone.cuda(), photos, **SIZES)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "images is empty"),
        (torch.zeros(0, 3, 16, 16), ValueError, "images is empty"),
        (
            torch.zeros(3, 16, 16),
            ValueError,
            r"tensor \(3, 16, 16\) of torch.float32; wanted \(B, 3",
        ),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), ValueError, "of torch.uint8; wanted"),
        (np.zeros((16, 16, 3)), ValueError, r"image 0 is an array \(16, 16, 3\) of float64"),
        (np.zeros((16, 16), np.uint8), ValueError, r"image 0 is an array \(16, 16\) of uint8"),
        ([np.zeros((9, 9, 3), np.uint8), np.zeros((3, 9, 9), np.uint8)], ValueError, "image 1 is"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"\(0, 4, 3\)"),
        ([object()], TypeError, "image 0 is a object; give a path"),
        (7, TypeError, "images is a int"),
    ],
)
def test_extract_features__bad_images(backbone, images, error, message) -> None:
    with pytest.raises(error, match=message):
        extract_features(backbone, images, **SIZES)


def test_extract_features__unreadable_files_are_named(backbone, photos, tmp_path) -> None:
    whole = photos[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    for name in ("cut.png", "text.jpg", "nowhere.png", "."):
        with pytest.raises(UnreadableImageError, match=str(tmp_path / name)):
            extract_features(backbone, [photos[0], tmp_path / name], **SIZES)
    with pytest.raises(UnreadableImageError, match=r"cut\.png"):
        extract_features(backbone, Image.open(tmp_path / "cut.png"), **SIZES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(resize=15, crop=16), "crop is 16 and resize is 15"),
        (dict(resize=15, crop=0), "crop is 0"),
        (dict(resize=20, crop=15), "not a whole number of 4-pixel patches"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(feature="mean"), "feature is 'mean'.*choose from cls, avg"),
    ],
)
def test_extract_features__bad_options(backbone, photos, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        extract_features(backbone, photos, **options)


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_get_backbone__from_a_pretraining_checkpoint(tmp_path, photos, network) -> None:
    """The features are those of the algorithm that was saved."""
    cfg = tiny.ibot(drop_path_rate=0.1)
    model = tiny.build(cfg).eval()
    with torch.no_grad():
        model.teacher.backbone.cls_token.add_(1)
    path = save(tmp_path / "epoch_1.pth", model.state_dict(), cfg)
    backbone = get_backbone(path, network)
    assert type(backbone) is ViT and not any(m.training for m in backbone.modules())
    assert backbone.num_heads == tiny.HEADS and backbone.mask_token is None
    images = torch.stack([protocol(photo, 20, 16) for photo in photos])
    with torch.no_grad():
        expected = model.extract_tokens(images, network).cls
    torch.testing.assert_close(extract_features(backbone, photos, **SIZES), expected)


def save(path: Path, state: dict[str, torch.Tensor], model: dict) -> Path:
    """A file as the runner writes it, with its config's text."""
    meta = dict(epoch=1, iter=3, cfg=config(model).pretty_text)
    torch.save({"state_dict": state, "meta": meta}, path)
    return path


def test_get_backbone__without_class_token_and_final_norm(tmp_path, photos) -> None:
    settings = tiny.vit(with_cls_token=False, final_norm=False)
    source = get_backbone(config(dict(type="mmrel.DINO", backbone=settings)))
    state = {f"teacher.backbone.{k}": v for k, v in source.state_dict().items()}
    path = save(tmp_path / "a.pth", state, dict(type="mmrel.DINO", backbone=settings))
    found = get_backbone(str(path))
    assert found.cls_token is None and not found.final_norm
    assert torch.equal(
        extract_features(found, photos, **SIZES), extract_features(source, photos, **SIZES)
    )


def test_get_backbone__mocov3_s_weights_in_a_plain_vit(tmp_path, photos) -> None:
    """Fixed positions are stored like learned ones; they are resized as that backbone does it."""
    settings = {**tiny.vit(), "type": "mmrel.MoCoV3ViT"}
    source = get_backbone(config(dict(backbone=settings)))
    assert type(source) is MoCoV3ViT
    state = {f"teacher.backbone.{k}": v for k, v in source.state_dict().items()}
    model = dict(type="mmrel.MoCoV3", backbone=settings)
    found = get_backbone(save(tmp_path / "a.pth", state, model))
    assert type(found) is ViT and found.pos_interpolation == source.pos_interpolation == "size"
    sizes = dict(resize=32, crop=24)
    assert torch.equal(
        extract_features(found, photos, **sizes), extract_features(source, photos, **sizes)
    )


def test_get_backbone__official_file(tmp_path) -> None:
    state = official.vit(width=64, patch=4, grid=(4, 4))
    torch.save(state, tmp_path / "dino.pth")
    found = get_backbone(tmp_path / "dino.pth")
    assert found.num_heads == 1 and found.patch_size == 4 and found.pos_interpolation == "dino"
    assert torch.equal(found.layers[1].ffn.layers[1].weight, state["blocks.1.mlp.fc2.weight"])
    assert len(found.state_dict()) == len(state)
    assert get_backbone(tmp_path / "dino.pth", num_heads=4).num_heads == 4


class LineHandler(logging.Handler):
    """Keeps what is logged for everybody."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_get_backbone__from_a_config(tmp_path, network) -> None:
    """Freshly drawn, by torch's generator; a file, a Config, and a base inside another method."""
    logger, lines = MMLogger.get_current_instance(), LineHandler()
    level = logger.level
    logger.addHandler(lines)
    path = tmp_path / "config.py"
    path.write_text(f"model = {tiny.sere()!r}\n")
    drawn = []
    for source in (path, str(path), config(tiny.sere()), config(tiny.ibot())):
        torch.manual_seed(5)
        drawn.append(get_backbone(source, network).state_dict())
    logger.removeHandler(lines)
    assert not lines.texts and logger.level == level
    assert drawn[0]["layers.0.attn.qkv.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    for other in drawn[1:]:
        assert other.keys() == drawn[0].keys()
        assert all(torch.equal(other[key], value) for key, value in drawn[0].items())
    assert ("mask_token" in drawn[0]) is (network == "student")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere.pth", FileNotFoundError, r"'nowhere.pth' does not exist \(looked for /"),
        ("nowhere.py", FileNotFoundError, "'nowhere.py' does not exist"),
        (".", FileNotFoundError, "is a folder"),
        (Config(dict(model=dict(type="x"))), ValueError, "backbone is none; wanted mmrel.ViT"),
        (Config(dict()), ValueError, "backbone is none"),
    ],
)
def test_get_backbone__bad_source(source, error, message) -> None:
    with pytest.raises(error, match=message):
        get_backbone(source)


def test_get_backbone__another_kind_of_backbone(tmp_path) -> None:
    settings = dict(type="mmrel.DenseViT", arch=tiny.vit()["arch"], out_indices=(0, 1))
    with pytest.raises(ValueError, match=r"backbone is mmrel.DenseViT; wanted mmrel.ViT"):
        get_backbone(config(dict(backbone=settings)))


def test_get_backbone__bad_network(tmp_path) -> None:
    with pytest.raises(ValueError, match="network is 'ema'; choose 'teacher' or 'student'"):
        get_backbone(config(tiny.dino()), "ema")
    state = {f"module.backbone.{k}": v for k, v in official.vit(width=64).items()}
    torch.save({"student": state}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="a.pth' has no teacher; it holds: student"):
        get_backbone(tmp_path / "a.pth")
    assert get_backbone(tmp_path / "a.pth", "student").num_layers == 2
    assert get_backbone(tmp_path / "a.pth", None).num_layers == 2


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"PK\x03\x04 cut"])
def test_get_backbone__damaged_file_is_named(tmp_path, content) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        get_backbone(path)


def test_import__is_lazy() -> None:
    """Without mmdet and mmseg, and without the quickstart's code."""
    code = (
        "import sys; sys.modules.update(mmdet=None, mmseg=None); import mmrel.apis; "
        "print(*sorted(m for m in sys.modules if m.startswith('mmrel.apis'))); "
        "from mmrel.apis import extract_features, get_backbone; "
        "print(*sorted(m for m in sys.modules if m.startswith('mmrel.apis')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == ("mmrel.apis", "mmrel.apis mmrel.apis.backbone mmrel.apis.features")


def test_import__unknown_name() -> None:
    with pytest.raises(ImportError, match="get_model"):
        from mmrel.apis import get_model  # noqa: F401
