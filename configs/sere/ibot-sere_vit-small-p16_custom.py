# SERE on iBOT, on your own folder of images, from 50 to millions. No labels are needed.
# Paper:    SERE: Exploring Feature Self-relation for Self-supervised Transformer, TPAMI 2023, arXiv 2206.05184.
# Command:  python tools/train.py configs/sere/ibot-sere_vit-small-p16_custom.py \
#               --cfg-options data_root=/my/photos
# Keys:     network=vit-tiny, vit-small or vit-base; crop_size; patch_size; precision; train_cfg.max_epochs;
#           train_dataloader.batch_size. The rest follows from them and from the number of images.
# Hardware: 1 GPU, 64 images per step (without a GPU it runs on the CPU, in float32 and slowly).
# Expected: depends on the images; watch loss, stat/teacher_entropy and stat/teacher_kl_uniform in the log.
_base_ = ["../ibot/ibot_vit-small-p16_custom.py"]

model = dict(
    _delete_=True,
    type="mmrel.SERE",
    base=_base_.model,
    alpha=0.2,
    beta=0.5,
    num_heads="auto",
    overlap_side="auto",
    local_overlap_side="auto",
)
optim_wrapper = dict(paramwise_cfg=dict(decay_rule="sere"))
