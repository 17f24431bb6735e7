"""UperNet on a user's own masks."""

from pathlib import Path
from typing import Any

from mmrel.apis.finetuning.choices import Choice
from mmrel.apis.finetuning.config_text import Expression, Section, runtime_sections
from mmrel.apis.finetuning.data import PreparedData
from mmrel.apis.finetuning.network import Network
from mmrel.apis.finetuning.schedule import Schedule

BASES = (
    "mmrel::_base_/models/seg_upernet_vit-small-p16.py",
    "mmrel::_base_/schedules/weight_decay.py",
    "mmrel::_base_/seg_runtime.py",
)
METRIC = "mIoU"


def segmentation_sections(
    data: PreparedData,
    network: Network,
    schedule: Schedule,
    size: int,
    on_gpu: bool,
    checkpoint: str | None,
) -> tuple[list[Section], list[Choice]]:
    """What the configuration says beside its bases, and the choices that are made here.

    Args:
        data: converted data.
        network: the backbone.
        schedule: batch and length.
        size: side of the crops in pixels.
        on_gpu: whether there is a GPU.
        checkpoint: the backbone's weights; ``None`` starts from random ones.
    """
    norm = schedule.norm(network.width)
    choice = Choice(
        "segmentor", "UperNet", f"{norm['type']} in the head, for a batch of {schedule.batch}"
    )
    sections = [
        Section(
            f"The data, read from {data.source}. In the masks i is class i, and 255 counts for nothing.",
            dict(data_root=str(data.root), metainfo=data.metainfo()),
        ),
        Section(
            "The segmentor: the base's, on this backbone, for these classes.",
            dict(model=_model(data, network, size, checkpoint, norm)),
        ),
        Section("What happens to an image.", _pipelines(size)),
        Section("Which images.", _loaders(data, schedule)),
        *runtime_sections(schedule, on_gpu, METRIC),
    ]
    return sections, [choice]


def _model(
    data: PreparedData, network: Network, size: int, checkpoint: str | None, norm: dict[str, Any]
) -> dict[str, Any]:
    classes, width = len(data.classes), network.width
    stride = size * 2 // 3
    # Pixels that count for nothing do not make the loss smaller.
    loss = dict(avg_non_ignore=True)
    return dict(
        data_preprocessor=dict(network.normalization(), size=(size, size)),
        backbone=network.backbone_config(size, checkpoint),
        neck=[network.pyramid_config(norm)],
        decode_head=dict(
            in_channels=[width] * 4,
            channels=width,
            num_classes=classes,
            norm_cfg=norm,
            loss_decode=loss,
        ),
        auxiliary_head=dict(
            in_channels=width,
            channels=width,
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


def _loaders(data: PreparedData, schedule: Schedule) -> dict[str, Any]:
    workers = data.workers
    common = dict(num_workers=workers, persistent_workers=workers > 0)

    def dataset(ann_file: Path, pipeline: str, **more: Any) -> dict[str, Any]:
        return dict(
            type="mmrel.MaskListDataset",
            data_root=Expression("data_root"),
            ann_file=str(ann_file),
            data_prefix=dict(img_path="", seg_map_path=str(ann_file.parent)),
            metainfo=Expression("metainfo"),
            pipeline=Expression(pipeline),
            **more,
        )

    train = dict(
        batch_size=schedule.batch,
        **common,
        sampler=dict(type="InfiniteSampler", shuffle=True),
        dataset=dataset(data.train_file, "train_pipeline"),
    )
    val = dict(
        batch_size=1,
        **common,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dataset(data.val_file, "test_pipeline", test_mode=True),
    )
    evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
    return dict(
        train_dataloader=train,
        val_dataloader=val,
        test_dataloader=Expression("val_dataloader"),
        val_evaluator=evaluator,
        test_evaluator=Expression("val_evaluator"),
    )
