"""What the k-NN hook tells of patch tokens: their health, and k-NN over them where there are masks."""

from dataclasses import asdict
from pathlib import Path

import pytest
import tiny
import torch
from labelled_images import CLASSES, write_images
from log_lines import log_lines
from mmengine.config import Config
from test_knn_hook import hook, make_images

from mmrel.engine.hooks.patch_miou import PatchMIoU
from mmrel.evaluation.loading import build_loader
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_knn import patch_knn_segmentation
from mmrel.evaluation.token_statistics import TokenSums
from mmrel.evaluation.token_watch import TokenWatch
from mmrel.structures import TokenViews
from mmrel.utils import UsageError
from mmrel.utils.config import load_config

HEALTH = ("cosine_within_image", "share_between_images", "effective_rank")
QUICKSTART = Path(__file__).parents[2] / "configs/quickstart/ibot-sere_vit-tiny-p8_scenes.py"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    write_images(root / "train", 4)
    write_images(root / "val", 3, seed=1)
    return root


def masks(root: Path, **changes: object) -> dict:
    return dict(root=str(root), classes=CLASSES, k=5, **changes)


def expected_health(model: torch.nn.Module, one: object, network: str, count: int) -> dict:
    """Image by image through the network, each of ``count`` that are spread over the set."""
    data = build_loader(one.val_cfg).dataset
    sums = TokenSums(tiny.WIDTH)
    model.eval()
    for index in torch.linspace(0, len(data) - 1, count).round().long().tolist():
        pixels = model.data_preprocessor(dict(inputs=[data[index]["inputs"]]), False)["inputs"]
        with torch.no_grad():
            sums.add(model.extract_tokens(pixels, network).patches[0])
    return asdict(sums.statistics())


@pytest.mark.parametrize(("network", "count"), [("teacher", 4), ("student", 12)])
def test_health__is_that_of_some_validation_images(images: Path, network: str, count: int) -> None:
    model = tiny.build(tiny.dino())
    one = hook(images, network=network, max_health=count if count < 12 else 128)
    found = one.evaluate(model)
    expected = expected_health(model, one, network, count)
    assert {name: found[name] for name in HEALTH} == pytest.approx(expected, rel=1e-5)
    assert one.metric_names[-3:] == tuple(f"knn/{name}" for name in HEALTH)


