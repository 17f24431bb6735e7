# SelfPatch, ViT-S/16, 200 epochs on ImageNet-1k: the settings of the official command; the epochs are those of its
# first published form.
# Paper:    Patch-level Representation Learning for Self-supervised Vision Transformers, CVPR 2022, arXiv 2206.07990.
# Command:  bash tools/dist_train.sh configs/selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k.py 8
# Hardware: 8 GPUs, 128 images each (batch 1024).
# Expected: COCO Mask R-CNN 1x 42.1 box / 38.5 mask AP, ADE20K UperNet 43.2 mIoU (README of the official code);
#           not yet measured by this project.
_base_ = [
    "../_base_/models/selfpatch_vit-small-p16.py",
    "../_base_/datasets/imagenet_multicrop.py",
    "../_base_/schedules/adamw_coslr.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=128)
_base_.train_dataloader.dataset.pipeline[1].update(
    global_scale=(0.25, 1.0), local_scale=(0.05, 0.25), num_local=8
)
train_cfg = dict(max_epochs=200)
default_hooks = dict(knn=_base_.knn)
