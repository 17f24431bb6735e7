"""Relation maps against the plain formulas, and the figure of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import GLOBAL, HEADS, WIDTH, build, dino, ibot, sere

from mmrel.ops.overlap import overlap_lattice, sample_tokens
from mmrel.visualization.relation_figure import central_query, draw_relation_maps, overlap_image
from mmrel.visualization.relation_maps import cut_views, relation_maps

MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


def images(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (40, 50, 3), dtype=np.uint8) for _ in range(count)]


def test_cut_views__crops_and_geometry() -> None:
    """Boxes in whole pixels of each image; the second view is the mirrored crop."""
    pictures = images()
    views = cut_views(pictures, 20)
    assert views.crops.shape == (6, 3, 20, 20) and views.geometry.shape == (3, 2, 5)
    assert views.boxes.tolist() == [[1, 2, 36, 29, 0], [13, 9, 36, 29, 1]]
    crop = (
        Image.fromarray(pictures[1])
        .crop((13, 9, 49, 38))
        .resize((20, 20), Image.Resampling.BICUBIC)
    )
    expected = torch.from_numpy(np.array(crop)[:, ::-1].copy()).permute(2, 0, 1)
    assert torch.equal(views.crops[4], expected)


def test_overlap_image__what_both_boxes_hold() -> None:
    views = cut_views(images(1), 20)
    assert np.array_equal(overlap_image(views), views.images[0][9:31, 13:37])


def test_relation_maps__equal_to_the_formula() -> None:
    """Softmax of the scaled inner products of sampled tokens, per head, then the mean over heads."""
    model = build(sere(ibot()))
    views = cut_views(images(), GLOBAL)
    maps = relation_maps(model, views, MEAN, STD)
    crops = (views.crops.float() - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(
        1, 3, 1, 1
    )
    with torch.no_grad():
        tokens = model.teacher.backbone(crops)
        grid = tokens.prenorm_patches.transpose(1, 2).unflatten(2, tokens.grid)
        projected = (
            model.teacher.neck["spatial_relation"]
            .projection.train()(grid)[:3]
            .flatten(2)
            .transpose(1, 2)
        )
    lattice, _ = overlap_lattice(views.geometry[:, 0], views.geometry[:, 1], 3)
    sampled = sample_tokens(projected, lattice, tokens.grid)[0].unflatten(1, (HEADS, -1))
    scale = (WIDTH // HEADS) ** -0.5 / 0.5
    expected = torch.einsum("phd,qhd->hpq", sampled, sampled).mul(scale).softmax(-1).mean(0)
    np.testing.assert_allclose(maps.spatial[0], expected.numpy(), rtol=1e-5)
    assert maps.spatial.shape == (2, 9, 9) and maps.channel.shape == (2, WIDTH, WIDTH)
    np.testing.assert_allclose(maps.channel.sum(-1), 1, rtol=1e-5)
    assert model.neck["spatial_relation"].training, "the mode that it had before"


def test_relation_maps__needs_sere() -> None:
    with pytest.raises(ValueError, match="no head.*channel_relation.*mmrel.SERE"):
        relation_maps(build(dino()), cut_views(images(), GLOBAL), MEAN, STD)


def test_draw_relation_maps__writes_a_picture(tmp_path: Path) -> None:
    model = build(sere(ibot()))
    views = cut_views(images(), GLOBAL)
    maps = relation_maps(model, views, MEAN, STD)
    draw_relation_maps(views, maps, maps, central_query(3), tmp_path / "a" / "relations.png")
    assert min(Image.open(tmp_path / "a" / "relations.png").size) > 1000
