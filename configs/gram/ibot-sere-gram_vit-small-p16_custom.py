# SERE on iBOT with Gram anchoring, going on from released weights on your own folder of images. No labels are needed.
# Paper:    DINOv3, arXiv 2508.10104 (the anchoring: its section 4); SERE, TPAMI 2023, arXiv 2206.05184.
# Command:  python tools/train.py configs/gram/ibot-sere-gram_vit-small-p16_custom.py \
#               --cfg-options data_root=/my/photos load_from=weights.pth
# Keys:     those of configs/sere/ibot-sere_vit-small-p16_custom.py; network must be that of the weights.
# Hardware: 1 GPU, 64 images per step (without a GPU it runs on the CPU, in float32 and slowly).
# Expected: depends on the images; loss_gram says how far the patches' similarities are from those it began with.
_base_ = ["../sere/ibot-sere_vit-small-p16_custom.py", "../_base_/going_on.py"]

recipe = _base_.going_on_recipe
_base_.model.base.backbone.update(_base_.going_on_backbone)
model = dict(_delete_=True, type="mmrel.GramAnchoring", base=_base_.model, weight=2.0)
optim_wrapper = dict(paramwise_cfg=_base_.going_on_optimizer)
default_hooks = dict(_base_.going_on_hooks, early_teacher=dict(type="mmrel.EarlyTeacherHook"))
