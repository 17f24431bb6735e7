"""Statistics of tokens against their definitions, pair by pair."""

import numpy as np
import pytest
import torch

from mmrel.evaluation.token_statistics import TokenSums, effective_rank


def collect(images: list[torch.Tensor]) -> TokenSums:
    sums = TokenSums(images[0].shape[1])
    for image in images:
        sums.add(image)
    return sums


def test_statistics__equal_the_definitions() -> None:
    """Images of different numbers of patches, with an offset that all share."""
    rng = np.random.default_rng(0)
    images = [rng.normal(2.0, 1.0, (n, 5)) + rng.normal(size=5) for n in (7, 4, 9)]
    cosines = []
    for tokens in images:
        pairs = [(a, b) for i, a in enumerate(tokens) for j, b in enumerate(tokens) if i != j]
        cosines.append(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))
    whole = np.concatenate(images)
    center = whole.mean(0)
    between = sum(len(t) * ((t.mean(0) - center) ** 2).sum() for t in images)
    singular = np.linalg.svd(whole - center, compute_uv=False)
    shares = singular / singular.sum()
    found = collect([torch.from_numpy(tokens) for tokens in images]).statistics()
    assert found.cosine_within_image == pytest.approx(np.mean(cosines), abs=1e-10)
    total = ((whole - center) ** 2).sum()
    assert found.share_between_images == pytest.approx(100 * between / total, abs=1e-8)
    rank = np.exp(-(shares * np.log(shares)).sum())
    assert found.effective_rank == pytest.approx(rank, abs=1e-8)


def test_statistics__extremes() -> None:
    """All tokens of an image the same; all tokens the same; a flat spectrum."""
    same = collect([torch.ones(3, 4), torch.tensor([[1.0, 0, 0, 0]]).repeat(3, 1)]).statistics()
    assert same.cosine_within_image == pytest.approx(1) and same.share_between_images == 100
    assert same.effective_rank == pytest.approx(1)
    one = collect([torch.ones(2, 4), torch.ones(2, 4)]).statistics()
    assert (one.share_between_images, one.effective_rank) == (0, 1)
    assert effective_rank(torch.eye(6, dtype=torch.float64)) == pytest.approx(6)


def test_sums__refuse() -> None:
    sums = TokenSums(4)
    with pytest.raises(ValueError, match=r"tokens are \(1, 4\); wanted \(N, 4\)"):
        sums.add(torch.ones(1, 4))
    with pytest.raises(ValueError, match=r"tokens are \(3, 5\)"):
        sums.add(torch.ones(3, 5))
    with pytest.raises(ValueError, match="not finite"):
        sums.add(torch.full((2, 4), torch.nan))
    with pytest.raises(ValueError, match="0 image"):
        sums.statistics()
