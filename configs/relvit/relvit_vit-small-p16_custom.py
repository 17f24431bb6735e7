# RelViT, on your own folder of images, from 50 to millions. No labels are needed.
# Paper:    Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer, BMVC 2022,
#           arXiv 2206.00481. The paper has at most 8 x 8 patches of an image; here they are 14 x 14.
# Command:  python tools/train.py configs/relvit/relvit_vit-small-p16_custom.py \
#               --cfg-options data_root=/my/photos
# Keys:     network=vit-tiny, vit-small or vit-base; crop_size; patch_size; precision; train_cfg.max_epochs;
#           train_dataloader.batch_size. The rest follows from them and from the number of images.
# Hardware: 1 GPU, 64 images per step (without a GPU it runs on the CPU, in float32 and slowly).
# Expected: depends on the images; watch stat/acc_rel and stat/acc_abs_pos in the log.
_base_ = ["./relvit_vit-small-p32_1xb256-100e_in100.py", "../_base_/own_images.py"]

data_root = "data/images"
val_root = None  # nothing is measured while it trains
precision = "fp32"  # the paper's
recipe = dict(batch_size=256, lr=5e-4)  # the paper's numbers, from which those of the run follow
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(backbone=dict(arch="auto", img_size="auto", patch_size="auto"))
_base_.train_dataloader.dataset.pipeline[1].update(global_size="auto")
_base_.train_dataloader.dataset.pipeline[2].update(patch_size="auto")
_base_.train_dataloader.dataset.pipeline[3].update(patch_size="auto")
train_dataloader = dict(**_base_.pop("own_loader"), dataset=dict(data_root=data_root))
val_dataloader = None
val_evaluator = None
val_cfg = None
optim_wrapper = dict(optimizer=dict(lr="auto"), precision="auto")
default_hooks = dict(_base_.pop("own_hooks"), checkpoint=dict(interval="auto", save_best=None))
_base_.default_hooks.pop("knn")
_base_.pop("own_teacher_hooks")
randomness = dict(_delete_=True, seed=0)
auto_scale_lr = dict(base_batch_size=64)
