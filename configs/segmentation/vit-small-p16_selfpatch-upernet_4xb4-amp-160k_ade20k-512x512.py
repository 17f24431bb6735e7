"""UperNet, ViT-S/16 without class token, ADE20K, 160k iterations: for SelfPatch's backbones.

Paper: SelfPatch (CVPR 2022, arXiv 2206.07990), which released no UperNet config and says that it
follows XCiT (arXiv 2106.09681): rate 6e-5 for 16 images, weight decay 0.01, 512 head channels,
whole-image test. The blocks (3, 6, 9, 12) and the stochastic depth (0.1) are those of SelfPatch's
Semantic FPN.
Command: tools/dist_train.sh CONFIG 4
    --cfg-options model.backbone.init_cfg.checkpoint=BACKBONE.pth
Multi-scale test: tools/test.py CONFIG CHECKPOINT --tta
Hardware: 4 GPUs, 4 images each. Automatic mixed precision.
Expected: 43.2 mIoU with SelfPatch's backbone, 42.3 with DINO's, published by SelfPatch; not yet
measured by this project.
"""

_base_ = [
    "../_base_/plugin.py",
    "../_base_/models/seg_upernet_vit-small-p16.py",
    "../_base_/datasets/seg_ade20k.py",
    "../_base_/schedules/seg_selfpatch-160k.py",
    "../_base_/seg_runtime.py",
]

pretrained = "checkpoints/selfpatch_vit-small-p16_backbone.pth"

model = dict(
    backbone=dict(
        out_indices=[2, 5, 8, 11],
        out_norm="none",
        with_cls_token=False,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained, prefix="backbone."),
    ),
    decode_head=dict(channels=512),
    test_cfg=dict(_delete_=True, mode="whole"),
)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(enable=False, base_batch_size=16)
