"""What of a backbone stands for an image: blocks, norm, tokens, and crops of any shape, the same everywhere."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from checkpoints import official
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image
from test_backbone import LineHandler
from torch import Tensor

from mmrel.apis import extract_features, get_backbone
from mmrel.apis.features import choose_readout
from mmrel.apis.folder import extract_folder
from mmrel.apis.knn import evaluate_knn
from mmrel.datasets.bad_samples import UnreadableImageError
from mmrel.models.backbones import ViT
from mmrel.registry import TRANSFORMS

SIZES = dict(resize=20, crop=16)


def config(**settings: object) -> Config:
    return Config(dict(default_scope="mmpretrain", model=dict(backbone=tiny.vit(**settings))))


@pytest.fixture
def backbone() -> ViT:
    torch.manual_seed(3)
    found = get_backbone(config())
    with torch.no_grad():
        for parameter in found.ln1.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return found


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 16, 16)


def tokens_after(backbone: ViT, images: Tensor, block: int, norm: bool) -> Tensor:
    """Block by block, as the papers' get_intermediate_layers."""
    x = backbone.patch_embed(images)[0]
    x = torch.cat([backbone.cls_token.expand(len(x), -1, -1), x], dim=1) + backbone.pos_embed
    for layer in backbone.layers[: block + 1]:
        x = layer(x)
    return backbone.ln1(x) if norm else x


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("blocks", [(0,), (1,), (0, 1), (-2, -1)])
@pytest.mark.parametrize("feature", ["cls", "avg", "cls+avg"])
def test_extract_features__of_blocks(backbone, images, feature, blocks, norm) -> None:
    parts = []
    with torch.no_grad():
        for block in blocks:
            tokens = tokens_after(backbone, images, block % 2, norm)
            kinds = {"cls": tokens[:, 0], "avg": tokens[:, 1:].mean(dim=1)}
            parts += [kinds[name] for name in feature.split("+")]
    expected = torch.cat(parts, dim=1)
    found = extract_features(backbone, images, feature, blocks, norm)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        extract_features(backbone.double(), images.double(), feature, blocks, norm), expected
    )


def test_get_backbone__its_choice_is_the_default(tmp_path, images) -> None:
    path = tmp_path / "dino.pth"
    torch.save(official.vit(width=64, patch=4, grid=(4, 4)), path)
    plain, chosen = get_backbone(path), get_backbone(path, out_indices=(-2, 1), out_norm=False)
    assert (list(chosen.out_indices), chosen.out_norm) == ([0, 1], False)
    assert (list(plain.out_indices), plain.out_norm) == ([1], True)
    expected = extract_features(plain, images, "cls", (0, 1), False)
    assert torch.equal(extract_features(chosen, images), expected)
    last = extract_features(chosen, images, out_indices=(-1,), out_norm=True)
    torch.testing.assert_close(last, extract_features(plain, images))
    with torch.no_grad():
        assert torch.equal(chosen(images).cls, plain(images).cls)


@pytest.mark.parametrize("blocks", [(), (2,), (-3,), (1, 0), (0, -2)])
def test_blocks_that_do_not_exist(backbone, images, blocks) -> None:
    for call in (
        lambda: extract_features(backbone, images, out_indices=blocks),
        lambda: get_backbone(config(), out_indices=blocks),
    ):
        with pytest.raises(ValueError, match="not valid for 2 blocks"):
            call()


def test_readout__as_a_table_names_it(backbone) -> None:
    assert str(choose_readout(backbone)) == "cls of block 1"
    named = str(choose_readout(backbone, "avg", (-2, -1), False))
    assert named == "avg of blocks 0, 1 before the norm"


@pytest.mark.parametrize("size", [(40, 23), (23, 40), (31, 31), (7, 90)])
def test_cover__of_a_square_is_the_short_edge(size) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    edge = dict(type="mmpretrain.ResizeEdge", scale=20, edge="short")
    host = TRANSFORMS.build({**edge, "backend": "pillow", "interpolation": "bicubic"})
    cover = TRANSFORMS.build(dict(type="mmrel.ResizeToCover", size=(20, 20)))
    assert np.array_equal(cover({"img": image})["img"], host({"img": image})["img"])


