# MoCo v3, on your own folder of images, from 50 to millions. No labels are needed.
# Paper:    An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057.
#           It contrasts the images of a batch: take as large a batch as memory allows.
# Command:  python tools/train.py configs/mocov3/mocov3_vit-small-p16_custom.py \
#               --cfg-options data_root=/my/photos
# Keys:     network=vit-tiny, vit-small or vit-base; crop_size; patch_size; precision; train_cfg.max_epochs;
#           train_dataloader.batch_size. The rest follows from them and from the number of images.
# Hardware: 1 GPU, 64 images per step (without a GPU it runs on the CPU, in float32 and slowly).
# Expected: depends on the images; watch loss and stat/feature_std in the log.
_base_ = ["./mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py", "../_base_/own_images.py"]

data_root = "data/images"
val_root = None  # nothing is measured while it trains
recipe = dict(  # the paper's numbers, from which those of the run follow
    batch_size=4096, lr=2.4e-3, momentum=0.99, warmup_epochs=40, frozen_epochs=0
)
model = dict(
    backbone=dict(arch="auto", img_size="auto", patch_size="auto"), neck=dict(in_channels="auto")
)
_base_.train_dataloader.dataset.pipeline[1].update(global_size="auto")
_base_.train_dataloader.dataset.pipeline[3].update(patch_size="auto")
train_dataloader = dict(**_base_.pop("own_loader"), dataset=dict(data_root=data_root))
optim_wrapper = dict(optimizer=dict(lr="auto"), precision="auto")
_base_.param_scheduler[0].warmup = "auto"
train_cfg = dict(max_epochs=100)
default_hooks = _base_.pop("own_teacher_hooks")
_base_.default_hooks.pop("knn")
_base_.pop("own_hooks")
auto_scale_lr = dict(base_batch_size=64)
