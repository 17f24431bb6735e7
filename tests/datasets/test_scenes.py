"""The scenes: what is drawn and painted."""

import numpy as np
import pytest

from mmrel.datasets.scenes import CLASSES, PALETTE, SEGMENTATION_CLASSES, STUFF, THING_PALETTE
from mmrel.datasets.scenes.annotate import (
    IGNORE,
    border,
    coco_annotations,
    object_mask,
    polygons,
    run_lengths,
    segmentation_mask,
    tight_box,
)
from mmrel.datasets.scenes.draw import SCALES, draw_portrait, draw_scene, keyed_rng
from mmrel.datasets.scenes.motion import FRAMES, draw_sequence, paint_sequence
from mmrel.datasets.scenes.paint import paint, silhouette
from mmrel.datasets.scenes.patterns import PATTERNS
from mmrel.datasets.scenes.shapes import SILHOUETTES
from mmrel.datasets.scenes.texture import PHOTOS, cut, draw_crop, load_photo, photo_region
from mmrel.datasets.scenes.thumbnail import thumbnail_features


def _picture(index, size=96):
    return paint(draw_scene(keyed_rng(3, 0, index), "train", size))


def test_classes__names_and_colors_fit():
    assert len(CLASSES) >= 10
    assert SEGMENTATION_CLASSES == STUFF + CLASSES
    assert len(set(SEGMENTATION_CLASSES)) == len(PALETTE) == len(set(PALETTE))
    assert PALETTE[len(STUFF) :] == THING_PALETTE


def test_keyed_rng__depends_on_every_part_of_the_key():
    draws = {
        keyed_rng(seed, stream, index).random()
        for seed in (0, 1)
        for stream in (0, 1)
        for index in (0, 1)
    }
    assert len(draws) == 8
    assert keyed_rng(5, 2, 7).random() == keyed_rng(5, 2, 7).random()


@pytest.mark.parametrize("name", PHOTOS)
def test_photo_region__train_and_val_are_disjoint(name):
    height, width = load_photo(name).shape[:2]
    seen = np.zeros((height, width), int)
    for split in ("train", "val"):
        x, y, w, h = photo_region(name, split)
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height
        seen[y : y + h, x : x + w] += 1
    assert seen.max() == 1


def test_draw_scene__crops_stay_in_the_part_of_their_split():
    for split in ("train", "val"):
        for index in range(20):
            scene = draw_scene(keyed_rng(0, 0, index), split, 64)
            surfaces = [*scene.background.surfaces, *(thing.surface for thing in scene.things)]
            for crop in (surface.crop for surface in surfaces):
                x, y, w, h = photo_region(crop.photo, split)
                assert x <= crop.x and crop.x + crop.side <= x + w
                assert y <= crop.y and crop.y + crop.side <= y + h


def test_cut__texture_is_centered_and_of_unit_contrast():
    texture = cut(draw_crop(keyed_rng(0, 0, 0), "train", ("grass",)), 48)
    assert texture.shape == (48, 48, 3) and texture.dtype == np.float32
    assert abs(float(texture.mean())) < 0.05
    assert 0.8 < float(texture.mean(axis=2).std()) < 1.05


@pytest.mark.parametrize("name", SILHOUETTES)
def test_silhouettes__fit_the_unit_disc_and_vary(name):
    first, second = (SILHOUETTES[name](keyed_rng(0, 0, index)) for index in (0, 1))
    radius = max(np.linalg.norm(contour, axis=1).max() for contour in first)
    assert 0.85 < radius <= 1 + 1e-9
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns__both_colors_occur(name):
    axis = np.linspace(-4, 4, 128, dtype=np.float32)
    values = PATTERNS[name](*np.meshgrid(axis, axis))
    assert values.dtype == np.float32
    assert values.min() == 0 and values.max() == 1
    assert 0.15 < values.mean() < 0.85


def test_draw_scene__scales_cover_the_range():
    shares = [
        2 * thing.radius / 64
        for index in range(200)
        for thing in draw_scene(keyed_rng(0, 0, index), "train", 64).things
    ]
    assert SCALES[0] <= min(shares) < 0.25 and 0.8 < max(shares) <= SCALES[1]


def test_paint__same_scene_same_pixels():
    first, second = _picture(0), _picture(0)
    assert first.image.dtype == np.uint8 and first.image.shape == (96, 96, 3)
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, _picture(1).image)


def test_paint__nearer_things_hide_farther_ones():
    hidden = 0
    for index in range(20):
        picture = _picture(index)
        free = np.ones_like(picture.owner, bool)
        for k in reversed(range(len(picture.things))):
            inside = silhouette(picture.things[k], 96) > 127
            assert np.array_equal(picture.owner == k, inside & free)
            hidden += bool((inside & ~free).any())
            free &= ~inside
    assert hidden > 5