@pytest.mark.parametrize("crop", [(16, 32), (32, 16), (16, 28)])
@pytest.mark.parametrize("size", [(40, 30), (30, 90), (90, 30)])
def test_extract_features__of_rectangles(backbone, crop, size) -> None:
    """Resized to cover 8/7 of the crop in the photo's own aspect ratio, then the central rectangle."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    wanted = [round(side * 18 / 16) for side in crop]
    scale = max(w / s for w, s in zip(wanted, size, strict=True))
    rows, cols = (max(w, int(s * scale)) for w, s in zip(wanted, size, strict=True))
    resized = Image.fromarray(pixels).resize((cols, rows), Image.Resampling.BICUBIC)
    box = round((cols - crop[1]) / 2), round((rows - crop[0]) / 2)
    cut = np.asarray(resized)[box[1] : box[1] + crop[0], box[0] : box[0] + crop[1]]
    assert cut.shape == (*crop, 3)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    tensor = torch.from_numpy((cut - mean) / std).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(
        extract_features(backbone, pixels, crop=crop),
        extract_features(backbone, tensor),
        rtol=1e-4,
        atol=1e-5,
    )


def test_extract_features__the_margin_grows_with_the_crop(backbone) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    for crop, resize in ((224, 256), (112, 128), (28, 32)):
        expected = extract_features(backbone, pixels, crop=crop, resize=resize)
        assert torch.equal(extract_features(backbone, pixels, crop=crop), expected)


def test_extract_features__smaller_than_a_patch(backbone, tmp_path) -> None:
    small, path = np.zeros((3, 9, 3), np.uint8), tmp_path / "tiny.png"
    Image.fromarray(small).save(path)
    for image, name in ((path, str(path)), (small, "image 0"), (Image.open(path), "image 0")):
        with pytest.raises(UnreadableImageError, match="3x9 pixels are smaller than a patch of 4"):
            extract_features(backbone, [image], **SIZES)
        with pytest.raises(UnreadableImageError, match=name):
            extract_features(backbone, image, **SIZES)
    for crop in (3, (16, 18), (2, 16)):
        with pytest.raises(ValueError, match=r"whole number of 4-pixel patches.*multiples of 4"):
            extract_features(backbone, path, crop=crop)
    with pytest.raises(ValueError, match="3x9 pixels is not a whole number of 4-pixel patches"):
        extract_features(backbone, torch.zeros(1, 3, 3, 9))


def test_extract_folder__takes_the_same(backbone, tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        pixels = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name / "0.png")
    options = dict(feature="cls+avg", out_indices=(-2, -1), out_norm=False, crop=(16, 24))
    found = extract_folder(
        backbone, tmp_path / "photos", tmp_path / "bad.jsonl", workers=0, **options
    )
    paths = [tmp_path / "photos" / path for path in found.paths]
    expected = extract_features(backbone, paths, **options)
    assert expected.shape == (2, 4 * tiny.WIDTH)
    torch.testing.assert_close(torch.from_numpy(found.features), expected)


@pytest.mark.parametrize("layout", ["dino", "dinov2", "timm", "hf-dinov2"])
def test_get_backbone__logs_what_it_loaded(layout, tmp_path) -> None:
    file = official.LAYOUTS[layout]()
    path = official.save(file.content, tmp_path / f"{layout}.pth")
    logger, lines = MMLogger.get_current_instance(), LineHandler()
    logger.addHandler(lines)
    backbone = get_backbone(path, num_heads=3)
    logger.removeHandler(lines)
    told = lines.texts[0]
    assert told == backbone.provenance and told.startswith(f"{path}: ")
    network = "teacher" if file.student else "its only network"
    assert f"{network} in the layout of {layout}, " in told
    assert f"{official.DEPTH} blocks of {official.WIDTH} channels and 3 heads" in told
    for group, count in file.left_out.items():
        assert f"{count} of {group}" in told
    assert lines.texts[1] == (
        f"{path}: all {len(backbone.state_dict())} tensors of the backbone fit, none is missing"
    )


ENTRIES = {
    "get_backbone": lambda backbone, folder: None,
    "extract_features": lambda backbone, folder: extract_features(
        backbone, sorted(folder.rglob("*.png")), crop=224
    ),
    "extract_folder": lambda backbone, folder: extract_folder(
        backbone, folder, folder / "bad.jsonl", workers=0
    ),
    "evaluate_knn": lambda backbone, folder: evaluate_knn(backbone, folder, workers=0),
}


@pytest.mark.parametrize("layout", ["dino", "dinov2", "timm"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry__refuses_missing_tensors(entry, layout, tmp_path) -> None:
    """Whole files pass all the way; without one tensor none gives a figure."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    file, path = official.LAYOUTS[layout](), tmp_path / "x.pth"
    official.save(file.content, path)
    ENTRIES[entry](get_backbone(path, num_heads=3), Path(tmp_path / "photos"))
    for key in ("blocks.1.mlp.fc2.bias", "norm.weight", "pos_embed"):
        official.save(file.build({k: v for k, v in file.teacher.items() if k != key}), path)
        with pytest.raises(ValueError, match="x.pth"):
            ENTRIES[entry](get_backbone(path, num_heads=3), tmp_path / "photos")
