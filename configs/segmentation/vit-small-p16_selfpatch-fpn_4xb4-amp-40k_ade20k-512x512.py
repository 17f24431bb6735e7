"""Semantic FPN, ViT-S/16 without class token, ADE20K, 40k iterations: SelfPatch's recipe.

Paper: SelfPatch (CVPR 2022, arXiv 2206.07990): rate 6e-5 for 16 images, weight decay 0.01, maps of
blocks 3, 6, 9 and 12 without a norm, stochastic depth 0.1, whole-image test, positions resized to
32 x 32 (by size) when the weights are loaded.
Different: a pyramid brings the maps to the strides 4, 8, 16, 32 that the head is made for. The
released code feeds four maps of stride 16: vit-small-p16_selfpatch-fpn-flat_... is that form.
The official run also weight-decays the norms of the backbone, which its rule does not name; here none is.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: 41.2 mIoU with SelfPatch's backbone, 38.3 with DINO's, published by SelfPatch for the flat
form; not yet measured by this project.
"""

_base_ = [
    "../_base_/plugin.py",
    "../_base_/models/seg_fpn_vit-small-p16.py",
    "../_base_/datasets/seg_ade20k.py",
    "../_base_/schedules/seg_selfpatch-40k.py",
    "../_base_/seg_runtime.py",
]

pretrained = "checkpoints/selfpatch_vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    )
)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(enable=False, base_batch_size=16)
