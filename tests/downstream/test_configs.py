"""Every shipped downstream config: values of the recipe, one training and one prediction step."""

from functools import cache
from pathlib import Path
from typing import Any

import downstream_builds as builds
import pytest
import torch
from mmengine.config import Config

from mmrel.models.backbones import DenseViT, ViT
from mmrel.models.backbones.pretrained import check_fit

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

CASES = [(p, "mmdet") for p in builds.DETECTION] + [(p, "mmseg") for p in builds.SEGMENTATION]
PRETRAINING = sorted(
    [*builds.CONFIGS.glob("*/*coslr*.py"), *builds.CONFIGS.glob("quickstart/*.py")]
)
all_configs = pytest.mark.parametrize(
    ("path", "scope"), CASES, ids=[path.stem for path, _ in CASES]
)

CASCADE, PLAIN = "cascade-mask-rcnn_vit-{}-p16_ibot-fpn", "mask-rcnn_vit-{}-p16_fpn"
CROP = "amp-ms-crop"
# rate, images per GPU, images per step, layer decay, stochastic depth, epochs, milestones
DETECTION_TABLE = {
    f"{PLAIN.format('small')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, None, 0.05, 12, [8, 11]),
    f"{PLAIN.format('base')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, None, 0.2, 12, [8, 11]),
    f"{CASCADE.format('small')}_8xb4-{CROP}-1x_coco": (1e-4, 4, 32, 0.8, 0.1, 12, [8, 11]),
    f"{CASCADE.format('base')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, 0.75, 0.2, 12, [8, 11]),
    f"{CASCADE.format('small')}_8xb2-{CROP}-3x_coco": (1e-4, 2, 16, 0.75, 0.1, 36, [27, 33]),
    f"{CASCADE.format('base')}_8xb2-{CROP}-3x_coco": (1e-4, 2, 16, 0.65, 0.2, 36, [27, 33]),
}
# rate, images per GPU, layer decay, width
SEGMENTATION_TABLE = {
    "vit-small-p16_upernet_4xb4-amp-160k_ade20k-512x512": (3e-5, 4, 0.9, 384),
    "vit-base-p16_upernet_8xb2-amp-160k_ade20k-512x512": (8e-5, 2, 0.65, 768),
}


def _load(folder: str, name: str) -> Config:
    return builds.load(builds.CONFIGS / folder / f"{name}.py")


@pytest.mark.parametrize("name", DETECTION_TABLE)
def test_detection__published_values(name: str) -> None:
    config = _load("detection", name)
    rate, batch, total, decay, drop_path, epochs, milestones = DETECTION_TABLE[name]
    optimizer, paramwise = config.optim_wrapper.optimizer, config.optim_wrapper.paramwise_cfg
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", rate, 0.05)
    assert paramwise.get("layer_decay_rate") == decay
    assert paramwise.norm_decay_mult == 0
    assert set(paramwise.custom_keys) == {".pos_embed", ".cls_token"}
    assert (config.train_dataloader.batch_size, config.auto_scale_lr.base_batch_size) == (
        batch,
        total,
    )
    warmup, steps = config.param_scheduler
    assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (0.001, 1000, False)
    assert (steps.milestones, steps.end, config.train_cfg.max_epochs) == (
        milestones,
        epochs,
        epochs,
    )
    backbone = config.model.backbone
    assert (backbone.drop_path_rate, backbone.out_indices) == (drop_path, [3, 5, 7, 11])
    assert backbone.out_norm == "none" and backbone.get("with_cls_token", True)
    assert config.model.neck[0].scales == (4, 2, 1, 0.5)
    assert config.model.data_preprocessor.bgr_to_rgb and config.default_scope == "mmdet"
    assert config.train_dataloader.dataset.pipeline[3].type == "RandomChoice"


