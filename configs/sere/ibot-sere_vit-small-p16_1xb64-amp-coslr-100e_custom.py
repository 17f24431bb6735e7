# SERE on iBOT, ViT-S/16, on your own folder of images and one GPU. No labels are needed.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
# Command:  python tools/train.py configs/sere/ibot-sere_vit-small-p16_1xb64-amp-coslr-100e_custom.py \
#               --cfg-options data_root=/my/photos
# Hardware: 1 GPU, 64 images (without a GPU it runs on the CPU, slowly).
# Expected: depends on the images; watch loss, stat/teacher_entropy and stat/teacher_kl_uniform in the log.
# The slower teacher (0.9995) is DINO's advice for small batches (README of the official DINO code).
_base_ = ["./ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py"]

data_root = "data/images"
train_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root))
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
default_hooks = dict(
    teacher_update=dict(momentum=0.9995),
    checkpoint=dict(interval=5),
)
_base_.default_hooks.pop("knn")  # no labels, no k-NN
auto_scale_lr = dict(base_batch_size=64)