def test_health__costs_no_pass_of_the_network(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.build(tiny.dino())
    calls = []
    monkeypatch.setattr(
        model,
        "extract_tokens",
        lambda *args: calls.append(1) or type(model).extract_tokens(model, *args),
    )
    hook(images).evaluate(model)
    assert len(calls) == 6  # 12 images in batches of 5, bank and validation


def test_health__on_by_default_and_switched_off(images: Path) -> None:
    model = tiny.build(tiny.dino())
    assert set(HEALTH) < set(hook(images).evaluate(model))
    off = hook(images, max_health=0)
    assert not set(HEALTH) & set(off.evaluate(model))
    assert off.metric_names[-1] == "knn/feature_std"


def test_health__left_out_where_an_image_is_one_token(images: Path) -> None:
    model = tiny.build(tiny.dino())
    whole = torch.nn.AvgPool2d(4)
    backbone = model.teacher.backbone
    forward = backbone.forward

    def pooled(pixels: torch.Tensor) -> TokenViews:
        tokens = forward(pixels)
        mean = whole(tokens.prenorm_maps).flatten(2).transpose(1, 2)
        return TokenViews(tokens.cls, mean, mean, (1, 1))

    backbone.forward = pooled
    assert not set(HEALTH) & set(hook(images).evaluate(model))


def test_watch__parts_of_three_processes_make_the_whole(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes share 11 images and see one twice; their sums together are those of one process."""
    data = build_loader(hook(images).val_cfg)
    data.dataset.get_subset_(list(range(11)))
    tokens = torch.randn(11, 4, 6, generator=torch.Generator().manual_seed(0))

    def watched(positions: list[int]) -> TokenSums:
        monkeypatch.setattr(
            "mmrel.evaluation.token_watch.sample_positions", lambda loader: positions
        )
        watch = TokenWatch(data, 7)
        for rows in (positions[:2], positions[2:]):
            patches = tokens[rows]
            watch(TokenViews(None, patches, patches, (2, 2)))
        return watch._sums

    whole = watched(list(range(11)))
    parts = []
    for rank in range(3):
        monkeypatch.setattr(
            "mmrel.evaluation.token_watch.get_dist_info", lambda rank=rank: (rank, 3)
        )
        parts.append(watched([*range(11), 0][rank::3]))
    assert whole.images == sum(part.images for part in parts) == 7
    torch.testing.assert_close(whole.products, sum(part.products for part in parts))


def test_masks__equal_k_nn_over_the_backbones_patches(images: Path, masked: Path) -> None:
    """With the model's own mean and deviation, on images spread over the set."""
    normal = dict(type="mmrel.ViewPreprocessor", mean=(90.0, 80, 70), std=(50.0, 40, 30))
    model = tiny.build(dict(tiny.dino(), data_preprocessor=normal))
    one = hook(images, masks=masks(masked, max_train=2, max_val=2))
    found = one.evaluate(model)["patch_miou"]
    train, val = (
        LabelledImages.from_folders(masked / part / "images", masked / part / "masks", CLASSES)
        for part in ("train", "val")
    )
    backbone = model.teacher.backbone
    assert backbone.normalization.mean == pytest.approx((90, 80, 70))
    train, val = train.subset(2), val.subset(2)
    assert found == patch_knn_segmentation(backbone, train, val, k=5).miou
    assert one.metric_names[-1] == "knn/patch_miou"
    assert model.training


def test_masks__that_are_missing(images: Path, tmp_path: Path) -> None:
    model = tiny.build(tiny.dino())
    missing = dict(root=str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"none .*no labelled images .*masks=None leaves"):
        hook(images, masks=missing)._try(model)
    optional = hook(images, masks=dict(missing, optional=True))
    with log_lines() as lines:
        optional._try(model)
    assert any(f"there is no folder {tmp_path}/none" in line for line in lines)
    assert "patch_miou" not in optional.evaluate(model)
    assert "knn/patch_miou" not in optional.metric_names


def test_masks__that_do_not_fit_are_told_before_the_training(images: Path, masked: Path) -> None:
    with pytest.raises(ValueError, match="0.png.*smaller than a patch"):
        hook(images, masks=masks(masked, size=2))._try(tiny.build(tiny.dino()))


@pytest.mark.parametrize("changes", [dict(max_train=0), dict(max_val=0), dict(k=0)])
def test_masks__options_that_cannot_be(changes: dict) -> None:
    with pytest.raises(UsageError, match="above 0, 64, 32 and 20 if left out"):
        PatchMIoU("masks", **changes)


def test_masks__several_roots_of_images_have_none_beside_them() -> None:
    assert PatchMIoU(["a/../m", "b/../m"], optional=True).left_out
    with pytest.raises(UsageError, match=r"masks.root is \['a', 'b'\]; give one folder"):
        PatchMIoU(["a", "b"])._opened()


def test_quickstart__masks_lie_beside_the_class_folders(tmp_path: Path) -> None:
    """Wherever the scenes are; what has no masks there trains without."""
    for split in ("train", "val"):
        (tmp_path / "scenes/classification" / split).mkdir(parents=True)
        (tmp_path / "scenes/classification" / split / "a.jpg").touch()
    roots = {
        f"{k}_root": f"{tmp_path}/scenes/classification/{v}"
        for k, v in (("data", "train"), ("val", "val"))
    }
    settings = load_config(str(QUICKSTART), roots).default_hooks.knn.masks
    assert PatchMIoU(**settings).left_out
    (tmp_path / "scenes/segmentation").mkdir()
    own = PatchMIoU(**settings)
    assert own.root == tmp_path / "scenes/segmentation" and not own.left_out
    shipped = Config.fromfile(QUICKSTART).default_hooks.knn.masks
    assert PatchMIoU(**shipped).root == Path("data/scenes/segmentation")
