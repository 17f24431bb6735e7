"""Segmentation by neighbours of patch tokens against the plain loop."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from labelled_images import CLASSES, labelled, network
from mmengine.logging import MMLogger
from PIL import Image
from reference import segmentation as reference

from mmrel.evaluation.images import fit_to_patches, normalised_images
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_knn import patch_knn_segmentation, patch_votes
from mmrel.evaluation.patch_tokens import (
    TokenSettings,
    bounded,
    collect_patches,
    image_tokens,
    patch_shares,
)
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens


@pytest.fixture(scope="module")
def backbone() -> ViT:
    return network(tiny.vit())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledImages, LabelledImages]:
    root = tmp_path_factory.mktemp("pair")
    return labelled(root / "train", 5), labelled(root / "val", 3, 1, ((16, 24), (24, 16)))


def brute_force(
    backbone: ViT, train: LabelledImages, val: LabelledImages, k: int, blocks: tuple[int, ...]
) -> list[list[list[int]]]:
    """Predictions of all images that are whole patches."""

    def tokens(image: np.ndarray) -> list[list[float]]:
        found = intermediate_tokens(backbone, normalised_images([image], backbone), blocks)
        return torch.cat([own.patches[0] for own in found], dim=1).tolist()

    bank, shares = [], []
    with torch.no_grad():
        for index in range(len(train)):
            image, labels = train.read(index)
            rows = reference.patch_shares(labels.tolist(), tiny.PATCH, len(CLASSES))
            for token, (own, labelled_patch) in zip(tokens(image), rows, strict=True):
                if labelled_patch:
                    bank.append(token)
                    shares.append(own)
        found = []
        for index in range(len(val)):
            image, labels = val.read(index)
            votes = [reference.soft_vote(q, bank, shares, k, 0.07) for q in tokens(image)]
            grid = (labels.shape[0] // tiny.PATCH, labels.shape[1] // tiny.PATCH)
            found.append(reference.best_classes(votes, grid, labels.shape))
    return found


@pytest.mark.parametrize(("k", "blocks"), [(1, (-1,)), (7, (-1,)), (7, (0, 1))])
def test_knn__equals_the_plain_loop(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages], k: int, blocks: tuple[int, ...]
) -> None:
    """Images of two sizes, ignored pixels, and the IoU over all of them."""
    train, val = pair
    found = patch_knn_segmentation(
        backbone, train, val, k, out_indices=blocks, chunk=5, keep=range(3)
    )
    expected = brute_force(backbone, train, val, k, blocks)
    assert [found.predictions[index].tolist() for index in range(3)] == expected
    truth = [val.read(index)[1].tolist() for index in range(3)]
    iou = reference.class_iou(expected, truth, len(CLASSES))
    assert list(found.iou) == list(CLASSES)
    assert list(found.iou.values()) == pytest.approx([100 * value for value in iou], abs=1e-8)
    assert found.miou == pytest.approx(100 * np.mean(iou), abs=1e-8)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_votes__equal_the_formula(chunk: int) -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    bank = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    shares = torch.rand(30, 4, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize(bank, dim=1)
    found = patch_votes(queries, unit, shares, 5, 0.07, chunk)
    expected = [
        reference.soft_vote(query, bank.tolist(), shares.tolist(), 5, 0.07)
        for query in queries.tolist()
    ]
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10
    )


def test_shares__equal_the_plain_loop() -> None:
    labels = torch.randint(-1, 4, (8, 12), generator=torch.Generator().manual_seed(0))
    labels[:4, :4] = -1
    labels[:2, 4:8], labels[2:4, 4:8] = -1, 1
    shares, enough = patch_shares(labels, (2, 3), 4, 4)
    expected = reference.patch_shares(labels.tolist(), 4, 4)
    torch.testing.assert_close(shares, torch.tensor([own for own, _ in expected]))
    assert enough.tolist() == [own for _, own in expected]
    assert enough.tolist()[:2] == [False, False], "none, and exactly half of the pixels"


def test_shares__of_an_image_that_was_resized() -> None:
    """A mask of 6 x 6 pixels under 2 x 2 patches of 4: each patch covers 3 x 3 of its pixels."""
    labels = torch.zeros(6, 6, dtype=torch.long)
    labels[:, 3:] = 1
    shares, _ = patch_shares(labels, (2, 2), 4, 2)
    assert shares.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_knn__finds_an_image_of_the_bank(backbone: ViT, tmp_path: Path) -> None:
    """With its own patches as the nearest, a mask of whole patches comes back."""
    data = labelled(tmp_path, 2)
    for _, path in data:
        blocks = np.kron(np.arange(24).reshape(4, 6) // 6, np.ones((4, 4))).astype(np.uint8)
        Image.fromarray(blocks).save(path)
    found = patch_knn_segmentation(backbone, data, data, k=1)
    assert found.miou > 80 and found.pixel_accuracy > 80


def test_knn__size_and_norm_count(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages]
) -> None:
    train, val = pair
    base = patch_knn_segmentation(backbone, train, val, 5)
    assert patch_knn_segmentation(backbone, train, val, 5, size=32).iou != base.iou
    assert patch_knn_segmentation(backbone, train, val, 5, out_indices=(0,)).iou != base.iou
    seen: list[int] = []
    backbone.layers[1].register_forward_hook(lambda *_: seen.append(1))
    patch_knn_segmentation(backbone, train, val, 5, out_indices=(0,))
    assert not seen, "later blocks are not run"


def test_tokens__of_several_blocks_are_joined(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages]
) -> None:
    """Batches of two images of one size; a change of size begins a new one."""
    _, val = pair
    found = list(image_tokens(backbone, val, TokenSettings(out_indices=(0, 1), batch_size=2)))
    assert [image.grid for image in found] == [(4, 6), (6, 4), (4, 6)]
    for index, image in enumerate(found):
        pixels, labels = val.read(index)
        views = intermediate_tokens(backbone, normalised_images([pixels], backbone), (0, 1))
        expected = torch.cat([view.patches[0] for view in views], dim=1)
        torch.testing.assert_close(image.tokens, expected, rtol=1e-5, atol=1e-5)
        assert np.array_equal(image.labels.numpy(), labels)


def test_tokens__backbones_own_choice(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages]
) -> None:
    train, val = pair
    other = network(tiny.vit())
    other.out_indices, other.out_norm = (0,), False
    explicit = patch_knn_segmentation(backbone, train, val, 5, out_indices=(0,), out_norm=False)
    assert patch_knn_segmentation(other, train, val, 5).iou == explicit.iou
    assert (
        patch_knn_segmentation(other, train, val, 5, out_indices=(-1,), out_norm=True).iou
        == patch_knn_segmentation(backbone, train, val, 5).iou
    )


def test_bank__thinned_out_by_seed(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages]
) -> None:
    def bank(seed: int, per_image: int = 6) -> torch.Tensor:
        return collect_patches(backbone, pair[0], TokenSettings(), per_image, seed, lambda: None)[0]

    assert len(bank(0)) == 5 * 6
    assert torch.equal(bank(0), bank(0)) and not torch.equal(bank(0), bank(1))
    whole = bank(0, 1000)
    assert all((whole == row).all(dim=1).any() for row in bank(0))
    assert bounded(None, 100, 5) == 20 and bounded(7, 100, 5) == 7 and bounded(50, 100, 5) == 20
    assert bounded(None, 3, 5) == 1


def test_knn__leaves_the_backbone_as_it_was(pair: tuple[LabelledImages, LabelledImages]) -> None:
    own = network(tiny.vit())
    own.train()
    state = torch.get_rng_state()
    patch_knn_segmentation(own, *pair, k=3)
    assert own.training and all(module.training for module in own.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_knn__progress(backbone: ViT, pair: tuple[LabelledImages, LabelledImages]) -> None:
    seen: list[tuple[int, int]] = []
    patch_knn_segmentation(backbone, *pair, k=3, progress=lambda *at: seen.append(at))
    assert seen == [(done, 8) for done in range(9)]


def test_knn__a_class_that_the_bank_lacks_is_announced(
    backbone: ViT,
    pair: tuple[LabelledImages, LabelledImages],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    only = labelled(tmp_path, 3)
    for _, path in only:
        values = np.asarray(Image.open(path))
        Image.fromarray(np.where(values == 3, 255, values).astype(np.uint8)).save(path)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        found = patch_knn_segmentation(backbone, only, pair[1], 3)
    finally:
        logger.removeHandler(caplog.handler)
    assert found.iou["blue"] == 0
    assert "no patch of the bank shows blue" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(k=10_000), "k is 10000, but the bank has 1.. patches"),
        (dict(k=0), "k is 0"),
        (dict(temperature=0.0), "temperature 0.0"),
        (dict(chunk=0), "chunk 0"),
        (dict(per_image=0), "per_image is 0"),
        (dict(size=2), r"0\.png: .* smaller than a patch of 4"),
        (dict(out_indices=(5,)), "valid for 2 blocks"),
    ],
)
def test_knn__bad_arguments(
    backbone: ViT, pair: tuple[LabelledImages, LabelledImages], options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        patch_knn_segmentation(backbone, *pair, **options)


def test_knn__bad_data(backbone: ViT, pair: tuple[LabelledImages, LabelledImages]) -> None:
    train, val = pair
    other = LabelledImages(val.pairs, ("ground", "red", "green", "violet"))
    with pytest.raises(ValueError, match="unknown in training are violet"):
        patch_knn_segmentation(backbone, train, other)
    broken = network(tiny.vit())
    broken.ln1.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"0\.png are not finite"):
        patch_knn_segmentation(broken, train, val)


def test_knn__nothing_labelled(backbone: ViT, tmp_path: Path) -> None:
    data = labelled(tmp_path, 2)
    for _, path in data:
        Image.fromarray(np.full((16, 24), 255, np.uint8)).save(path)
    with pytest.raises(ValueError, match="in none of the 2 training images"):
        patch_knn_segmentation(backbone, data, data, 1)


def test_fit__masks_follow_their_image(backbone: ViT, tmp_path: Path) -> None:
    """17 x 26 pixels become 4 x 6 patches; predictions have the image's own size."""
    data = labelled(tmp_path, 2, sizes=((17, 26),))
    assert fit_to_patches(data.read(0)[0], 4).shape == (16, 24, 3)
    found = patch_knn_segmentation(backbone, data, data, 2, keep=(1,))
    assert set(found.predictions) == {1} and found.predictions[1].shape == (17, 26)
