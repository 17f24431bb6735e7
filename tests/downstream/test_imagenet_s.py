"""ImageNet-S: labels of two channels, the data set, crops of photo and mask, logits of patches to labels of pixels."""

from pathlib import Path
from typing import Any

import downstream_builds as builds
import numpy as np
import pytest
import torch
import true_layouts
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from PIL import Image
from torch.nn import functional as F

from mmrel.datasets.transforms import LoadImageNetSAnnotations, RandomResizedCropWithLabels
from mmrel.datasets.transforms.imagenet_s import decode_labels, encode_labels

pytest.importorskip("mmseg")
CONFIGS = sorted(builds.CONFIGS.glob("segmentation/*imagenet-s*.py"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet_s")
    true_layouts.make_imagenet_s(folder, 50)
    return folder / "imagenet-s" / "ImageNetS50"


def _dataset(root: Path, split: str = "validation", **changes: Any) -> Any:
    settings = dict(
        type="mmrel.ImageNetSDataset",
        subset=50,
        data_root=str(root),
        data_prefix=dict(img_path=split, seg_map_path=f"{split}-segmentation"),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="mmrel.LoadImageNetSAnnotations")],
    )
    with DefaultScope.overwrite_default_scope("mmseg"):
        return DATASETS.build(settings | changes)


