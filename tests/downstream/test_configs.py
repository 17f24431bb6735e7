"""Every shipped downstream config: values of the recipe, one training and one prediction step."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import downstream_builds as builds
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmpretrain.models.backbones import VisionTransformer

from mmrel.models.backbones import DenseViT, ViT
from mmrel.models.backbones.misfits import check_fit
from mmrel.models.backbones.mocov3_vit import VIT_SMALL as MOCOV3_SMALL
from mmrel.quickstart.plan import backbone_options
from mmrel.registry import MODELS
from mmrel.utils.algorithm import algorithm_of
from mmrel.utils.network_keys import settle_network

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

CASES = [(p, "mmdet") for p in builds.DETECTION] + [(p, "mmseg") for p in builds.SEGMENTATION]
PRETRAINING = [
    *sorted(p for p in builds.CONFIGS.glob("*/*coslr*.py") if p.stem.endswith("_in1k")),
    *sorted(p for p in builds.CONFIGS.glob("*/*_custom.py") if p.parent.name != "relvit"),
    *sorted(builds.CONFIGS.glob("quickstart/*.py")),
]
all_configs = pytest.mark.parametrize(
    ("path", "scope"), CASES, ids=[path.stem for path, _ in CASES]
)

CASCADE, PLAIN = "cascade-mask-rcnn_vit-{}-p16_ibot-fpn", "mask-rcnn_vit-{}-p16_fpn"
CROP = "amp-ms-crop"
SELFPATCH = "mask-rcnn_vit-small-p16_selfpatch{}-fpn"
SELFPATCH_BASE = "mask-rcnn_vit-base-p16_selfpatch-fpn"
# rate, images per GPU, images per step, layer decay, stochastic depth, epochs, milestones
DETECTION_TABLE = {
    f"{PLAIN.format('small')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, None, 0.05, 12, [8, 11]),
    f"{PLAIN.format('base')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, None, 0.2, 12, [8, 11]),
    f"{SELFPATCH.format('')}_8xb1-{CROP}-1x_coco": (5e-5, 1, 8, None, 0.05, 12, [8, 11]),
    f"{SELFPATCH.format('')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, None, 0.05, 12, [8, 11]),
    f"{SELFPATCH_BASE}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, None, 0.2, 12, [8, 11]),
    f"{SELFPATCH.format('-8heads')}_8xb1-{CROP}-1x_coco": (5e-5, 1, 8, None, 0.05, 12, [8, 11]),
    f"{CASCADE.format('small')}_8xb4-{CROP}-1x_coco": (1e-4, 4, 32, 0.8, 0.1, 12, [8, 11]),
    f"{CASCADE.format('base')}_8xb2-{CROP}-1x_coco": (1e-4, 2, 16, 0.75, 0.2, 12, [8, 11]),
    f"{CASCADE.format('small')}_8xb2-{CROP}-3x_coco": (1e-4, 2, 16, 0.75, 0.1, 36, [27, 33]),
    f"{CASCADE.format('base')}_8xb2-{CROP}-3x_coco": (1e-4, 2, 16, 0.65, 0.2, 36, [27, 33]),
}
# iterations, head, its channels, strides of the maps before FPN or head; SelfPatch on ADE20K
SELFPATCH_TABLE = {
    "fpn_4xb4-amp-40k": (40000, "FPNHead", 128, (4, 8, 16, 32)),
    "fpn-flat_4xb4-amp-40k": (40000, "FPNHead", 128, (16, 16, 16, 16)),
    "upernet_4xb4-amp-160k": (160000, "UPerHead", 512, (4, 8, 16, 32)),
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
    cascade = "cascade" in name
    assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (
        0.001,
        500 if cascade else 1000,
        False,
    )
    assert config.default_hooks.checkpoint.type == "mmrel.AtomicCheckpointHook"
    assert (steps.milestones, steps.end, config.train_cfg.max_epochs) == (
        milestones,
        epochs,
        epochs,
    )
    backbone = config.model.backbone
    if cascade:
        assert (backbone.load_interpolation, backbone.pos_interpolation) == ("size", "dino")
        assert backbone.img_size == ((672, 1088) if "base" in name else (800, 1008))
        with torch.device("meta"):
            positions = DenseViT(**_backbone_settings(config.model)).pos_embed.shape[1]
        assert positions == 1 + (42 * 68 if "base" in name else 50 * 63)
    assert (backbone.drop_path_rate, backbone.out_indices) == (drop_path, [3, 5, 7, 11])
    assert backbone.out_norm == "none"
    assert backbone.get("with_cls_token", True) is ("selfpatch" not in name)
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
    assert (poly.power, poly.eta_min, poly.begin, poly.end) == (1.0, 0.0, 0, 160000)
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


def test_segmentation__rate_decays_during_the_warm_up() -> None:
    """The official runs' rate: (1 - t / T) times the warm-up, in which the decay goes on."""
    config = _load("segmentation", "vit-small-p16_upernet_4xb4-amp-160k_ade20k-512x512")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-5)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer, _scope_="mmengine"))
        for cfg in config.param_scheduler
    ]
    for step in range(3001):
        if step in (750, 1600, 3000):
            warm_up = min(1.0, 1e-6 + (1 - 1e-6) * step / 1499)
            rate = 3e-5 * (1 - step / 160000) * warm_up
            assert optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=2e-5), step
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize("name", SELFPATCH_TABLE)
def test_segmentation__selfpatch_s_published_values(name: str) -> None:
    config = _load("segmentation", f"vit-small-p16_selfpatch-{name}_ade20k-512x512")
    iterations, head, channels, strides = SELFPATCH_TABLE[name]
    optimizer, model = config.optim_wrapper.optimizer, config.model
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 6e-5, 0.01)
    assert "constructor" not in config.optim_wrapper
    warmup, poly = config.param_scheduler
    assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (1e-6, 1500, False)
    assert (poly.power, poly.eta_min, poly.begin, poly.end) == (1.0, 0.0, 0, iterations)
    assert config.train_cfg.max_iters == iterations
    assert (config.train_dataloader.batch_size, config.auto_scale_lr.base_batch_size) == (4, 16)
    backbone, decode = model.backbone, model.decode_head
    assert (backbone.arch, backbone.img_size, backbone.patch_size) == ("deit-small", 512, 16)
    assert (backbone.out_indices, backbone.out_norm) == ([2, 5, 8, 11], "none")
    assert (backbone.with_cls_token, backbone.drop_path_rate) == (False, 0.1)
    assert backbone.pos_interpolation == "size"
    assert (decode.type, decode.channels, decode.num_classes) == (head, channels, 150)
    assert (decode.dropout_ratio, decode.norm_cfg.type) == (0.1, "SyncBN")
    assert model.test_cfg == dict(mode="whole") and model.data_preprocessor.size == (512, 512)
    assert model.pretrained is None
    if head == "FPNHead":
        assert (model.neck[1].out_channels, model.neck[1].num_outs) == (256, 4)
        assert decode.feature_strides == [4, 8, 16, 32]
    pyramid = dict(mode="none") if strides[0] == 16 else dict(scales=(4, 2, 1, 0.5))
    assert {key: model.neck[0].get(key) for key in pyramid} == pyramid


