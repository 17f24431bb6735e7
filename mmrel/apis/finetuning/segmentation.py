"""UperNet on a user's own masks."""

from typing import Any

from mmrel.apis.choices import Choice
from mmrel.apis.finetuning.config_text import Section, runtime_sections
from mmrel.apis.finetuning.setting import Setting

BASES = (
    "mmrel::_base_/models/seg_upernet_vit-small-p16.py",
    "mmrel::_base_/schedules/weight_decay.py",
    "mmrel::_base_/seg_runtime.py",
)
METRIC = "mIoU"
CPU_CHANNELS = 128
"""Of the heads on a CPU; on a GPU as many as the backbone has, as in iBOT's recipe."""


def segmentation_sections(setting: Setting) -> tuple[list[Section], list[Choice]]:
    """What the configuration says beside its bases, and the choices that are made here."""
    data, schedule, size = setting.data, setting.schedule, setting.size
    norm = schedule.norm(setting.network.width)
    choices = [
        Choice(
            "segmentor", "UperNet", f"{norm['type']} in the head, for a batch of {schedule.batch}"
        )
    ]
    if not setting.on_gpu:
        reason = "at most, on a CPU; a GPU gets as many as the backbone has"
        choices.append(Choice("heads", f"{CPU_CHANNELS} channels", reason))
    sections = [
        Section(
            f"The data, read from {data.source}. In the masks i is class i, and 255 counts for nothing.",
            dict(data_root=str(data.root), metainfo=data.metainfo()),
        ),
        Section(
            "The segmentor: the base's, on this backbone, for these classes.",
            dict(model=_model(setting, norm)),
        ),
        Section("What happens to an image.", _pipelines(size)),
        Section("Which images.", _loaders(setting)),
        *runtime_sections(schedule, setting.on_gpu, METRIC),
    ]
    return sections, choices


def _model(setting: Setting, norm: dict[str, Any]) -> dict[str, Any]:
    network, size = setting.network, setting.size
    classes, width = len(setting.data.classes), network.width
    channels = width if setting.on_gpu else min(width, CPU_CHANNELS)
    stride = size * 2 // 3
    # Pixels that count for nothing do not make the loss smaller.
    loss = dict(avg_non_ignore=True)
    return dict(
        data_preprocessor=dict(network.normalization(), size=(size, size)),
        backbone=network.backbone_config(size, setting.checkpoint),
        neck=[network.pyramid_config(norm)],
        decode_head=dict(
            in_channels=[width] * 4,
            channels=channels,
            num_classes=classes,
            norm_cfg=norm,
            loss_decode=loss,
        ),
        auxiliary_head=dict(
            in_channels=width,
            channels=channels,
            num_classes=classes,
            norm_cfg=norm,
            loss_decode=loss,
        ),
        test_cfg=dict(mode="slide", crop_size=(size, size), stride=(stride, stride)),
    )


def _pipelines(size: int) -> dict[str, Any]:
    load, annotate = dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")
    train = [
        load,
        annotate,
        dict(type="RandomResize", scale=(4 * size, size), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type="RandomCrop", crop_size=(size, size), cat_max_ratio=0.75),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackSegInputs"),
    ]
    test = [
        load,
        dict(type="Resize", scale=(4 * size, size), keep_ratio=True),
        annotate,
        dict(type="PackSegInputs"),
    ]
    return dict(train_pipeline=train, test_pipeline=test)


def _loaders(setting: Setting) -> dict[str, Any]:
    prefix = dict(img_path="", seg_map_path=str(setting.data.train_file.parent))
    evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
    return setting.loaders("mmrel.MaskListDataset", prefix, {}, evaluator)