def test_detection__cascade_heads() -> None:
    config = _load("detection", f"{CASCADE.format('small')}_8xb4-{CROP}-1x_coco")
    heads = config.model.roi_head.bbox_head
    assert [h.bbox_coder.target_stds[0] for h in heads] == [0.1, 0.05, 0.033]
    for head in heads:
        assert (head.num_shared_convs, head.num_shared_fcs) == (4, 1)
        assert (head.loss_bbox.type, head.loss_bbox.loss_weight) == ("GIoULoss", 10.0)
        assert head.norm_cfg.type == "SyncBN" and head.reg_decoded_bbox
        assert not head.reg_class_agnostic
    assert config.model.roi_head.stage_loss_weights == [1, 0.5, 0.25]
    assert config.model.rpn_head.loss_bbox.type == "SmoothL1Loss"
    assert config.model.backbone.img_size == (800, 1008)


@pytest.mark.parametrize("name", SEGMENTATION_TABLE)
def test_segmentation__published_values(name: str) -> None:
    config = _load("segmentation", name)
    rate, batch, decay, width = SEGMENTATION_TABLE[name]
    optimizer, paramwise = config.optim_wrapper.optimizer, config.optim_wrapper.paramwise_cfg
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", rate, 0.05)
    assert paramwise.layer_decay_rate == decay
    warmup, poly = config.param_scheduler
    assert (warmup.start_factor, warmup.end) == (1e-6, 1500)
    assert (poly.power, poly.eta_min, poly.begin, poly.end) == (1.0, 0.0, 1500, 160000)
    model = config.model
    assert model.backbone.out_norm == "all" and model.backbone.drop_path_rate == 0.1
    assert (model.decode_head.channels, model.decode_head.num_classes) == (width, 150)
    assert (model.decode_head.in_channels, model.auxiliary_head.in_channels) == ([width] * 4, width)
    assert (model.auxiliary_head.channels, model.auxiliary_head.loss_decode.loss_weight) == (
        256,
        0.4,
    )
    assert (model.test_cfg.mode, model.test_cfg.stride) == ("slide", (341, 341))
    assert model.data_preprocessor.size == (512, 512) and model.pretrained is None
    assert config.train_dataloader.batch_size == batch
    assert config.auto_scale_lr.base_batch_size == 16 and config.train_cfg.max_iters == 160000


@all_configs
def test_config__opens_with_provenance(path: Path, scope: str) -> None:
    text = path.read_text(encoding="utf-8").split('"""')[1]
    assert all(f"\n{key}: " in text for key in ("Paper", "Command", "Hardware", "Expected"))


@all_configs
def test_config__trains_and_predicts(path: Path, scope: str) -> None:
    config = builds.load(path)
    config = config if path.stem.endswith("scenes") else builds.shrink(config)
    model = builds.build(config, scope)
    batch = builds.detection_batch if scope == "mmdet" else builds.segmentation_batch
    num_classes = _num_classes(config)
    _check_strides(model, scope)
    losses = builds.train_step(config, model, batch(num_classes, [(64, 64), (64, 64)]), scope)
    assert all(torch.isfinite(value).all() for value in losses.values())
    for name, param in model.named_parameters():
        assert (param.grad is not None) == param.requires_grad, name
    with torch.no_grad():
        results = model.eval().test_step(batch(num_classes, [(53, 75)]))
    _check_prediction(results[0], scope)


