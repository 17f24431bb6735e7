"""Values of the segmentation recipes beside UperNet's and SelfPatch's for ADE20K, each against where it comes from."""

from typing import Any

import downstream_builds as builds
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytest.importorskip("mmseg")

# rate, images per GPU, architecture; iBOT's command for ViT-B (8e-4, 4 x 4) and its config file for ViT-S (3e-5)
LINEAR = {
    "vit-small-p16_linear_4xb4-amp-160k_ade20k": (3e-5, 4, "deit-small", 384),
    "vit-base-p16_linear_4xb4-amp-160k_ade20k": (8e-4, 4, "deit-base", 768),
    "vit-small-p16_linear_4xb4-amp-40k_voc12": (3e-5, 4, "deit-small", 384),
    "vit-small-p16_linear_4xb4-amp-40k_voc12aug": (3e-5, 4, "deit-small", 384),
    "vit-base-p16_linear_4xb4-amp-40k_voc12aug": (8e-4, 4, "deit-base", 768),
}
# rate, images per GPU, layer decay, width, norm of the maps, stochastic depth, blocks
BLOCKS = [3, 5, 7, 11]
UPERNET = {
    "vit-small-p16_ft-upernet_8xb2-amp-160k_ade20k": (3e-5, 2, 0.9, 384, "none", 0.1, BLOCKS),
    "vit-base-p16_ft-upernet_8xb2-amp-160k_ade20k": (3e-5, 2, 0.9, 768, "none", 0.1, BLOCKS),
    "vit-large-p16_upernet_8xb2-amp-160k_ade20k": (
        *(2e-5, 2, 0.95, 1024, "none", 0.2),
        [7, 11, 15, 23],
    ),
    "vit-small-p16_upernet_4xb4-amp-40k_voc12": (3e-5, 4, 0.9, 384, "all", 0.1, BLOCKS),
    "vit-small-p16_upernet_4xb4-amp-40k_voc12aug": (3e-5, 4, 0.9, 384, "all", 0.1, BLOCKS),
    "vit-base-p16_upernet_8xb2-amp-40k_voc12aug": (8e-5, 2, 0.65, 768, "all", 0.1, BLOCKS),
}
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def _load(name: str) -> Config:
    return builds.load(builds.CONFIGS / "segmentation" / f"{name}-512x512.py")


@pytest.mark.parametrize("name", LINEAR)
def test_linear__values(name: str) -> None:
    config, (rate, batch, arch, width) = _load(name), LINEAR[name]
    optimizer, model = config.optim_wrapper.optimizer, config.model
    assert optimizer == dict(type="AdamW", lr=rate, betas=(0.9, 0.999), weight_decay=0.05)
    assert not {"constructor", "paramwise_cfg"} & set(config.optim_wrapper)
    backbone, head = model.backbone, model.decode_head
    assert (backbone.arch, backbone.frozen_stages, backbone.out_norm) == (arch, 12, "all")
    assert (backbone.out_indices, backbone.pos_interpolation) == (BLOCKS, "size")
    assert (head.type, head.input_transform, head.in_index) == (
        *("FCNHead", "resize_concat"),
        [0, 1, 2, 3],
    )
    assert (head.in_channels, head.channels) == ([width] * 4, 4 * width)
    assert (head.num_convs, head.kernel_size, head.concat_input) == (0, 1, False)
    assert head.dropout_ratio == 0 and model.auxiliary_head is None and "neck" not in model
    _check_run(config, name, batch)


@pytest.mark.parametrize("name", UPERNET)
def test_upernet__values(name: str) -> None:
    config = _load(name)
    rate, batch, decay, width, norm, drop_path, blocks = UPERNET[name]
    optim, model = config.optim_wrapper, config.model
    assert optim.optimizer == dict(type="AdamW", lr=rate, betas=(0.9, 0.999), weight_decay=0.05)
    assert optim.constructor == "mmrel.LayerDecayOptimWrapperConstructor"
    assert optim.paramwise_cfg.layer_decay_rate == decay
    backbone = model.backbone
    assert (backbone.out_norm, backbone.drop_path_rate) == (norm, drop_path)
    assert backbone.out_indices == blocks and model.neck[0].in_channels == width
    assert (model.decode_head.type, model.decode_head.in_channels) == ("UPerHead", [width] * 4)
    assert model.decode_head.channels == width
    assert (model.auxiliary_head.in_channels, model.auxiliary_head.channels) == (width, 256)
    assert model.auxiliary_head.num_classes == model.decode_head.num_classes
    _check_run(config, name, batch)


def _check_run(config: Config, name: str, batch: int) -> None:
    """Length, data, classes, windows: 160k on ADE20K; mmseg's 40k on VOC, whose void pixels are ignored."""
    voc = "_voc12" in name
    length = 40000 if voc else 160000
    warmup, poly = config.param_scheduler
    assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (1e-6, 1500, False)
    assert (poly.power, poly.eta_min, poly.begin, poly.end) == (1.0, 0.0, 0, length)
    assert config.train_cfg.max_iters == length
    assert config.default_hooks.checkpoint.type == "mmrel.AtomicCheckpointHook"
    assert (config.train_dataloader.batch_size, config.auto_scale_lr.base_batch_size) == (batch, 16)
    model = config.model
    assert model.decode_head.num_classes == (21 if voc else 150)
    assert model.test_cfg == dict(mode="slide", crop_size=(512, 512), stride=(341, 341))
    assert model.data_preprocessor.size == (512, 512) and model.data_preprocessor.bgr_to_rgb
    dataset = config.train_dataloader.dataset
    parts = dataset.datasets if name.endswith("voc12aug") else [dataset]
    assert [part.type for part in parts] == ["PascalVOCDataset" if voc else "ADE20KDataset"] * len(
        parts
    )
    lists = [part.ann_file for part in parts] if voc else []
    expected = ["train", "aug"][: len(parts)] if voc else []
    assert lists == [f"ImageSets/Segmentation/{split}.txt" for split in expected]


@pytest.mark.parametrize(
    "path",
    [p for p in builds.SEGMENTATION if p.stem.endswith("512x512")],
    ids=lambda p: p.stem,
)
def test_multi_scale__is_a_multiple_of_the_test_at_one_scale(path: Any) -> None:
    config = builds.load(path)
    (single,) = [s for s in config.test_dataloader.dataset.pipeline if s.type == "Resize"]
    sizes, flips, *_ = config.tta_pipeline[1].transforms
    assert [step.scale for step in sizes] == [
        tuple(int(ratio * side) for side in single.scale) for ratio in RATIOS
    ]
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    assert config.tta_model.type == "SegTTAModel"


def test_linear__moves_its_layer_alone() -> None:
    """The logits are one linear function of the normed maps of four blocks; the backbone stays in evaluation mode."""
    config = builds.shrink(_load("vit-small-p16_linear_4xb4-amp-160k_ade20k"))
    model = builds.build(config, "mmseg").train()
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "decode_head.conv_seg.weight",
        "decode_head.conv_seg.bias",
    ]
    assert not any(module.training for module in model.backbone.layers)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), DefaultScope.overwrite_default_scope("mmseg"):
        maps = model.backbone(images)
        logits = model.decode_head(maps)
        weight, bias = model.decode_head.conv_seg.weight, model.decode_head.conv_seg.bias
        expected = torch.einsum("kc,bchw->bkhw", weight[..., 0, 0], torch.cat(maps, 1))
        torch.testing.assert_close(logits, expected + bias[:, None, None])
