"""Arrays of attention, similarity, relations and matches, against their formulas, and the figures of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from mmrel.evaluation.attention import keep_mass
from mmrel.evaluation.correspondence import correspondence_accuracy, mutual_nearest
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import block_attention
from mmrel.visualization import attention, correspondence, relations, similarity
from mmrel.visualization.photos import photo_batch, photo_tokens

POINTS = [(0.1, 0.9), (25, 3)]
"""In a photograph of 20 x 30 pixels, brought to 16 x 24: 4 x 6 patches, row 3 col 0 and row 0 col 5."""

OWN = [18, 5]


def photo(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def vit() -> ViT:
    return tiny.build(tiny.dino()).teacher.backbone


@pytest.fixture
def without_class_token() -> ViT:
    return tiny.build(tiny.selfpatch()).teacher.backbone


def test_attention_maps__are_the_class_tokens(vit: ViT) -> None:
    maps = attention.attention_maps(vit, photo(), block=0, size=16)
    batch, _ = photo_batch(vit, photo(), 16)
    vit.eval()
    wanted = block_attention(vit, batch, 0)[0, :, 0, 1:].unflatten(1, (4, 6))
    assert maps.shape == (tiny.HEADS, 4, 6)
    np.testing.assert_allclose(maps, wanted.detach(), atol=1e-6)
    kept = attention.kept_masks(maps, 0.6)
    assert (kept == keep_mass(wanted.flatten(1)).unflatten(1, (4, 6)).numpy()).all()


def test_attention_maps__without_class_token(without_class_token: ViT) -> None:
    with pytest.raises(ValueError, match=r"no class token.*query='mean' \(--query mean\)"):
        attention.attention_maps(without_class_token, photo(), size=16)
    maps = attention.attention_maps(without_class_token, photo(), query="mean", size=16)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_similarity_maps__equal_to_the_formula(vit: ViT) -> None:
    maps = similarity.similarity_maps(vit, photo(), POINTS, size=16)
    tokens = photo_tokens(vit, photo(), 16).tokens
    assert maps.shape == (2, 4, 6)
    for found, own in zip(maps, OWN, strict=True):
        wanted = cosine_similarity(tokens[own], tokens, dim=1)
        np.testing.assert_allclose(found.ravel(), wanted, atol=1e-6)
        assert found.ravel()[own] == pytest.approx(1, abs=1e-6) == found.max()


def test_similarity_maps__of_another_photo(vit: ViT) -> None:
    other = photo(40, 20, seed=1)
    maps = similarity.similarity_maps(vit, photo(), POINTS, other, size=16)
    first, second = (photo_tokens(vit, image, 16).tokens for image in (photo(), other))
    assert maps.shape == (2, 8, 4)
    wanted = cosine_similarity(first[OWN[1]], second, dim=1)
    np.testing.assert_allclose(maps[1].ravel(), wanted, atol=1e-6)


def test_spatial_relations__equal_to_the_formula(vit: ViT) -> None:
    found = relations.spatial_relations(vit, photo(), POINTS, heads=[1], temperature=0.5, size=16)
    tokens = photo_tokens(vit, photo(), 16).tokens
    width = tokens.shape[1] // tiny.HEADS
    part = tokens[:, width : 2 * width]
    wanted = (part[OWN] @ part.T / width**0.5 / 0.5).softmax(dim=1)
    np.testing.assert_allclose(found.reshape(2, -1), wanted, atol=1e-6)
    every = relations.spatial_relations(vit, photo(), POINTS, size=16)
    np.testing.assert_allclose(every.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_channel_relations__mean_products_in_a_deterministic_order(vit: ViT) -> None:
    found = relations.channel_relations(vit, photo(), size=16)
    tokens = photo_tokens(vit, photo(), 16).tokens.double()
    np.testing.assert_allclose(found, tokens.T @ tokens / 24, atol=1e-5)
    blocks = np.kron([[1, -1], [-1, 1]], np.ones((3, 3)))
    mixed = np.array([0, 3, 1, 4, 2, 5])
    order = relations.channel_order(blocks[np.ix_(mixed, mixed)])
    assert {tuple(sorted(mixed[order[:3]])), tuple(sorted(mixed[order[3:]]))} == {
        (0, 1, 2),
        (3, 4, 5),
    }


def test_relations__refuse(vit: ViT) -> None:
    with pytest.raises(ValueError, match="has the heads 0 to"):
        relations.spatial_relations(vit, photo(), heads=[9], size=16)
    with pytest.raises(ValueError, match="temperature is 0"):
        relations.spatial_relations(vit, photo(), temperature=0, size=16)
    with pytest.raises(ValueError, match="outside of the image"):
        relations.spatial_relations(vit, photo(), [(30, 0)], size=16)


def test_photo_matches__best_mutual_neighbours(vit: ViT) -> None:
    pair = photo(), photo(40, 20, seed=1)
    tokens = [photo_tokens(vit, image, 16).tokens for image in pair]
    mutual = mutual_nearest(*tokens)
    found = correspondence.photo_matches(vit, *pair, count=2, by="similarity", size=16)
    assert (found.mutual, found.patches, len(found.places)) == (len(mutual), 24, 2)
    row, col = divmod(int(mutual.first[0]), 6)
    assert found.places[0, 0] == pytest.approx([(col + 0.5) / 6, (row + 0.5) / 4])
    row, col = divmod(int(mutual.second[0]), 4)
    assert found.places[0, 1] == pytest.approx([(col + 0.5) / 4, (row + 0.5) / 8])


def test_photo_matches__by_attention(vit: ViT) -> None:
    """All patches of a photograph match themselves; the most attended ones are chosen."""
    found = correspondence.photo_matches(vit, photo(), photo(), count=3, size=16)
    assert found.mutual == 24 and (found.places[:, 0] == found.places[:, 1]).all()
    mean = attention.attention_maps(vit, photo(), size=16).mean(axis=0)
    for place, own in zip(found.places[:, 0], np.argsort(-mean.ravel()), strict=False):
        assert place == pytest.approx([(own % 6 + 0.5) / 6, (own // 6 + 0.5) / 4])


def test_crop_matches__identical_crops_are_found(vit: ViT) -> None:
    whole = torch.tensor([[0.0, 0, 30, 20, 0]] * 2)
    found = correspondence.crop_matches(vit, photo(), radius=0, boxes=whole, size=16)
    assert (found.accuracy, found.shared) == (100, 24) and found.correct.all()


def test_crop_matches__random_crops(vit: ViT) -> None:
    image = photo(60, 80)
    found = correspondence.crop_matches(vit, image, seed=3, size=16, by="similarity", count=50)
    crops = [correspondence.cut(image, box) for box in found.boxes]
    photos = [photo_tokens(vit, crop, 16) for crop in crops]
    tokens, grids = [p.tokens for p in photos], (photos[0].grid, photos[1].grid)
    wanted = correspondence_accuracy(*tokens, torch.from_numpy(found.boxes), grids, 1)
    assert (found.accuracy, found.shared) == wanted
    assert len(found.correct) == found.matches.mutual


def test_cut__flips() -> None:
    image = photo()
    assert (correspondence.cut(image, np.array([2, 3, 10, 7, 0])) == image[3:10, 2:12]).all()
    assert (correspondence.cut(image, np.array([2, 3, 10, 7, 1])) == image[3:10, 11:1:-1]).all()


def test_matches__without_class_token(without_class_token: ViT) -> None:
    found = correspondence.photo_matches(without_class_token, photo(), photo(), count=2, size=16)
    assert len(found.places) == 2


def test_matches__refuse(vit: ViT) -> None:
    for change in (dict(by="magic"), dict(count=0)):
        with pytest.raises(ValueError, match="by attention or similarity"):
            correspondence.photo_matches(vit, photo(), photo(), size=16, **change)


def draw_attention(vit: ViT, path: Path, theme: str) -> None:
    maps = {"weights": attention.attention_maps(vit, photo(), size=16)}
    attention.draw_attention(photo(), maps, path, heads=[0], theme=theme)


def draw_similarity(vit: ViT, path: Path, theme: str) -> None:
    other = photo(40, 20)
    maps = similarity.similarity_maps(vit, photo(), POINTS, other, size=16)
    similarity.draw_similarity(photo(), POINTS, {"weights": maps}, path, other, theme)


def draw_relations(vit: ViT, path: Path, theme: str) -> None:
    spatial = {"weights": relations.spatial_relations(vit, photo(), POINTS, size=16)}
    channel = {"weights": relations.channel_relations(vit, photo(), size=16)}
    relations.draw_relations(photo(), POINTS, spatial, channel, path, theme)


def draw_matches(vit: ViT, path: Path, theme: str) -> None:
    found = {"weights": correspondence.photo_matches(vit, photo(), photo(40, 20), size=16)}
    correspondence.draw_photo_matches(photo(), photo(40, 20), found, path, theme)


def draw_crops(vit: ViT, path: Path, theme: str) -> None:
    found = {"weights": correspondence.crop_matches(vit, photo(), size=16)}
    correspondence.draw_crop_matches(photo(), found, path, theme)


@pytest.mark.parametrize(
    "draw", [draw_attention, draw_similarity, draw_relations, draw_matches, draw_crops]
)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_draw__page_and_content(
    vit: ViT, tmp_path: Path, draw: Callable[[ViT, Path, str], None], theme: str
) -> None:
    draw(vit, tmp_path / "new" / "x.png", theme)
    picture = Image.open(tmp_path / "new" / "x.png").convert("RGB")
    assert picture.getpixel((0, 0)) == ((255, 255, 255) if theme == "light" else (15, 20, 27))
    assert picture.getcolors(100) is None  # more than that
    assert Image.open(tmp_path / "new" / "x.png").info["dpi"][0] == pytest.approx(200, abs=0.1)


@pytest.mark.parametrize("ending", [".pdf", ".svg"])
def test_draw__vectors_are_the_same_each_time(vit: ViT, tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in paths:
        draw_crops(vit, path, "light")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"%PDF" if ending == ".pdf" else b"<?xml")


def test_draw__refuses(vit: ViT, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="theme is 'pink'; choose from light, dark"):
        draw_crops(vit, tmp_path / "x.png", "pink")
    with pytest.raises(ValueError, match=r"must end with \.png, or for vector graphics"):
        draw_crops(vit, tmp_path / "x.jpeg", "light")
    maps = {"weights": attention.attention_maps(vit, photo(), size=16)}
    draw = partial(attention.draw_attention, photo(), maps, tmp_path / "x.png")
    with pytest.raises(ValueError, match="has the heads 0 to"):
        draw(heads=[7])
    with pytest.raises(ValueError, match="mass is 1.5"):
        draw(threshold=1.5)
    assert not list(tmp_path.iterdir())
