# Linear probe of SelfPatch's ViT-S/16 on ImageNet-1k: iBOT's 45 rates at once, the mean patch token.
# Paper:    none for SelfPatch (arXiv 2206.07990), which judges dense tasks; iBOT's sweep.
# Command:  bash tools/dist_train.sh configs/selfpatch/benchmarks/vit-small-p16_8xb128-linear-45heads-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no published number; not yet measured by this project.
# There is no class token, and no final norm either: MAE's batch norm brings the channels to one scale.
_base_ = ["../../ibot/benchmarks/vit-small-p16_8xb128-linear-45heads-100e_in1k.py"]

model = dict(
    backbone=dict(with_cls_token=False, final_norm=False),
    n_last_blocks=1,
    avgpool=1,
    batch_norm=True,
)
