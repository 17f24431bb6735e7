# Fine-tuning of RelViT's T2T-ViT-14 on ImageNet-100.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481; settings of the public code's README.
# Command:  python tools/train.py configs/relvit/benchmarks/t2t-vit-14_1xb64-100e_in100.py
#               --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
#           with the last one of relvit_t2t-vit-14_1xb64-100e_in100; without it: random weights
# Hardware: 1 GPU, 64 images.
# Expected: the tables of the paper; not yet measured by this project.
_base_ = ["./vit-small-p32_1xb256-100e_in100.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmrel.T2TViT",
        init_cfg=dict(type="Pretrained", checkpoint=_base_.pretrained, prefix="backbone."),
    ),
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
