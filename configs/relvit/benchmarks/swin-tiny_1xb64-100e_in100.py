# Fine-tuning of RelViT's Swin-T on ImageNet-100.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/benchmarks/swin-tiny_1xb64-100e_in100.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_swin-tiny_1xb64-100e_in100; without it: random weights
# Hardware: 1 GPU, 64 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./vit-small-p32_1xb256-100e_in100.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmrel.Swin",
        init_cfg=dict(type="Pretrained", checkpoint=_base_.pretrained, prefix="backbone."),
    ),
    neck=dict(feature="avg"),
    head=dict(
        in_channels=768,
        init_cfg=dict(_delete_=True, type="TruncNormal", layer="Linear", std=0.02, bias=0.0),
    ),
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
