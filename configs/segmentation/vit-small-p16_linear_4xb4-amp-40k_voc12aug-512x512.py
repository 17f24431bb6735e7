"""A linear layer on a frozen ViT-S/16, PASCAL VOC 2012 with the additional masks, 40k iterations.

Paper: none publishes this. It is iBOT's recipe for ADE20K (arXiv 2111.07832) carried over: rate 3e-5 for 16
images, the final norm on all four maps. Data, crop and test are mmseg's, and so is the number of iterations,
the longest of its schedules for these data.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: no published number; not yet measured by this project.
"""

_base_ = [
    "../_base_/plugin.py",
    "../_base_/models/seg_linear_vit-small-p16.py",
    "../_base_/datasets/seg_voc12aug.py",
    "../_base_/schedules/seg_linear-40k.py",
    "../_base_/seg_runtime.py",
]

pretrained = "checkpoints/vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(num_classes=21),
)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(enable=False, base_batch_size=16)