@pytest.mark.parametrize(
    ("path", "scope"),
    [pytest.param(*case, id=case[0].stem) for case in CASES if "selfpatch" in case[0].stem],
)
def test_selfpatch__weight_decay_spares_positions_and_norms(path: Path, scope: str) -> None:
    config = builds.shrink(builds.load(path))
    model = builds.build(config, scope, initialise=False)
    decayed = config.optim_wrapper.optimizer.weight_decay
    groups = builds.optim_wrapper(config, model, scope).optimizer.param_groups
    found = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    norms = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    exempt = {p for m in model.modules() if isinstance(m, norms) for p in m.parameters()}
    exempt.add(model.backbone.pos_embed)
    for name, param in model.named_parameters():
        assert found[id(param)] == (0.0 if param in exempt else decayed), name


def test_detection__eight_heads_is_the_only_difference_of_the_released_form() -> None:
    ours = _load("detection", f"{SELFPATCH.format('')}_8xb1-{CROP}-1x_coco").model
    theirs = _load("detection", f"{SELFPATCH.format('-8heads')}_8xb1-{CROP}-1x_coco").model
    with torch.device("meta"):
        six, eight = (DenseViT(**_backbone_settings(model)) for model in (ours, theirs))
    assert eight.arch_settings == six.arch_settings | dict(num_heads=8)
    assert (six.pretrained_num_heads, eight.pretrained_num_heads) == (6, 6)
    theirs.backbone.update(arch="deit-small")
    del theirs.backbone["pretrained_num_heads"]
    assert theirs == ours


