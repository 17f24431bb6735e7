# DINOv2's linear probe on ImageNet-1k: 52 heads, 13 rates on each of four features, in one short run.
# Paper:    DINOv2: Learning Robust Visual Features without Supervision, arXiv 2304.07193; rates and features of its
#           code.
# Command:  bash tools/dist_train.sh configs/dino/benchmarks/vit-small-p16_8xb128-linear-dinov2-12500it_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no number for this ViT-S/16; not yet measured by this project.
# For the backbone of any method here whose ViT-S/16 has a class token and 6 heads; ViT-B/16:
# model.backbone.arch=deit-base. The best head is chosen on the validation set.
_base_ = ["./vit-small-p16_8xb128-linear-100e_in1k.py"]

# Per 256 images; the optimizer's rate is the factor for 1024.
rates = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1]
heads = [
    dict(n_last_blocks=blocks, avgpool=avgpool, lr_mult=rate)
    for blocks in (1, 4)
    for avgpool in (0, 2)
    for rate in rates
]
model = dict(heads=heads)
optim_wrapper = dict(
    optimizer=dict(lr=1024 / 256),
    paramwise_cfg=dict(
        custom_keys={f"heads.{i}.": dict(lr_mult=head["lr_mult"]) for i, head in enumerate(heads)}
    ),
)
_base_.train_dataloader.dataset.pipeline[1].interpolation = "bicubic"
train_dataloader = dict(sampler=dict(type="InfiniteSampler"))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=12500, by_epoch=False, begin=0, end=12500)]
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=12500, val_interval=1250)
val_evaluator = dict(_delete_=True, type="mmrel.MultiHeadAccuracy", topk=(1, 5))
test_evaluator = val_evaluator
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=1250)
)
log_processor = dict(by_epoch=False)
