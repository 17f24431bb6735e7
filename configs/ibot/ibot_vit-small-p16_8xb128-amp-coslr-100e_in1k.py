# iBOT, ViT-S/16, 100 epochs on ImageNet-1k: the base of SERE's recipe.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832;
#           settings of the iBOT part of SERE's official recipe (crops 0.4/0.05, clipping 0.3).
# Command:  bash tools/dist_train.sh configs/ibot/ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: no published figure known; not yet measured by this project.
_base_ = [
    "../_base_/models/ibot_vit-small-p16.py",
    "../_base_/datasets/imagenet_multicrop.py",
    "../_base_/schedules/adamw_coslr.py",
    "../_base_/default_runtime.py",
]

masks = dict(type="mmrel.BlockMask", patch_size=16, ratios=(0.0, 0.3), spreads=(0.0, 0.2))
pipeline = [*_base_.train_pipeline[:3], masks, *_base_.train_pipeline[3:]]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
optim_wrapper = dict(clip_grad=dict(max_norm=0.3))
default_hooks = dict(knn=_base_.knn)
