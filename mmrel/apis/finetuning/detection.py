"""Mask R-CNN, or Faster R-CNN where no outlines are there, on a user's own objects."""

from typing import Any

from mmrel.apis.choices import Choice
from mmrel.apis.finetuning.config_text import Section, runtime_sections
from mmrel.apis.finetuning.data import PreparedData
from mmrel.apis.finetuning.setting import Setting

BASES = (
    "mmrel::_base_/models/det_mask-rcnn_vit-small-p16.py",
    "mmrel::_base_/schedules/weight_decay.py",
    "mmrel::_base_/det_runtime.py",
)
SMALL_OBJECTS = 48
"""Pixels: below it, half of the objects need smaller anchors than mmdet's 32 to 512."""

CHANNELS, CPU_CHANNELS = 256, 128
"""Of the feature pyramid and the heads: mmdet's, and what makes a step on a CPU three times as fast."""

SMALL_HEADS: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = (
    dict(out_channels=CPU_CHANNELS),
    dict(in_channels=CPU_CHANNELS, fc_out_channels=512),
    dict(in_channels=CPU_CHANNELS, conv_out_channels=64, num_convs=2),
)
"""What a CPU's extractors, box head and mask head have instead of mmdet's sizes."""

CPU_SAMPLES = 256
"""Boxes per step that the heads learn from on a CPU; the base has 512 per image."""

BOX_METRIC, MASK_METRIC = "coco/bbox_mAP", "coco/segm_mAP"


def detection_sections(setting: Setting) -> tuple[list[Section], list[Choice]]:
    """What the configuration says beside its bases, and the choices that are made here."""
    data, size, on_gpu = setting.data, setting.size, setting.on_gpu
    anchors = 4 if 0 < data.object_side * data.scale_to(size) < SMALL_OBJECTS else 8
    metric = MASK_METRIC if data.with_masks else BOX_METRIC
    choices = [
        Choice(
            "detector",
            "Mask R-CNN" if data.with_masks else "Faster R-CNN",
            "every object has an outline" if data.with_masks else data.why_boxes,
        ),
        Choice(
            "anchors",
            f"{4 * anchors} to {64 * anchors}",
            f"pixels; half of the objects are under {data.object_side * data.scale_to(size):.0f} at this size",
        ),
    ]
    if not on_gpu:
        reason = "on a CPU: half the channels, fewer layers and samples; a GPU gets mmdet's own"
        choices.append(Choice("heads", f"{CPU_CHANNELS} channels", reason))
    sections = [
        _data_section(data),
        Section(
            "The detector: the base's, on this backbone, for these classes.",
            dict(model=_model(setting, anchors)),
        ),
        Section("What happens to an image.", _pipelines(size, data.with_masks)),
        Section("Which images.", _loaders(setting)),
        *runtime_sections(setting.schedule, on_gpu, metric),
    ]
    return sections, choices


def _data_section(data: PreparedData) -> Section:
    values = dict(data_root=str(data.root), metainfo=data.metainfo())
    return Section(f"The data, read from {data.source}.", values)


def _model(setting: Setting, anchors: int) -> dict[str, Any]:
    data, network, on_gpu = setting.data, setting.network, setting.on_gpu
    channels = CHANNELS if on_gpu else CPU_CHANNELS
    width = [network.width] * 4
    model: dict[str, Any] = dict(
        data_preprocessor=dict(network.normalization(), pad_mask=data.with_masks),
        backbone=network.backbone_config(224, setting.checkpoint),
        neck=[
            network.pyramid_config(setting.schedule.norm(network.width)),
            dict(type="FPN", in_channels=width, out_channels=channels, num_outs=5),
        ],
        rpn_head=dict(anchor_generator=dict(scales=[anchors])),
        roi_head=_roi_head(len(data.classes), data.with_masks, on_gpu),
    )
    if not data.with_masks:
        model["type"] = "FasterRCNN"
    if not on_gpu:  # fewer samples: most of a CPU's time goes into the heads
        model["rpn_head"] |= dict(in_channels=channels, feat_channels=channels)
        model["train_cfg"] = dict(
            rpn_proposal=dict(nms_pre=1000, max_per_img=300),
            rcnn=dict(sampler=dict(num=max(32, CPU_SAMPLES // setting.schedule.batch))),
        )
        model["test_cfg"] = dict(rpn=dict(nms_pre=500, max_per_img=300))
    return model


def _roi_head(classes: int, masks: bool, on_gpu: bool) -> dict[str, Any]:
    """The head of the boxes, and of the masks where there are any; mmdet's own but for the sizes on a CPU."""
    extractor, box, mask = ({}, {}, {}) if on_gpu else SMALL_HEADS
    head: dict[str, Any] = dict(bbox_head=dict(num_classes=classes, **box))
    if masks:
        head["mask_head"] = dict(num_classes=classes, **mask)
    else:
        head |= dict(mask_roi_extractor=None, mask_head=None)
    if not on_gpu:
        head["bbox_roi_extractor"] = extractor
        head |= dict(mask_roi_extractor=extractor) if masks else {}
    return head


def _pipelines(size: int, masks: bool) -> dict[str, Any]:
    long = round(size * 1333 / 800)
    factors = (0.8, 0.9, 1.0)
    sides = sorted({round(size * factor / 16) * 16 for factor in factors})
    load = dict(type="LoadImageFromFile", backend_args=None)
    annotate = dict(type="LoadAnnotations", with_bbox=True, with_mask=masks)
    meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    train = [
        load,
        annotate,
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandomChoiceResize", scales=[(side, long) for side in sides], keep_ratio=True),
        dict(type="PackDetInputs"),
    ]
    test = [
        load,
        dict(type="Resize", scale=(long, size), keep_ratio=True),
        annotate,
        dict(type="PackDetInputs", meta_keys=meta),
    ]
    return dict(train_pipeline=train, test_pipeline=test)


def _loaders(setting: Setting) -> dict[str, Any]:
    evaluator = dict(
        type="CocoMetric",
        ann_file=str(setting.data.val_file),
        metric=["bbox", "segm"] if setting.data.with_masks else ["bbox"],
        classwise=True,
        format_only=False,
    )
    # Images without objects are examples as well.
    train = dict(filter_cfg=dict(filter_empty_gt=False))
    return setting.loaders("CocoDataset", dict(img=""), train, evaluator)
