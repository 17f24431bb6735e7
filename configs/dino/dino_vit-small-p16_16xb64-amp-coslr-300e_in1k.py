# DINO, ViT-S/16, 300 epochs on ImageNet-1k: the "boosted" recipe.
# Paper:    Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294.
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/dino/dino_vit-small-p16_16xb64-amp-coslr-300e_in1k.py 8
# Hardware: 16 GPUs, 64 images each (batch 1024).
# Expected: 73.3 k-NN, 76.0 linear top-1 (README of the official code); not yet measured by this project.
_base_ = ["./dino_vit-small-p16_8xb64-amp-coslr-100e_in1k.py"]

model = dict(
    neck=dict(norm_last_layer=False),
    head=dict(
        teacher_temperature=dict(_delete_=True, start=0.04, end=0.07, warmup_epochs=30),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=1024)
