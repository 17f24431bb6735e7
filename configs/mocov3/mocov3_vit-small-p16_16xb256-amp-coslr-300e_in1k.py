# MoCo v3, ViT-S/16, 300 epochs on ImageNet-1k.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057;
#           settings of the released model (CONFIG.md of the official code).
# Command:  on each of two nodes, with NNODES, NODE_RANK and MASTER_ADDR set: bash tools/dist_train.sh
#           configs/mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py 8
# Hardware: 16 GPUs, 256 images each (batch 4096); 32 in the official code.
# Expected: 73.2 linear, 81.4 fine-tuned top-1 (README of the official code); not yet measured by this project.
_base_ = [
    "../_base_/models/mocov3_vit-small-p16.py",
    "../_base_/datasets/imagenet_multicrop.py",
    "../_base_/schedules/adamw_coslr.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=256)
_base_.train_dataloader.dataset.pipeline[1].update(
    global_scale=(0.08, 1.0), num_local=0, interpolation="bilinear"
)
optim_wrapper = dict(
    optimizer=dict(lr=2.4e-3, weight_decay=0.1),
    paramwise_cfg=dict(decay_rule="all"),
    clip_grad=None,
)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=0.0, warmup=40)
]  # the weight decay is constant
train_cfg = dict(max_epochs=300)
default_hooks = dict(
    knn=_base_.knn,
    teacher_update=dict(momentum=0.99),
    last_layer_freeze=dict(epochs=0),  # there are no prototypes
)
auto_scale_lr = dict(base_batch_size=4096)
