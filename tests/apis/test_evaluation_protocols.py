"""Each protocol of the suite on a tiny network and tiny data: its figures are those of the functions below it."""

from pathlib import Path

import evaluation_toys as toys
import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from mmrel.apis import get_backbone
from mmrel.apis.evaluation import PROTOCOLS, EvaluationData, Outcome, evaluate, find_data
from mmrel.apis.evaluation.protocol import Desk
from mmrel.apis.evaluation.protocols.classification import input_size, labelled_features
from mmrel.apis.evaluation.protocols.photos import photos, spread_photos
from mmrel.evaluation.knn import knn_accuracy
from mmrel.models.backbones import ViT

SIDE = 24


def blob(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on a dark ground, and its mask, 1 on ground and 2 inside."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (SIDE, SIDE, 3))
    mask = np.ones((SIDE, SIDE), np.uint8)
    top, left = 2 + number % 8, 3 + number % 5
    image[top : top + 10, left : left + 10] += 150
    mask[top : top + 10, left : left + 10] = 2
    return image.astype(np.uint8), mask


def save_pair(image: Path, mask: Path, number: int, first_label: int) -> None:
    pixels, labels = blob(number)
    for path, values in ((image, pixels), (mask, labels + first_label - 1)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EvaluationData:
    root = tmp_path_factory.mktemp("data")
    toys.save_classes(root / "classification", train=12)
    for split, count in (("training", 4), ("validation", 3)):
        for i in range(count):
            folders = [root / "segmentation" / kind / split for kind in ("images", "annotations")]
            save_pair(folders[0] / f"{i}.png", folders[1] / f"{i}.png", i, 1)
    for i in range(4):
        folders = [
            root / "davis" / kind / "480p" / "clip" for kind in ("JPEGImages", "Annotations")
        ]
        save_pair(folders[0] / f"{i:05}.png", folders[1] / f"{i:05}.png", i, 0)
    lists = root / "davis" / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("clip\n")
    return find_data(root)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.save_checkpoint(tmp_path_factory.mktemp("runs") / "epoch_1.pth")


@pytest.fixture
def backbone(checkpoint: Path) -> ViT:
    return get_backbone(checkpoint)


def run(name: str, backbone: ViT | None, data: EvaluationData, desk: Desk, **given) -> Outcome:
    protocol = PROTOCOLS[name]
    settings = {**next(iter(protocol.settings.values())), **given}
    return protocol.function()(backbone, data, settings, desk)


def test_suites__have_what_they_promise() -> None:
    quick = {name for name, protocol in PROTOCOLS.items() if "quick" in protocol.settings}
    assert set(PROTOCOLS) - quick == {"linear_probe", "linear_segmentation"}
    assert {name for name, p in PROTOCOLS.items() if "full" not in p.settings} == {"logistic"}


@pytest.mark.parametrize(
    ("name", "given", "figures", "pictures"),
    [
        ("knn", dict(k=[5]), {"k5_cls", "k5_avg"}, 0),
        ("linear_probe", dict(epochs=2), {"top1_cls", "top1_avg"}, 0),
        ("logistic", {}, {"top1_cls", "top1_avg"}, 0),
        ("patch_knn", dict(k=3), {"miou", "pixel_accuracy"}, 2),
        ("linear_segmentation", {}, {"miou", "pixel_accuracy"}, 2),
        ("tokens", {}, {"cosine_within_image", "share_between_images", "effective_rank"}, 0),
        ("correspondence", dict(max_images=2), {"accuracy"}, 1),
        ("pictures", dict(max_images=2), set(), 6),
    ],
)
def test_protocol__figures_and_pictures(
    name: str, given: dict, figures: set, pictures: int, backbone, data, tmp_path
) -> None:
    seen: list[tuple[int, int]] = []
    desk = Desk(tmp_path, "a-", advance=lambda done, count: seen.append((done, count)))
    found = run(name, backbone, data, desk, **given)
    assert set(found.figures) == figures and len(found.pictures) == pictures
    assert all(np.isfinite(value) for value in found.figures.values())
    for shot in found.pictures:
        assert shot.file.startswith("a-") and min(Image.open(tmp_path / shot.file).size) > 100
    assert found.counts and (seen or name == "knn")
    assert {m.key for m in PROTOCOLS[name].measures} <= figures or name == "knn"


def test_davis__in_per_cent_on_frames_of_twice_their_size(backbone, data, tmp_path) -> None:
    found = run("davis", backbone, data, Desk(tmp_path))
    assert 0 <= found.figures["jf_mean"] <= 100
    assert found.counts == {"sequences": 1, "frames": 4, "objects": 1}
    assert found.notes == ("Frames at 48 pixels, not 480.",)
    assert [shot.common for shot in found.pictures] == ["annotation of clip", ""]


def test_knn__equals_the_function_on_features_of_one_pass(backbone, data, tmp_path) -> None:
    """Both features are computed once; k that the training images do not have is left out."""
    desk = Desk(tmp_path)
    found = run("knn", backbone, data, desk, k=[5, 50])
    settings = {**PROTOCOLS["knn"].settings["quick"]}
    for name, split in labelled_features(backbone, data, settings, desk).items():
        expected = knn_accuracy(split.train, split.val, [5])["top1_k5"]
        assert found.figures[f"k5_{name}"] == expected
    assert len(desk.memory) == 1 and found.notes == ("k = 50 is more than the training images",)
    assert found.counts == {"training images": 24, "validation images": 6, "classes": 2}


def test_knn__samples_are_bounded(backbone, data, tmp_path) -> None:
    found = run("knn", backbone, data, Desk(tmp_path), max_train=8, max_val=4, k=[5])
    assert found.counts == {"training images": 8, "validation images": 4, "classes": 2}


def test_thumbnails__tell_colours_apart(data, tmp_path) -> None:
    desk = Desk(tmp_path)
    assert run("knn", None, data, desk, k=[5]).figures == {"k5_pixels": 100}
    assert run("logistic", None, data, desk).figures == {"top1_pixels": 100}


def test_protocols__without_class_token(data, tmp_path) -> None:
    """A network without one has no figure of it, and attention from the mean query."""
    torch.manual_seed(0)
    bare = {
        k: v for k, v in tiny.vit(with_cls_token=False, final_norm=False).items() if k != "type"
    }
    backbone = ViT(**bare)
    backbone.init_weights()
    assert set(run("knn", backbone, data, Desk(tmp_path), k=[5]).figures) == {"k5_avg"}
    assert len(run("pictures", backbone, data, Desk(tmp_path), max_images=1).pictures) == 6


def test_input_size__that_of_the_pretraining_in_whole_patches() -> None:
    model = ViT(**{k: v for k, v in tiny.vit().items() if k != "type"})
    assert input_size(model, None) == 16 and input_size(model, 30) == 28
    model.img_size = (518, 518)
    assert input_size(model, None) == 224


def test_photos__given_ones_first(data, tmp_path) -> None:
    names = [path.name for path in photos(data, 2)]
    assert names == ["0.png", "1.png"] and len(spread_photos(data, 2)) == 2
    classes = EvaluationData(classification=data.classification)
    assert [path.parent.name for path in photos(classes, 4)] == ["bark", "sand", "bark", "sand"]
    own = EvaluationData(images=(tmp_path / "a.jpg",))
    assert photos(own, 4) == spread_photos(own, 4) == [tmp_path / "a.jpg"]


def test_evaluate__whole_quick_suite(checkpoint, data, tmp_path) -> None:
    """All protocols with random weights and thumbnails beside: one page, no failure."""
    found = evaluate([checkpoint], data, out=tmp_path / "out", device="cpu")
    assert found.failures == {}
    assert set(found.results.skipped) == {"linear_probe", "linear_segmentation"}
    page = found.report.read_text()
    # Of 11 pictures per network, 5 are the same for both: photographs and annotation.
    assert "random weights" in page and page.count("data:image/png;base64,") == 2 * 11 - 5