@all_configs
def test_config__full_size_fits_together(path: Path, scope: str) -> None:
    """The real widths, on torch's meta device: no memory, no arithmetic."""
    config = builds.load(path)
    with torch.device("meta"):
        model = builds.build(config, scope, initialise=False).eval()
        maps = model.extract_feat(torch.empty(1, 3, 128, 160))
        assert [(128 // x.shape[2], 160 // x.shape[3]) for x in maps[:4]] == [
            (s, s) for s in (4, 8, 16, 32)
        ]
        if scope == "mmseg":
            assert model.decode_head(maps).shape == (1, _num_classes(config), 32, 40)
            assert model.auxiliary_head(maps).shape == (1, _num_classes(config), 8, 10)
        else:
            _run_roi_heads(model, maps, _num_classes(config))


def _run_roi_heads(model: Any, maps: tuple[torch.Tensor, ...], num_classes: int) -> None:
    model.rpn_head(maps)
    boxes, masks = torch.empty(2, maps[0].shape[1], 7, 7), torch.empty(2, maps[0].shape[1], 14, 14)
    head, mask_head = model.roi_head.bbox_head, model.roi_head.mask_head
    for each in head if isinstance(head, torch.nn.ModuleList) else [head]:
        scores, deltas = each(boxes)
        assert scores.shape == (2, num_classes + 1) and deltas.shape == (2, 4 * num_classes)
    for each in mask_head if isinstance(mask_head, torch.nn.ModuleList) else [mask_head]:
        assert each(masks).shape == (2, num_classes, 28, 28)


def _num_classes(config: Config) -> int:
    if "decode_head" in config.model:
        return config.model.decode_head.num_classes
    heads = config.model.roi_head.bbox_head
    return (heads[0] if isinstance(heads, list) else heads).num_classes


def _check_strides(model: Any, scope: str) -> None:
    image = torch.zeros(1, 3, 64, 96)
    model.eval()
    with torch.no_grad():
        maps = model.neck[0](model.backbone(image))
    assert [(64 // x.shape[2], 96 // x.shape[3]) for x in maps] == [(s, s) for s in (4, 8, 16, 32)]


def _check_prediction(result: Any, scope: str) -> None:
    if scope == "mmseg":
        assert result.pred_sem_seg.data.shape == (1, 53, 75)
    else:
        found = result.pred_instances
        assert found.masks.shape[1:] == (53, 75) and len(found.bboxes) == len(found.scores)


@pytest.mark.parametrize(("path", "scope"), CASES[:1] + CASES[-1:])
def test_config__frozen_blocks_get_no_gradient(path: Path, scope: str) -> None:
    config = builds.shrink(builds.load(path))
    config.model.backbone.frozen_stages = 2
    model = builds.build(config, scope).train()
    before = {name: p.clone() for name, p in model.backbone.named_parameters()}
    batch = builds.detection_batch if scope == "mmdet" else builds.segmentation_batch
    builds.train_step(config, model, batch(_num_classes(config), [(64, 64), (64, 64)]), scope)
    for name, param in model.backbone.named_parameters():
        frozen = not name.startswith(("layers.2", "layers.3", "ln1"))
        assert (param.grad is None) == frozen, name
        assert torch.equal(param, before[name]) or not frozen, name


def test_scenes__classes_are_the_generator_s() -> None:
    scenes = pytest.importorskip("mmrel.datasets.scenes")
    detection = builds.load(next(p for p in builds.DETECTION if p.stem.endswith("scenes")))
    segmentation = builds.load(next(p for p in builds.SEGMENTATION if p.stem.endswith("scenes")))
    assert detection.train_dataloader.dataset.metainfo.classes == tuple(scenes.CLASSES)
    metainfo = segmentation.train_dataloader.dataset.metainfo
    assert metainfo.classes == tuple(scenes.SEGMENTATION_CLASSES)
    assert [tuple(c) for c in metainfo.palette] == list(scenes.PALETTE)
    assert _num_classes(detection) == len(scenes.CLASSES)
    assert _num_classes(segmentation) == len(scenes.SEGMENTATION_CLASSES)


@cache
def _source(path: Path) -> tuple[ViT, ViT]:
    """Student and teacher of a recipe, in full size and without memory."""
    model = builds.load(path).model
    settings = model.get("base", model).backbone.to_dict()
    settings.pop("type")
    with torch.device("meta"):
        student = ViT(**settings)
    return student, student.teacher_copy()


@cache
def _targets() -> list[DenseViT]:
    settings = [builds.load(path).model.backbone.to_dict() for path, _ in CASES]
    with torch.device("meta"):
        return [
            DenseViT(**{k: v for k, v in each.items() if k not in ("type", "init_cfg")})
            for each in settings
        ]


@pytest.mark.parametrize("pretraining", PRETRAINING, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pair__no_missing_and_no_unexpected_key(pretraining: Path) -> None:
    networks = _source(pretraining)
    targets = [t for t in _targets() if t.arch_settings == networks[0].arch_settings]
    assert targets
    for model in targets:
        for network in networks:
            state = model.fit_state(network.state_dict())
            check_fit(model, state, dict(num_heads=network.num_heads), str(pretraining))
