"""Label propagation: equal to the slow implementation, whatever the tiles; ties, queue, window, still sequences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import davis as reference

from mmrel.evaluation.davis import (
    LabelPropagation,
    contour_accuracy,
    first_labels,
    label_mask,
    propagate,
    region_similarity,
)
from mmrel.evaluation.davis.masks import resize_mask


def video(
    frames: int = 5, rows: int = 6, cols: int = 7, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of a video, float64 ``(T, 6, h, w)`` of any length, and one-hot first labels of three classes."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(frames, 6, rows, cols, dtype=torch.float64, generator=generator)
    classes = torch.randint(3, (rows, cols), generator=generator)
    return features, F.one_hot(classes, 3).permute(2, 0, 1).double()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(num_last_frames=2, neighbourhood=2, topk=3, temperature=0.2),
        dict(num_last_frames=0, neighbourhood=0),
        dict(num_last_frames=1, neighbourhood=1, topk=1000),
        dict(num_last_frames=3, neighbourhood=3, topk=1, temperature=0.07),
    ],
)
def test_propagate__equals_the_slow_implementation(settings: dict) -> None:
    features, labels = video()
    slow = reference.propagate(features.numpy(), labels.numpy(), **settings)
    found = propagate(features, labels, **settings)
    assert found.dtype == torch.float64 and torch.equal(found[0], labels)
    assert np.abs(found.numpy() - slow).max() < 1e-10
    single = propagate(features.float(), labels.float(), **settings)
    assert single.dtype == torch.float32 and np.abs(single.numpy() - slow).max() < 1e-5


@pytest.mark.parametrize("neighbourhood", [0, 1, 4, 12])
@pytest.mark.parametrize("tile", [1, 3, 8, 100])
def test_propagation__tiles_change_nothing(tile: int, neighbourhood: int) -> None:
    features, labels = video(rows=13, cols=19)
    whole, tiled = (
        LabelPropagation(features[0], labels, 2, neighbourhood, tile=side) for side in (0, tile)
    )
    for frame in features[1:]:
        assert (whole.step(frame) - tiled.step(frame)).abs().max() < 1e-12


def test_propagate__ties_are_kept() -> None:
    """Nine tokens like the target, of which each has its label: all nine count, although five are asked for."""
    features = torch.ones(2, 4, 3, 3, dtype=torch.float64)
    labels = torch.arange(9.0, dtype=torch.float64).view(1, 3, 3)
    assert torch.allclose(propagate(features, labels)[1], torch.tensor(4.0).double())
    # Exact ties of one-hot features, some of them at the fifth place: tiles and slow code agree.
    classes = torch.randint(4, (4, 9, 9), generator=torch.Generator().manual_seed(3))
    features = F.one_hot(classes, 4).permute(0, 3, 1, 2).double()
    labels = torch.rand(2, 9, 9, dtype=torch.float64)
    slow = reference.propagate(features.numpy(), labels.numpy(), 7, 2)
    assert np.abs(propagate(features, labels, neighbourhood=2).numpy() - slow).max() < 1e-12


def test_propagation__the_first_frame_stays_and_the_queue_is_short() -> None:
    features, labels = video(frames=9)
    propagation = LabelPropagation(features[0], labels, num_last_frames=3)
    for frame in features[1:]:
        propagation.step(frame)
    assert len(propagation.queue) == 3
    assert torch.equal(propagation.first.labels.permute(2, 0, 1), labels)


def test_propagate__only_within_the_window() -> None:
    """A mark whose features move three tokens is lost to a window of two and found by one of three."""
    features = torch.zeros(2, 2, 1, 8)
    features[:, 0], features[0, :, 0, 1], features[1, :, 0, 4] = (
        1,
        torch.tensor([0.0, 1]),
        torch.tensor([0.0, 1]),
    )
    labels = torch.zeros(2, 1, 8)
    labels[0], labels[:, 0, 1] = 1, torch.tensor([0.0, 1])
    labels[0, 0, 1] = 0
    lost, found = (propagate(features, labels, neighbourhood=r)[1, 1, 0, 4] for r in (2, 3))
    assert lost == 0 and found > 0.99


@pytest.mark.parametrize("patch_size", [8, 16])
def test_propagate__a_still_sequence_scores_one(patch_size: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 32, 6, 10).expand(12, -1, -1, -1)
    mask = np.zeros((6 * patch_size, 10 * patch_size), np.uint8)
    mask[:, 3 * patch_size : 6 * patch_size], mask[:, 8 * patch_size :] = 1, 2
    labels = propagate(features, first_labels(mask, (6, 10)))
    found = np.stack([label_mask(soft, patch_size, mask.shape) for soft in labels])
    for number in (1, 2):
        own, true = found == number, np.stack([mask == number] * 12)
        assert region_similarity(own, true).tolist() == [1.0] * 12
        assert contour_accuracy(own, true).tolist() == [1.0] * 12


def test_propagate__half_precision_is_computed_in_single() -> None:
    features, labels = video()
    half = features.half()
    assert torch.equal(propagate(half, labels), propagate(half.float(), labels.float()))


def test_propagate__gradients_flow() -> None:
    features, labels = video(frames=3)
    features.requires_grad_()
    labels.requires_grad_()
    propagate(features, labels)[-1, 0].sum().backward()
    assert features.grad is not None and labels.grad is not None
    assert features.grad.abs().sum() > 0 and labels.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(num_last_frames=-1), "num_last_frames is -1; give 0 or more"),
        (dict(neighbourhood=-2), "neighbourhood is -2"),
        (dict(topk=0), "topk is 0; give 1 or more"),
        (dict(temperature=0.0), r"temperature is 0\.0"),
    ],
)
def test_propagate__settings_out_of_range(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        propagate(*video(), **change)


def test_propagate__shapes_that_do_not_fit() -> None:
    features, labels = video()
    with pytest.raises(ValueError, match=r"features are \(6, 6, 7\); wanted \(T, C, h, w\)"):
        propagate(features[0], labels)
    with pytest.raises(ValueError, match=r"\(3, 5, 7\); wanted \(K, h, w\).*\(6, 7\)"):
        propagate(features, labels[:, 1:])
    with pytest.raises(ValueError, match=r"\(0, 6, 7\); wanted"):
        propagate(features, labels[:0])
    with pytest.raises(ValueError, match="of torch.int64; wanted"):
        propagate(features.long(), labels)
    with pytest.raises(
        ValueError, match=r"\(6, 6, 6\); wanted those of the first frame.*\(6, 6, 7\)"
    ):
        LabelPropagation(features[0], labels).step(features[1, :, :, 1:])
    features[2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="not all finite"):
        propagate(features, labels)


def test_first_labels__one_channel_more_than_the_largest_number() -> None:
    mask = np.zeros((8, 12), np.uint8)
    mask[4:, 8:] = 3
    labels = first_labels(mask, (2, 3))
    assert labels.shape == (4, 2, 3)
    assert labels.argmax(0).tolist() == [[0, 0, 0], [0, 0, 3]]
    assert labels.sum(0).eq(1).all()


def test_resize__is_torchs_nearest_exact() -> None:
    mask = np.random.default_rng(0).integers(0, 5, (13, 17), np.uint8)
    for size in ((5, 7), (40, 61), (13, 17)):
        wanted = F.interpolate(torch.from_numpy(mask)[None, None], size, mode="nearest-exact")
        assert np.array_equal(resize_mask(mask, size), wanted[0, 0].numpy())


def test_label_mask__each_channel_is_stretched_first() -> None:
    """A faint object wins where it is strongest, which it would not without."""
    labels = torch.zeros(2, 1, 3)
    labels[0, 0], labels[1, 0] = torch.tensor([0.9, 0.7, 0.9]), torch.tensor([0.1, 0.3, 0.1])
    assert labels.argmax(0).tolist() == [[0, 0, 0]]
    assert label_mask(labels, 1, (1, 3)).tolist() == [[0, 1, 0]]


def test_label_mask__a_channel_of_one_value() -> None:
    """An object that fills the frame stays; a background of one value does not become NaN and win."""
    full = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])
    assert label_mask(full, 4, (8, 8)).tolist() == np.ones((8, 8)).tolist()
    partly = torch.stack([torch.full((1, 2), 0.5), torch.tensor([[0.0, 0.5]])])
    assert label_mask(partly, 1, (1, 2)).tolist() == [[0, 1]]
    assert label_mask(torch.ones(1, 2, 2), 4, (5, 9)).tolist() == np.zeros((5, 9)).tolist()
