# DINO, ViT-S/16, 100 epochs on ImageNet-1k: the "vanilla" recipe.
# Paper:    Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294.
# Command:  bash tools/dist_train.sh configs/dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k.py 8
# Hardware: 8 GPUs, 64 images each (batch 512); 1.75 days on 8 V100 (README of the official code).
# Expected: 69.3 k-NN, 74.0 linear top-1 (README of the official code); not yet measured by this project.
_base_ = [
    "../_base_/models/dino_vit-small-p16.py",
    "../_base_/datasets/imagenet_multicrop.py",
    "../_base_/schedules/adamw_coslr.py",
    "../_base_/default_runtime.py",
]

_base_.train_dataloader.dataset.pipeline[1].num_local = 8
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(knn=_base_.knn)
auto_scale_lr = dict(base_batch_size=512)
