"""Thresholded attention and its overlap with objects, against slow loops and special cases."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference import attention as reference

from mmrel.evaluation.attention import (
    attention_jaccard,
    jaccard,
    keep_mass,
    mean_query_attention,
    query_attention,
    voc_images,
)
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import block_attention

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def make_vit(**kwargs: object) -> ViT:
    torch.manual_seed(0)
    vit = ViT(arch=ARCH, img_size=16, patch_size=4, **kwargs)
    vit.init_weights()
    for layer in vit.layers:
        torch.nn.init.normal_(layer.attn.qkv.weight, std=0.7)
    vit.eval()
    return vit


@pytest.mark.parametrize("mass", [0.05, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_keep_mass__equals_the_loop(mass: float, dtype: torch.dtype) -> None:
    attention = torch.rand(5, 37, dtype=dtype) ** 4
    expected = [reference.kept_tokens(row.double().tolist(), mass) for row in attention]
    assert keep_mass(attention, mass).tolist() == expected


def test_keep_mass__by_hand() -> None:
    """0.1 and 0.3 hold 40 %, so 0.6 stays; scale does not matter."""
    assert keep_mass(torch.tensor([[0.3, 0.6, 0.1]])).tolist() == [[False, True, False]]
    assert keep_mass(torch.tensor([[30.0, 60.0, 10.0]])).tolist() == [[False, True, False]]
    assert keep_mass(torch.tensor([[0.3, 0.6, 0.1]]), 0.61).tolist() == [[True, True, False]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_keep_mass__equal_tokens(dtype: torch.dtype) -> None:
    """Of N equal tokens 60 % stay, though tenths are no binary numbers."""
    assert keep_mass(torch.full((2, 10), 0.1, dtype=dtype)).sum(1).tolist() == [6, 6]


def test_keep_mass__something_stays_and_holds_the_mass() -> None:
    attention = torch.rand(4, 50).softmax(dim=1)
    for mass in (1e-9, 0.3, 0.6, 1.0):
        kept = keep_mass(attention, mass)
        assert kept.any(dim=1).all()
        assert ((attention * kept).sum(1) >= mass - 1e-6).all()
    assert keep_mass(attention, 1.0).all()
    assert keep_mass(torch.ones(3, 1)).all()


@pytest.mark.parametrize(
    ("attention", "mass", "message"),
    [
        (torch.ones(4), 0.6, r"shape \(4,\); wanted \(heads, N\)"),
        (torch.ones(1, 2, 3), 0.6, r"wanted \(heads, N\)"),
        (torch.ones(2, 0), 0.6, r"wanted \(heads, N\)"),
        (torch.ones(2, 3), 0.0, "mass is 0.0"),
        (torch.ones(2, 3), 60, "mass is 60"),
        (torch.zeros(2, 3), 0.6, "wanted finite positive sums"),
        (torch.full((2, 3), torch.nan), 0.6, "wanted finite positive sums"),
    ],
)
def test_keep_mass__refuses(attention: torch.Tensor, mass: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        keep_mass(attention, mass)


def test_query_attention__class_token() -> None:
    vit, images = make_vit(), torch.randn(2, 3, 12, 20)
    found, grid = query_attention(vit, images, 0)
    assert grid == (3, 5) and found.shape == (2, 2, 15)
    assert torch.equal(found, block_attention(vit, images, 0)[:, :, 0, 1:])


@pytest.mark.parametrize("with_cls_token", [True, False])
def test_query_attention__mean_query_is_the_mean_of_queries(with_cls_token: bool) -> None:
    vit = make_vit(with_cls_token=with_cls_token).double()
    images = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    inputs: list[torch.Tensor] = []
    handle = vit.layers[1].attn.register_forward_hook(lambda m, args, out: inputs.append(args[0]))
    vit(images)
    handle.remove()
    extra = int(with_cls_token)
    qkv = vit.layers[1].attn.qkv(inputs[0]).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    query = qkv[0][:, :, extra:].mean(dim=2, keepdim=True)
    wanted = (query @ qkv[1].mT / 8**0.5).softmax(dim=-1)[:, :, 0, extra:]
    found, _ = query_attention(vit, images, 1, "mean")
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_mean_query__attention_of_nothing() -> None:
    """A query that gives a token no attention at all must not make the result infinite."""
    found = mean_query_attention(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert found.isfinite().all() and found[0] > 0.99


def test_query_attention__no_class_token() -> None:
    vit = make_vit(with_cls_token=False)
    with pytest.raises(ValueError, match=r"no class token.*query='mean' \(--query mean\)"):
        query_attention(vit, torch.randn(1, 3, 16, 16))
    with pytest.raises(ValueError, match="query is 'max'; choose from cls, mean"):
        query_attention(vit, torch.randn(1, 3, 16, 16), query="max")


def test_jaccard__equals_the_loop() -> None:
    masks, truth, valid = torch.rand(3, 6, 7) < 0.5, torch.rand(6, 7) < 0.4, torch.rand(6, 7) < 0.8
    expected = [reference.jaccard(mask.tolist(), truth.tolist(), valid.tolist()) for mask in masks]
    assert jaccard(masks, truth, valid).tolist() == expected


def test_jaccard__special_cases() -> None:
    square = torch.zeros(4, 4, dtype=torch.bool)
    square[:2, :2] = True
    masks = torch.stack([square, ~square, torch.zeros_like(square), torch.ones_like(square)])
    assert jaccard(masks, square).tolist() == [1, 0, 0, 0.25]
    assert jaccard(masks[2:3], ~square & square).tolist() == [1]
    with pytest.raises(ValueError, match=r"masks have shape \(4, 4\)"):
        jaccard(square, square)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three images in VOC's layout, the last without an object."""
    rng = np.random.default_rng(0)
    for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (tmp_path / name).mkdir(parents=True)
    for index in range(3):
        pixels = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "JPEGImages" / f"{index}.jpg")
        labels = np.zeros((24, 32), dtype=np.uint8)
        labels[8:16, 8 * index : 8 * index + 12] = 0 if index == 2 else 5
        labels[0] = 255
        picture = Image.fromarray(labels, mode="P")
        picture.putpalette(rng.integers(0, 255, 768, dtype=np.uint8).tobytes())
        picture.save(tmp_path / "SegmentationClass" / f"{index}.png")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("0\n1\n2\n")
    return tmp_path


