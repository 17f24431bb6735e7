# iBOT, on your own folder of images, from 50 to millions. No labels are needed.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022, arXiv 2111.07832.
# Command:  python tools/train.py configs/ibot/ibot_vit-small-p16_custom.py \
#               --cfg-options data_root=/my/photos
# Keys:     network=vit-tiny, vit-small or vit-base; crop_size; patch_size; precision; train_cfg.max_epochs;
#           train_dataloader.batch_size. The rest follows from them and from the number of images.
# Hardware: 1 GPU, 64 images per step (without a GPU it runs on the CPU, in float32 and slowly).
# Expected: depends on the images; watch loss, stat/teacher_entropy and stat/teacher_kl_uniform in the log.
_base_ = ["./ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k.py", "../_base_/own_images.py"]

data_root = "data/images"
val_root = None  # nothing is measured while it trains
recipe = dict(  # the paper's numbers, from which those of the run follow
    batch_size=1024,
    lr=2e-3,
    momentum=0.996,
    warmup_epochs=10,
    temperature_epochs=30,
    frozen_epochs=1,
    prototypes=8192,
)
model = dict(
    backbone=dict(arch="auto", img_size="auto", patch_size="auto"),
    neck=dict(in_channels="auto", out_channels="auto"),
    head=dict(out_channels="auto", teacher_temperature=dict(warmup_epochs="auto")),
    patch_head=dict(out_channels="auto", teacher_temperature=dict(warmup_epochs="auto")),
)
_base_.train_dataloader.dataset.pipeline[1].update(global_size="auto", local_size="auto")
_base_.train_dataloader.dataset.pipeline[3].update(patch_size="auto")
_base_.train_dataloader.dataset.pipeline[4].update(patch_size="auto")
train_dataloader = dict(**_base_.pop("own_loader"), dataset=dict(data_root=data_root))
optim_wrapper = dict(optimizer=dict(lr="auto"), precision="auto")
_base_.param_scheduler[0].warmup = "auto"
default_hooks = _base_.pop("own_teacher_hooks")
_base_.default_hooks.pop("knn")
_base_.pop("own_hooks")
auto_scale_lr = dict(base_batch_size=64)