@all_configs
def test_config__opens_with_provenance(path: Path, scope: str) -> None:
    text = path.read_text(encoding="utf-8").split('"""')[1]
    assert all(f"\n{key}: " in text for key in ("Paper", "Command", "Hardware", "Expected"))


@all_configs
def test_config__trains_and_predicts(path: Path, scope: str) -> None:
    config = builds.load(path)
    config = config if path.stem.endswith("scenes") else builds.shrink(config)
    model = builds.build(config, scope)
    batch = _batches(config, scope)
    _check_strides(model, builds.strides(path))
    losses = builds.train_step(config, model, batch([(64, 64), (64, 64)]), scope)
    assert all(torch.isfinite(value).all() for value in losses.values())
    for name, param in model.named_parameters():
        assert (param.grad is not None) == param.requires_grad, name
    with torch.no_grad():
        results = model.eval().test_step(batch([(53, 75)]))
    _check_prediction(results[0], scope)


@all_configs
def test_config__full_size_fits_together(path: Path, scope: str) -> None:
    """The real widths, on torch's meta device: no memory, no arithmetic."""
    config = builds.load(path)
    with torch.device("meta"):
        model = builds.build(config, scope, initialise=False).eval()
        maps = model.extract_feat(torch.empty(1, 3, 128, 160))
        strides = builds.strides(path)
        assert [(128 // x.shape[2], 160 // x.shape[3]) for x in maps[:4]] == [
            (s, s) for s in strides
        ]
        if scope == "mmseg":
            _run_segmentation_heads(model, maps, _num_classes(config), strides)
        else:
            _run_roi_heads(model, maps, _num_classes(config))


def _run_segmentation_heads(
    model: Any, maps: tuple[torch.Tensor, ...], num_classes: int, strides: tuple[int, ...]
) -> None:
    fine = strides[0] // getattr(model.decode_head, "upsample", 1)
    assert model.decode_head(maps).shape == (1, num_classes, 128 // fine, 160 // fine)
    if model.with_auxiliary_head:
        third = strides[2]
        assert model.auxiliary_head(maps).shape == (1, num_classes, 128 // third, 160 // third)


def _run_roi_heads(model: Any, maps: tuple[torch.Tensor, ...], num_classes: int) -> None:
    model.rpn_head(maps)
    boxes, masks = torch.empty(2, maps[0].shape[1], 7, 7), torch.empty(2, maps[0].shape[1], 14, 14)
    head, mask_head = model.roi_head.bbox_head, model.roi_head.mask_head
    for each in head if isinstance(head, torch.nn.ModuleList) else [head]:
        scores, deltas = each(boxes)
        assert scores.shape == (2, num_classes + 1) and deltas.shape == (2, 4 * num_classes)
    for each in mask_head if isinstance(mask_head, torch.nn.ModuleList) else [mask_head]:
        assert each(masks).shape == (2, num_classes, 28, 28)


def _batches(config: Config, scope: str) -> Any:
    if scope == "mmdet":
        return partial(builds.detection_batch, _num_classes(config))
    ignored = config.model.decode_head.get("ignore_index", 255)
    return partial(builds.segmentation_batch, _num_classes(config), ignored=ignored)


def _num_classes(config: Config) -> int:
    if "decode_head" in config.model:
        return config.model.decode_head.num_classes
    heads = config.model.roi_head.bbox_head
    return (heads[0] if isinstance(heads, list) else heads).num_classes


def _check_strides(model: Any, strides: tuple[int, ...]) -> None:
    image = torch.zeros(1, 3, 64, 96)
    model.eval()
    with torch.no_grad():
        maps = model.backbone(image)
        maps = model.neck[0](maps) if model.with_neck else maps
    assert [(64 // x.shape[2], 96 // x.shape[3]) for x in maps] == [(s, s) for s in strides]


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
    batch = _batches(config, scope)
    builds.train_step(config, model, batch([(64, 64), (64, 64)]), scope)
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


def _backbone_settings(model: Any) -> dict[str, Any]:
    settings = model.get("base", model).backbone.to_dict()
    return {key: value for key, value in settings.items() if key not in ("type", "init_cfg")}


@cache
def _source(path: Path) -> tuple[ViT, ViT]:
    """Student and teacher of a recipe, in full size and without memory."""
    config = builds.load(path)
    settle_network(config)
    backbone = algorithm_of(config.model).backbone
    with torch.device("meta"):
        student = MODELS.build(backbone.to_dict())
    return student, student.teacher_copy()


@cache
def _targets(arch: str | None = None) -> list[DenseViT]:
    """The backbones of all configs, each kind once; of another architecture if one is named."""
    kinds = {}
    for config in (builds.load(path) for path, _ in CASES):
        settings = _backbone_settings(config.model)
        if arch is not None and settings["arch"] != "large":
            settings["arch"] = arch
        kinds[repr(sorted(settings.items()))] = settings
    with torch.device("meta"):
        return [DenseViT(**settings) for settings in kinds.values()]


def _target(config: Config) -> DenseViT:
    with torch.device("meta"):
        return DenseViT(**_backbone_settings(config.model))


def _scenes_targets(pretraining: Path) -> list[DenseViT]:
    """The scenes' networks, with the options that the quickstart gives after this pretraining."""
    configs = [builds.load(path) for path, _ in CASES if path.stem.endswith("_scenes")]
    for config in configs:
        config.merge_from_dict(backbone_options(builds.load(pretraining)))
    return [_target(config) for config in configs]


def _is_made_for(target: DenseViT, source: ViT) -> bool:
    """Width, depth, heads and patch agree; what the target has (class token, final norm) is there."""
    heads = dict(num_heads=target.pretrained_num_heads)
    return (
        target.arch_settings | heads == source.arch_settings
        and target.patch_embed.projection.kernel_size == source.patch_embed.projection.kernel_size
        and (source.cls_token is not None or target.cls_token is None)
        and (source.final_norm or not target.final_norm)
    )


@pytest.mark.parametrize("pretraining", PRETRAINING, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pair__no_missing_and_no_unexpected_key(pretraining: Path) -> None:
    networks, on_scenes = _source(pretraining), pretraining.parent.name == "quickstart"
    # The ViT-S of MoCo v3 has 12 heads: docs/downstream.md says what to give then. Most recipes are for ViT-S or ViT-B.
    named = {"mocov3-small": MOCOV3_SMALL, "large": VisionTransformer.arch_zoo["large"]}
    arch = next((k for k, v in named.items() if networks[0].arch_settings == v), None)
    found = _scenes_targets(pretraining) if on_scenes else _targets(arch)
    targets = [target for target in found if _is_made_for(target, networks[0])]
    assert len(targets) == len(found) == 4 if on_scenes else targets
    for model in targets:
        for network in networks:
            state = model.fit_state(network.state_dict())
            meta = dict(num_heads=network.num_heads)
            check_fit(model, state, meta, str(pretraining), model.pretrained_num_heads)


def _without_class_token(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A backbone's tensors as SelfPatch has them."""
    kept = {key: v for key, v in state.items() if key != "cls_token" and key[:3] != "ln1"}
    return kept | {"pos_embed": state["pos_embed"][:, 1:]}


@pytest.mark.parametrize(
    "path", [p for p, _ in CASES if "selfpatch" in p.stem], ids=lambda p: p.stem
)
def test_pair__selfpatch_and_dino_in_the_selfpatch_configs(path: Path) -> None:
    """147 tensors (specification of the official layout) fit; DINO's 150 lose what is not there."""
    target = _target(builds.load(path))
    arch, heads = ("deit-base", 12) if "vit-base" in path.stem else ("deit-small", 6)
    with torch.device("meta"):
        dino = ViT(arch).state_dict()
    selfpatch = _without_class_token(dino)
    assert (len(dino), len(selfpatch), len(target.state_dict())) == (150, 147, 147)
    for state in (dino, selfpatch):
        check_fit(target, target.fit_state(state), dict(num_heads=heads), "x", heads)


@pytest.mark.parametrize(
    "path", [p for p, _ in CASES if "selfpatch" not in p.stem], ids=lambda p: p.stem
)
def test_pair__selfpatch_in_a_class_token_model_is_refused(path: Path) -> None:
    target = _target(builds.load(path))
    settings = _backbone_settings(builds.load(path).model)
    with torch.device("meta"):
        source = ViT(**{key: settings[key] for key in ("arch", "patch_size", "img_size")})
    state = _without_class_token(source.state_dict())
    with pytest.raises(ValueError, match=r"missing: cls_token.*with_cls_token=False"):
        check_fit(target, target.fit_state(state), {}, "selfpatch.pth")
