"""J, F and their statistics on synthetic masks: the special cases, and equality with the slow implementation."""

import math

import numpy as np
import pytest
import torch
from reference import davis as reference

from mmrel.evaluation.davis import (
    contour_accuracy,
    region_similarity,
    score_sequence,
    summarise,
)
from mmrel.evaluation.davis.metrics import boundary, dilate
from mmrel.evaluation.davis.scores import statistics


def square(top: int, left: int, side: int = 20, frame: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(frame, bool)
    mask[top : top + side, left : left + side] = True
    return mask


EMPTY, FULL = np.zeros((60, 80), bool), np.ones((60, 80), bool)


@pytest.mark.parametrize(
    ("prediction", "truth", "similarity", "accuracy"),
    [
        (square(10, 10), square(10, 10), 1.0, 1.0),
        (square(10, 11), square(10, 10), 380 / 420, 1.0),  # one pixel aside
        (square(10, 40), square(10, 10), 0.0, 0.0),
        (EMPTY, EMPTY, 1.0, 1.0),
        (EMPTY, square(10, 10), 0.0, 0.0),
        (square(10, 10), EMPTY, 0.0, 0.0),
        (FULL, FULL, 1.0, 1.0),
        (FULL, square(10, 10), 400 / 4800, 0.0),  # what fills the frame has no boundary
        (FULL, EMPTY, 0.0, 1.0),
    ],
)
def test_metrics__special_cases(
    prediction: np.ndarray, truth: np.ndarray, similarity: float, accuracy: float
) -> None:
    assert region_similarity(prediction[None], truth[None]).tolist() == [similarity]
    assert contour_accuracy(prediction[None], truth[None]).tolist() == [accuracy]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (17, 23), (40, 31)])
@pytest.mark.parametrize("tolerance", [0.0, 0.008, 0.1])
def test_metrics__equal_the_slow_implementation(shape: tuple[int, int], tolerance: float) -> None:
    rng = np.random.default_rng(0)
    share = np.array([0.02, 0.1, 0.5, 0.98])[:, None, None]
    prediction, truth = rng.random((2, 4, *shape)) < share
    j, f = region_similarity(prediction, truth), contour_accuracy(prediction, truth, tolerance)
    pairs = list(zip(prediction, truth, strict=True))
    assert j.dtype == f.dtype == np.float64
    assert j.tolist() == pytest.approx([reference.region_similarity(*p) for p in pairs], abs=1e-12)
    slow = [reference.contour_accuracy(*pair, tolerance) for pair in pairs]
    assert f.tolist() == pytest.approx(slow, abs=1e-12)


def test_metrics__tensors_in_tensors_out() -> None:
    masks = np.stack([square(10, 10), square(4, 5)]), np.stack([square(11, 12), EMPTY])
    tensors = [torch.from_numpy(mask) for mask in masks]
    for measure in (region_similarity, contour_accuracy):
        found = measure(*tensors)
        assert isinstance(found, torch.Tensor) and found.dtype == torch.float64
        assert found.tolist() == measure(*masks).tolist()
        assert measure(tensors[0][:0], tensors[1][:0]).shape == (0,)


@pytest.mark.parametrize("measure", [region_similarity, contour_accuracy])
def test_metrics__wrong_masks(measure: object) -> None:
    good = np.zeros((2, 4, 5), bool)
    with pytest.raises(ValueError, match=r"\(2, 4, 5\) and \(2, 4, 6\); wanted \(T, H, W\)"):
        measure(good, np.zeros((2, 4, 6), bool))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"\(4, 5\) and \(4, 5\); wanted \(T, H, W\)"):
        measure(good[0], good[0])  # type: ignore[operator]
    with pytest.raises(ValueError, match="uint8.*compare a map of object numbers"):
        measure(good.astype(np.uint8), good)  # type: ignore[operator]


def test_contour__a_negative_tolerance() -> None:
    with pytest.raises(ValueError, match=r"tolerance is -0\.1"):
        contour_accuracy(EMPTY[None], EMPTY[None], -0.1)


def test_contour__the_radius_is_rounded_up() -> None:
    """60 x 80 pixels have a diagonal of 100: a tolerance of .021 is 2.1 pixels, so 3 are near enough, and 4 are not."""
    line = np.zeros((3, 60, 80), bool)
    line[0, :, :40], line[1, :, :43], line[2, :, :44] = True, True, True
    assert contour_accuracy(line[1][None], line[0][None], 0.021) == 1
    assert contour_accuracy(line[2][None], line[0][None], 0.021) == 0


