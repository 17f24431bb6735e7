"""UperNet, ViT-S/16, ADE20K, 160k iterations: iBOT's recipe, which SERE points to for dense tasks.

Paper: iBOT (arXiv 2111.07832), command of its README: rate 3e-5 for 16 images, layer decay 0.9, the
final norm on all four maps. Different: pos_embed and cls_token are not weight-decayed.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: iBOT ViT-S/16 45.4 mIoU, published by its paper; not yet measured by this project.
"""

_base_ = [
    "../_base_/plugin.py",
    "../_base_/models/seg_upernet_vit-small-p16.py",
    "../_base_/datasets/seg_ade20k.py",
    "../_base_/schedules/seg_adamw-160k.py",
    "../_base_/seg_runtime.py",
]

pretrained = "checkpoints/vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(enable=False, base_batch_size=16)
