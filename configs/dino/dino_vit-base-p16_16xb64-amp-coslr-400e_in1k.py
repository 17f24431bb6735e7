# DINO, ViT-B/16, 400 epochs on ImageNet-1k: after the released model (its README links the arguments; fp32 there, so
# set optim_wrapper.precision=fp32 to follow it in this too).
# Paper:    Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294.
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/dino/dino_vit-base-p16_16xb64-amp-coslr-400e_in1k.py 8
# Hardware: 16 GPUs, 64 images each (batch 1024).
# Expected: 76.1 k-NN, 78.2 linear top-1 (README of the official code); not yet measured by this project.
_base_ = ["./dino_vit-small-p16_8xb64-amp-coslr-100e_in1k.py"]

model = dict(
    backbone=dict(arch="deit-base"),
    neck=dict(in_channels=768, norm_last_layer=True),
    head=dict(
        teacher_temperature=dict(_delete_=True, start=0.04, end=0.07, warmup_epochs=50),
    ),
)
_base_.train_dataloader.dataset.pipeline[1].update(
    global_scale=(0.25, 1.0), local_scale=(0.05, 0.25), num_local=10
)
optim_wrapper = dict(optimizer=dict(lr=3e-3), clip_grad=dict(max_norm=0.3))
_base_.param_scheduler[0].end = 2e-6
train_cfg = dict(max_epochs=400)
default_hooks = dict(last_layer_freeze=dict(epochs=3))
auto_scale_lr = dict(base_batch_size=1024)