def test_boundary__half_a_pixel_towards_the_origin() -> None:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[1:3, 2:4] = True
    assert boundary(mask).int().tolist() == [
        [0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 8])
def test_dilate__a_disk(radius: int) -> None:
    point = torch.zeros(19, 21, dtype=torch.bool)
    point[9, 10] = True
    y, x = np.mgrid[-9:10, -10:11]
    assert np.array_equal(dilate(point, radius).numpy(), y**2 + x**2 <= radius**2)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 68, 300])
def test_statistics__equal_the_slow_implementation(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    values[1 : count // 2] = np.nan
    assert tuple(statistics(values)) == pytest.approx(reference.statistics(values), abs=1e-12)


def test_statistics__half_is_a_miss_and_so_is_nan() -> None:
    values = np.array([0.5, 0.51, np.nan, 1.0])
    assert statistics(values).recall == 0.5
    assert statistics(values).mean == pytest.approx(0.67)


def test_statistics__quarters_share_a_frame() -> None:
    """Nine frames: frames 1 to 3 less frames 7 to 9."""
    values = np.array([1, 1, 0.4, 0, 0, 0, 0.1, 0.2, 0.3])
    assert statistics(values).decay == pytest.approx(2.4 / 3 - 0.6 / 3)


def clip(*frames: np.ndarray) -> np.ndarray:
    return np.stack(frames).astype(np.uint8)


def test_score__the_first_and_the_last_frame_do_not_count() -> None:
    truth = clip(*[square(10, 10)] * 5)
    prediction = clip(FULL, *truth[1:4], FULL)
    [score] = score_sequence("cat", prediction, truth)
    assert (score.j_mean, score.f_mean, score.j_decay, score.jf_mean) == (1, 1, 0, 1)


def test_score__objects_of_the_first_annotation() -> None:
    """A void pixel is background; an object that is not predicted counts as empty; a later object does not count."""
    first = square(10, 10) + 2 * square(40, 60, 10)
    later = first.copy()
    later[0, 0] = 3
    truth = clip(first, later, later, first)
    truth[:, 50:, :20] = 255
    prediction = np.where(truth == 1, 1, 0).astype(np.uint8)
    scores = score_sequence("cat", prediction, truth)
    assert [(s.number, s.j_mean, s.f_mean) for s in scores] == [(1, 1, 1), (2, 0, 0)]
    result = summarise([*scores, *score_sequence("dog", *[clip(*[square(1, 1)] * 4)] * 2)])
    assert list(result.per_object) == ["cat_1", "cat_2", "dog_1"]
    # Over objects, not over sequences.
    assert result.jf_mean == pytest.approx(2 / 3)
    assert {name: own.jf_mean for name, own in result.per_sequence().items()} == {
        "cat": 0.5,
        "dog": 1,
    }
    assert result.as_dict()["per_object"]["cat_2"]["j_mean"] == 0


def test_score__bad_input() -> None:
    truth = clip(*[square(10, 10)] * 4)
    with pytest.raises(
        ValueError, match="sequence cat: object 2 is predicted, but only 1 are annotated"
    ):
        score_sequence("cat", truth * 2, truth)
    with pytest.raises(ValueError, match=r"cat: the masks are \(3, 60, 80\).*\(4, 60, 80\)"):
        score_sequence("cat", truth[1:], truth)
    with pytest.raises(ValueError, match="cat has 2 frames"):
        score_sequence("cat", truth[:2], truth[:2])
    with pytest.raises(ValueError, match="cat: the first annotation holds no object"):
        score_sequence("cat", truth * 0, truth * 0)
    with pytest.raises(ValueError, match="no objects to score"):
        summarise([])


def test_contour__distances_are_euclidean() -> None:
    """A corner that is off by 3 pixels across and down is math.hypot(3, 3) away: too far for a radius of 4."""
    corners = np.zeros((2, 60, 80), bool)
    corners[0, 59, 0] = corners[1, 56, 3] = True
    assert math.hypot(3, 3) > 4
    assert contour_accuracy(corners[:1], corners[1:], 0.04) < 1