def test_labels__every_class_survives_the_two_channels(tmp_path: Path) -> None:
    """The definition: R is the class modulo 256, G what is above it, B nothing."""
    labels = np.arange(1024).reshape(32, 32)
    mask = encode_labels(labels)
    assert mask.dtype == np.uint8 and not mask[..., 2].any()
    assert [tuple(mask[i // 32, i % 32, :2]) for i in (0, 255, 256, 919, 1000)] == [
        (0, 0),
        (255, 0),
        (0, 1),
        (151, 3),
        (232, 3),
    ]
    path = tmp_path / "mask.png"
    Image.fromarray(mask).save(path)
    decoded = decode_labels(path.read_bytes(), str(path))
    assert decoded.dtype == np.int32 and np.array_equal(decoded, labels)


def test_labels__a_grey_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"mask.png' has Pillow's mode 'L'.*R \+ 256 G in RGB"):
        LoadImageNetSAnnotations().transform(dict(seg_map_path=str(path)))


def test_dataset__classes_are_the_sorted_folders(root: Path) -> None:
    dataset = _dataset(root)
    names = dataset.metainfo["classes"]
    assert len(names) == 51 and names[0] == "other" and list(names[1:]) == sorted(names[1:])
    assert names[1:4] == ("n01440764", "n01443537", "n03000134")
    for i, synset in enumerate(true_layouts.SYNSETS):
        labels = set(np.unique(dataset[i]["gt_seg_map"]).tolist())
        assert names.index(synset) in labels and labels <= {0, i + 1, 50, 1000}
        assert Path(dataset[i]["img_path"]).parent.name == synset
        assert dataset[i]["gt_seg_map"].shape == dataset[i]["img"].shape[:2]


def test_dataset__the_list_of_synsets_may_be_unsorted(root: Path, tmp_path: Path) -> None:
    names = _dataset(root).metainfo["classes"][1:]
    listed = tmp_path / "ImageNetS_categories_im50.txt"
    listed.write_text("\n".join(reversed(names)))
    assert _dataset(root, categories=str(listed)).metainfo["classes"][1:] == names


def test_dataset__bad_input(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no subset of 100 classes; allowed: 50, 300, 919"):
        _dataset(root, subset=100)
    with pytest.raises(ValueError, match=r"train-semi' names 50 classes; the subset has 300"):
        _dataset(root, subset=300)
    with pytest.raises(FileNotFoundError, match=r"Neither train-semi nor validation is in"):
        _dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no list of classes at '.*absent.txt'"):
        _dataset(root, categories=str(tmp_path / "absent.txt"))
    with pytest.raises(FileNotFoundError, match=r"no photo \*\.JPEG in '.*nowhere'"):
        _dataset(root, split="nowhere")


def test_dataset__a_mask_of_a_larger_subset_is_refused(root: Path) -> None:
    dataset = _dataset(root)
    true_layouts.two_channels(Path(dataset.get_data_info(0)["seg_map_path"]), np.full((72, 96), 51))
    with pytest.raises(ValueError, match="has the class 51; 50 is the last one here"):
        dataset[0]


def test_crop__photo_and_mask_stay_together() -> None:
    """A photo whose red is its label: after any crop and flip the two agree but at the borders of labels."""
    labels = np.repeat(np.repeat(np.arange(48).reshape(6, 8), 40, axis=0), 40, axis=1)
    image = np.stack([5 * labels, 0 * labels, 0 * labels], axis=-1).astype(np.uint8)
    crop = RandomResizedCropWithLabels(112, scale=(0.14, 1.0))
    torch.manual_seed(0)
    shares = []
    for _ in range(20):
        results = dict(img=image, gt_seg_map=labels.astype(np.int32), seg_fields=["gt_seg_map"])
        results = crop(results)
        assert results["img"].shape == (112, 112, 3) and results["gt_seg_map"].shape == (112, 112)
        assert results["gt_seg_map"].dtype == np.int32 and results["img_shape"] == (112, 112)
        shares.append(np.mean(results["img"][..., 0] == 5 * results["gt_seg_map"]))
    assert min(shares) > 0.7 and np.mean(shares) > 0.85
    with pytest.raises(ValueError, match=r"scale \(0.5, 0.1\)"):
        RandomResizedCropWithLabels(112, scale=(0.5, 0.1))


def test_crop__large_labels_are_not_cut_to_a_byte() -> None:
    labels = np.full((30, 40), 1000, dtype=np.int32)
    results = dict(
        img=np.zeros((30, 40, 3), np.uint8), gt_seg_map=labels, seg_fields=["gt_seg_map"]
    )
    assert (RandomResizedCropWithLabels(16)(results)["gt_seg_map"] == 1000).all()


def test_pipeline__values_of_the_protocol_and_rgb() -> None:
    """Jitter 0.8 of (0.8, 0.8, 0.8, 0.2), grey 0.2, blur 0.5 with 0.1 to 2; torchvision gets R, G, B."""
    config = builds.load(CONFIGS[0])
    steps = config.train_dataloader.dataset.pipeline
    assert [s.type.rpartition(".")[2].rpartition("/")[2] for s in steps] == [
        "LoadImageFromFile",
        "LoadImageNetSAnnotations",
        "RandomResizedCropWithLabels",
        "RandomFlip",
        "NumpyToPIL",
        "RandomApply",
        "RandomGrayscale",
        "PILToNumpy",
        "GaussianBlur",
        "PackSegInputs",
    ]
    jitter = steps[5].transforms[0]
    values = [jitter[k] for k in ("brightness", "contrast", "saturation", "hue")]
    assert (steps[5].prob, values) == (0.8, [0.8, 0.8, 0.8, 0.2])
    assert (steps[2].size, steps[2].scale, steps[3].prob) == (224, (0.14, 1.0), 0.5)
    assert (steps[6].p, steps[8].prob, steps[8].magnitude_range) == (0.2, 0.5, (0.1, 2.0))
    assert config.val_dataloader.dataset.pipeline[1].scale == 256
    grey = dict(steps[6], p=1.0)
    red = dict(img=np.broadcast_to(np.array([0, 0, 255], np.uint8), (4, 4, 3)).copy())  # BGR
    with DefaultScope.overwrite_default_scope("mmseg"):
        for step in (steps[4], grey, steps[7]):
            red = TRANSFORMS.build(dict(step))(red)
    assert np.unique(red["img"]).tolist() == [76]  # 0.299 * 255


def _segmentor(config: Any, **changes: Any) -> Any:
    config.model.update(changes)
    return builds.build(builds.shrink(config), "mmseg").eval()


def test_head__is_a_norm_and_a_linear_layer_enlarged_twice() -> None:
    model = _segmentor(builds.load(CONFIGS[0]))
    head, maps = model.decode_head, torch.randn(2, 48, 3, 5)
    weight, bias = head.conv_seg.weight[..., 0, 0], head.conv_seg.bias
    assert float(weight.detach().std()) == pytest.approx(2e-5, rel=0.02) and not bias.any()
    tokens = F.layer_norm(maps.flatten(2).transpose(1, 2), (48,), eps=1e-6)
    logits = F.linear(tokens, weight, bias).transpose(1, 2).unflatten(2, (3, 5))
    expected = F.interpolate(logits, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(head((maps,)), expected, rtol=1e-4, atol=1e-8)


def test_loss__counts_the_nearest_pixels_and_ignores_1000() -> None:
    model = _segmentor(builds.load(CONFIGS[0]))
    logits = torch.randn(2, 920, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = builds.segmentation_batch(920, [(64, 64)] * 2, ignored=1000)["data_samples"]
    labels = torch.stack([s.gt_sem_seg.data[0, ::8, ::8] for s in batch])  # the nearest of 8 pixels
    assert (labels == 1000).any() and labels.max() == 1000 and (labels == 255).sum() >= 0
    expected = F.cross_entropy(logits, labels, ignore_index=1000)
    found = model.decode_head.loss_by_feat(logits, batch)["loss_ce"]
    torch.testing.assert_close(found, expected)
    assert batch[0].gt_sem_seg.data.shape == (1, 64, 64)


def _sample(ori: tuple[int, int], image: tuple[int, int], **meta: Any) -> Any:
    from mmseg.structures import SegDataSample

    return SegDataSample(metainfo=dict(ori_shape=ori, img_shape=image, **meta))


@pytest.mark.parametrize("band", [2**26, 700])
def test_labels__are_those_of_bilinear_enlargement(band: int, monkeypatch) -> None:
    """Whole patches: the same as mmseg's own resize and argmax, whatever the bands."""
    from mmrel.models.segmentors import patch_segmentor

    monkeypatch.setattr(patch_segmentor, "BAND", band)
    model = _segmentor(builds.load(CONFIGS[0]))
    logits = torch.randn(1, 7, 8, 12, generator=torch.Generator().manual_seed(1))
    (result,) = model.postprocess_result(logits, [_sample((61, 90), (64, 96))])
    large = F.interpolate(logits, size=(61, 90), mode="bilinear", align_corners=False)
    # Both sum four products in float32; where two classes are equal up to rounding either may win.
    share = (result.pred_sem_seg.data == large.argmax(dim=1)).float().mean()
    assert result.pred_sem_seg.data.shape == (1, 61, 90) and share > 0.999


def test_labels__of_a_patch_that_lies_partly_outside() -> None:
    """40 of 48 pixels are image, so the photo is the left five sixths of the logits' area."""
    model = _segmentor(builds.load(CONFIGS[0]))
    logits = torch.zeros(1, 2, 8, 6)
    logits[:, 0], logits[:, 1, :, 5] = 0.5, 1  # the sixth column of 8 pixels begins at 40
    (result,) = model.postprocess_result(logits, [_sample((40, 80), (56, 40))])
    found = result.pred_sem_seg.data[0]
    assert found.shape == (40, 80)
    assert not found.any(), "what lies outside the image reached into it"
    stretched = F.interpolate(logits, size=(40, 80), mode="bilinear").argmax(dim=1)
    assert stretched.any(), "the example would not show it"


def test_labels__over_1000_pixels_are_enlarged_from_the_smaller_map() -> None:
    model = _segmentor(builds.load(CONFIGS[0]), max_side=20)
    logits = torch.randn(1, 5, 8, 8, generator=torch.Generator().manual_seed(2))
    (result,) = model.postprocess_result(logits, [_sample((80, 40), (64, 64))])
    small = F.interpolate(logits, size=(20, 10), mode="bilinear", align_corners=False).argmax(1)
    expected = small.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    assert torch.equal(result.pred_sem_seg.data, expected)


def test_labels__bad_input() -> None:
    model = _segmentor(builds.load(CONFIGS[0]))
    logits = torch.zeros(1, 2, 8, 8)
    with pytest.raises(ValueError, match=r"4 x 4 patches came from an image of 64 x 128 pixels"):
        model.postprocess_result(logits, [_sample((64, 128), (64, 128))])
    with pytest.raises(ValueError, match="flipped image"):
        model.postprocess_result(logits, [_sample((64, 64), (64, 64), flip=True)])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_recipe__values_of_sere_s_protocol(path: Path) -> None:
    """AdamW 5e-4 for 256 photos, decay 0.05, layer decay 0.5, drop path 0.1, 100 epochs, 5 of warm-up, to 1e-6."""
    config = builds.load(path)
    subset = int(path.stem.rpartition("imagenet-s")[2].split("-")[0])
    optim, (warmup, cosine) = config.optim_wrapper, config.param_scheduler
    assert optim.optimizer == dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05)
    assert (optim.type, optim.paramwise_cfg.layer_decay_rate) == ("AmpOptimWrapper", 0.5)
    assert (config.train_dataloader.batch_size, config.auto_scale_lr.base_batch_size) == (32, 256)
    assert (warmup.begin, warmup.end, cosine.begin, cosine.end) == (0, 5, 5, 100)
    assert cosine.eta_min_ratio * 5e-4 == pytest.approx(1e-6)
    assert config.train_cfg.max_epochs == 100 and config.log_processor.by_epoch
    backbone, head = config.model.backbone, config.model.decode_head
    assert (backbone.arch, head.in_channels) == (
        ("deit-base", 768) if "vit-base" in path.stem else ("deit-small", 384)
    )
    assert (backbone.out_indices, backbone.out_norm, backbone.img_size) == ([11], "none", 224)
    assert (backbone.drop_path_rate, head.num_classes, head.ignore_index) == (0.1, subset + 1, 1000)
    assert config.model.data_preprocessor.seg_pad_val == 1000 and config.model.max_side == 1000
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert (loader.dataset.subset, Path(loader.dataset.data_root).name) == (
            subset,
            f"ImageNetS{subset}",
        )
    assert config.train_dataloader.dataset.data_prefix.img_path == "train-semi"
    assert ("finetuned" in config.pretrained) is ("_ft-" in path.stem)


def test_recipe__first_layers_end_below_where_they_start() -> None:
    """An absolute least rate of 1e-6 would be above the embedding's first rate, 5e-4 * 0.5^5 here."""
    from mmengine.registry import PARAM_SCHEDULERS

    config = builds.shrink(builds.load(CONFIGS[0]))
    model = builds.build(config, "mmseg", initialise=False)
    optimizer = builds.optim_wrapper(config, model, "mmseg").optimizer
    first = [group["lr"] for group in optimizer.param_groups]
    assert min(first) == pytest.approx(5e-4 * 0.5**5) and max(first) == pytest.approx(5e-4)
    settings = dict(config.param_scheduler[1], begin=0, end=400, optimizer=optimizer)
    settings.pop("convert_to_iter_based")
    scheduler = PARAM_SCHEDULERS.build(dict(settings, _scope_="mmengine"))
    for _ in range(400):
        optimizer.step()
        scheduler.step()
    last = [group["lr"] for group in optimizer.param_groups]
    assert [b / a for a, b in zip(first, last, strict=True)] == pytest.approx(
        [0.002] * len(first), rel=0.01
    )
