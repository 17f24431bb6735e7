# SiT, on your own folder of images, from 50 to millions. No labels are needed.
# Paper:    SiT: Self-supervised vIsion Transformer, arXiv 2104.03602, version 3. The weight of the reconstruction
#           is the paper's for small sets, 5, up to 200,000 images, and 1 for more.
# Command:  python tools/train.py configs/sit/sit_vit-small-p16_custom.py \
#               --cfg-options data_root=/my/photos
# Keys:     network=vit-tiny, vit-small or vit-base; crop_size; patch_size; precision; train_cfg.max_epochs;
#           train_dataloader.batch_size. The rest follows from them and from the number of images.
# Hardware: 1 GPU, 64 images per step (without a GPU it runs on the CPU, in float32 and slowly).
# Expected: depends on the images; watch loss and stat/feature_std in the log.
_base_ = ["./sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py", "../_base_/own_images.py"]

data_root = "data/images"
val_root = None  # nothing is measured while it trains
recipe = dict(  # the paper's numbers, from which those of the run follow
    batch_size=256, lr=5e-4, momentum=0.996, warmup_epochs=10, frozen_epochs=0
)
model = dict(
    backbone=dict(arch="auto", img_size="auto", patch_size="auto"),
    neck=dict(in_channels="auto"),
    decoder=dict(in_channels="auto", patch_size="auto"),
    alpha="auto",
)
_base_.train_dataloader.dataset.pipeline[1].update(global_size="auto")
_base_.train_dataloader.dataset.pipeline[4].update(patch_size="auto")
train_dataloader = dict(**_base_.pop("own_loader"), dataset=dict(data_root=data_root))
optim_wrapper = dict(optimizer=dict(lr="auto"), precision="auto")
_base_.param_scheduler[0].warmup = "auto"
train_cfg = dict(max_epochs=100)
default_hooks = _base_.pop("own_teacher_hooks")
_base_.default_hooks.pop("knn")
_base_.pop("own_hooks")
auto_scale_lr = dict(base_batch_size=64)
