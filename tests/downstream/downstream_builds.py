"""Downstream configs in a shrunk form: tiny ViT, narrow heads, plain batch norm, random weights."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
from mmengine.structures import PixelData
from torch import nn

import mmrel  # noqa: F401  (makes mmdet:: and mmseg:: resolve)

CONFIGS = Path(__file__).parents[2] / "configs"
DETECTION = sorted(CONFIGS.glob("detection/*.py"))
SEGMENTATION = sorted(CONFIGS.glob("segmentation/*.py"))
ARCH = dict(embed_dims=48, num_layers=4, num_heads=3, feedforward_channels=96)
WIDTH = 16


@cache
def _parsed(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path) -> Config:
    """A config of one's own; each file is parsed once."""
    return deepcopy(_parsed(path))


def shrink(config: Config) -> Config:
    """The same model in small; what the recipe is about (block structure, losses) stays."""
    model = config.model
    width = ARCH["embed_dims"]
    indices = [0, 1, 2, 3][-len(model.backbone.out_indices) :]
    frozen = 4 if "frozen_stages" in model.backbone else -1
    model.backbone.update(arch=ARCH, out_indices=indices, img_size=64, frozen_stages=frozen)
    model.backbone.init_cfg.checkpoint = None
    for part in walk(model):
        if part.get("type") == "SyncBN":
            part["type"] = "BN"
    if "neck" in model:
        model.neck[0].update(in_channels=width, norm_cfg=dict(type="BN"))
    _shrink_detector(model, width) if "roi_head" in model else _shrink_segmentor(model, width)
    return config


def walk(value: Any) -> list[dict]:
    """Every dict inside a config."""
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in walk(item)]
    if not isinstance(value, dict):
        return []
    return [value, *(part for item in value.values() for part in walk(item))]


def _shrink_detector(model: Any, width: int) -> None:
    model.neck[1].update(in_channels=[width] * 4, out_channels=WIDTH)
    model.rpn_head.update(in_channels=WIDTH, feat_channels=WIDTH)
    for part in walk(model.roi_head):
        for key in ("in_channels", "out_channels", "conv_out_channels", "fc_out_channels"):
            if key in part:
                part[key] = WIDTH


def _shrink_segmentor(model: Any, width: int) -> None:
    if len(model.get("neck", ())) > 1:
        model.neck[1].update(in_channels=[width] * 4, out_channels=WIDTH)
        width = WIDTH
    head = model.decode_head
    if head.type == "mmrel.PatchHead":
        head.in_channels = width
    else:
        head.update(in_channels=[width] * 4)
        head.channels = 4 * width if head.get("num_convs") == 0 else WIDTH
    if model.get("auxiliary_head"):
        model.auxiliary_head.update(in_channels=width, channels=WIDTH)
    if model.test_cfg.mode == "slide":
        model.test_cfg.update(crop_size=(64, 64), stride=(43, 43))
    if model.data_preprocessor.size is not None:
        model.data_preprocessor.size = (64, 64)


def build(config: Config, scope: str, initialise: bool = True) -> nn.Module:
    """Build a model in a host's scope."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        model = _registry(scope).build(config.model)
        if initialise:
            model.init_weights()
    return model


def optim_wrapper(config: Config, model: nn.Module, scope: str) -> Any:
    """The config's optimiser, in full precision since CPUs have no gradient scaler."""
    settings = config.optim_wrapper.to_dict() | dict(type="OptimWrapper")
    constructor = settings.pop("constructor", "DefaultOptimWrapperConstructor")
    paramwise = settings.pop("paramwise_cfg", None)
    with DefaultScope.overwrite_default_scope(scope):
        return OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(type=constructor, optim_wrapper_cfg=settings, paramwise_cfg=paramwise)
        )(model)


def train_step(config: Config, model: nn.Module, batch: dict, scope: str) -> dict:
    """One optimiser step; the gradients stay."""
    wrapper = optim_wrapper(config, model, scope)
    losses = model.train()(**model.data_preprocessor(batch, True), mode="loss")
    total, values = model.parse_losses(losses)
    total.backward()
    wrapper.step()
    return values


def strides(path: Path) -> tuple[int, ...]:
    """Strides of the maps that a config's heads get, before an FPN: those of the name's form."""
    if "patch-linear" in path.name:
        return (16,)
    if path.name == "vit-tiny-p8_linear_scenes.py":
        return (8,)
    flat = "-flat_" in path.name or "_linear_" in path.name
    return (16, 16, 16, 16) if flat else (4, 8, 16, 32)


def detection_batch(num_classes: int, sizes: list[tuple[int, int]]) -> dict:
    """Packed random images with boxes and masks."""
    from mmdet.testing import demo_mm_inputs

    shapes = [[3, *size] for size in sizes]
    return demo_mm_inputs(
        len(sizes), shapes, num_items=[3] * len(sizes), num_classes=num_classes, with_mask=True
    )


def segmentation_batch(num_classes: int, sizes: list[tuple[int, int]], ignored: int = 255) -> dict:
    """Packed random images with label maps; an eighth of the pixels is ignored."""
    from mmseg.structures import SegDataSample

    rng = torch.Generator().manual_seed(0)
    images, samples = [], []
    for size in sizes:
        labels = torch.randint(0, num_classes, (1, *size), generator=rng)
        labels[torch.rand(1, *size, generator=rng) < 0.125] = ignored
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
        images.append(torch.randint(0, 256, (3, *size), generator=rng, dtype=torch.uint8))
    return dict(inputs=images, data_samples=samples)


def _registry(scope: str) -> Any:
    if scope == "mmdet":
        from mmdet.registry import MODELS
    else:
        from mmseg.registry import MODELS
    return MODELS