def test_draw_portrait__main_thing_is_in_front_and_large():
    for label in range(len(CLASSES)):
        picture = paint(draw_portrait(keyed_rng(0, 0, label), "train", 64, label))
        assert picture.things[-1].label == label
        assert (picture.owner == len(picture.things) - 1).mean() > 0.05


def _decode(shape, segmentation):
    mask_api = pytest.importorskip("pycocotools.mask")
    encoded = mask_api.frPyObjects(segmentation, *shape)
    merged = mask_api.merge(encoded) if isinstance(encoded, list) else encoded
    return mask_api.decode(merged).astype(bool)


def test_coco_annotations__shapes_boxes_and_areas_fit_the_pixels():
    kinds = set()
    for index in range(40):
        picture = _picture(index, 128)
        masks = [picture.owner == k for k in range(len(picture.things))]
        masks = [mask for mask in masks if np.count_nonzero(mask) >= 24]
        annotations = coco_annotations(picture)
        assert len(annotations) == len(masks)
        for mask, annotation in zip(masks, annotations, strict=True):
            decoded = _decode(mask.shape, annotation["segmentation"])
            kinds.add(type(annotation["segmentation"]))
            union = np.count_nonzero(decoded | mask)
            assert np.count_nonzero(decoded & mask) / union > 0.85
            assert annotation["area"] == np.count_nonzero(mask)
            x, y, w, h = annotation["bbox"]
            assert mask[y : y + h, x : x + w].sum() == annotation["area"]
            assert mask[y].any() and mask[y + h - 1].any()
            assert mask[:, x].any() and mask[:, x + w - 1].any()
    assert kinds == {list, dict}


def test_run_lengths__decode_to_the_same_mask():
    for seed in range(5):
        mask = np.random.default_rng(seed).random((7, 5)) < 0.5
        assert np.array_equal(_decode(mask.shape, run_lengths(mask)), mask)


def test_run_lengths__full_and_empty():
    assert run_lengths(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": [0, 6]}
    assert run_lengths(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": [6]}


def test_polygons__square_follows_its_edges_and_holes_are_refused():
    mask = np.zeros((20, 20), bool)
    mask[4:16, 5:15] = True
    (outline,) = polygons(mask)
    points = np.array(outline).reshape(-1, 2)
    np.testing.assert_allclose(points.min(axis=0), [5, 4], atol=0.2)
    np.testing.assert_allclose(points.max(axis=0), [15, 16], atol=0.2)
    assert tight_box(mask) == [5, 4, 10, 12]
    mask[8:12, 8:12] = False
    assert polygons(mask) is None


def test_border__one_pixel_on_either_side():
    owner = np.full((9, 9), -1, np.int16)
    owner[3:8, 3:8] = 0
    expected = np.zeros((9, 9), bool)
    expected[2:9, 2:9] = True
    expected[4:7, 4:7] = False
    assert np.array_equal(border(owner), expected)


def test_segmentation_mask__labels_and_border():
    picture = _picture(2)
    mask, edge = segmentation_mask(picture), border(picture.owner)
    assert np.array_equal(mask == IGNORE, edge)
    for k, thing in enumerate(picture.things):
        assert set(mask[(picture.owner == k) & ~edge]) <= {len(STUFF) + 1 + thing.label}
    behind = (picture.owner < 0) & ~edge
    assert np.array_equal(mask[behind], picture.stuff[behind] + 1)


def test_paint_sequence__things_move_and_keep_their_numbers():
    sequence = draw_sequence(keyed_rng(0, 4, 1), "train", 64)
    pictures = paint_sequence(sequence)
    assert len(pictures) == FRAMES
    numbers = set(range(len(sequence.scene.things) + 1))
    assert numbers - {0} <= set(np.unique(object_mask(pictures[0])))
    assert all(set(np.unique(object_mask(picture))) <= numbers for picture in pictures)
    assert not np.array_equal(pictures[0].owner, pictures[-1].owner)


def test_thumbnail_features__arrays_and_files(tmp_path):
    from PIL import Image

    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    features = thumbnail_features([pixels, tmp_path / "a.png"], size=4)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.tile(pixels.ravel() / 255, (2, 1)), rtol=1e-6)
    assert thumbnail_features([pixels], size=2).shape == (1, 12)


@pytest.mark.parametrize(("images", "size"), [([], 16), ([np.zeros((2, 2, 3), np.uint8)], 0)])
def test_thumbnail_features__bad_arguments(images, size):
    with pytest.raises(ValueError, match="at least 1"):
        thumbnail_features(images, size)