def test_attention_jaccard__best_head_of_each_image(voc: Path) -> None:
    vit = make_vit().train()
    vit.train()
    found = attention_jaccard(vit, voc_images(voc), size=None)
    assert vit.training
    vit.eval()
    expected = []
    for path, labels in list(voc_images(voc))[:2]:
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float()
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in IMAGENET)
        attention, grid = query_attention(vit, (pixels - mean) / std)
        masks = keep_mass(attention[0]).unflatten(1, grid)
        masks = masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
        truth, valid = torch.from_numpy(labels == 5), torch.from_numpy(labels != 255)
        expected.append([100 * float(jaccard(m[None], truth, valid)) for m in masks])
    assert found.count == 2
    assert found.mean == pytest.approx(np.max(expected, axis=1).mean(), abs=1e-6)
    assert found.heads == pytest.approx(np.mean(expected, axis=0), abs=1e-6)


IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda root: (root / "ImageSets/Segmentation/val.txt").unlink(), OSError, "There is no"),
        (
            lambda root: (root / "ImageSets/Segmentation/val.txt").write_text("2"),
            ValueError,
            "no image has a foreground",
        ),
        (
            lambda root: Image.new("L", (5, 5), 1).save(root / "SegmentationClass/0.png"),
            ValueError,
            r"labels are \(5, 5\) and their image is \(24, 32\)",
        ),
    ],
)
def test_attention_jaccard__refuses(
    voc: Path, change: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    change(voc)
    with pytest.raises(error, match=message):
        attention_jaccard(make_vit(), voc_images(voc), size=16)
