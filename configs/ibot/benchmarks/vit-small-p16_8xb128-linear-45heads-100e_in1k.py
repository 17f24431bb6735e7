# Linear probe of iBOT's ViT-S/16 on ImageNet-1k: 45 rates at once, class tokens of the last four blocks.
# Paper:    iBOT: Image BERT Pre-Training with Online Tokenizer, arXiv 2111.07832; rates and features of its code.
# Command:  bash tools/dist_train.sh configs/ibot/benchmarks/vit-small-p16_8xb128-linear-45heads-100e_in1k.py 8
#               --cfg-options model.backbone.init_cfg.checkpoint=backbone.pth
#           with the backbone that tools/export_backbone.py wrote; without the option: random weights.
# Hardware: 8 GPUs, 128 images each (batch 1024); another number: --auto-scale-lr.
# Expected: no number is quoted here; see the paper. Not yet measured by this project.
# The best of the 45 heads is chosen on the validation set, as in the paper, and the metric's name says so. iBOT's code
# also takes the best epoch; here the last one counts.
_base_ = ["../../dino/benchmarks/vit-small-p16_8xb128-linear-100e_in1k.py"]

# Per 256 images; the optimizer's rate is the factor for 1024.
rates = [digit * scale for scale in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) for digit in range(1, 10)]
model = dict(heads=[dict(lr_mult=rate) for rate in rates])
optim_wrapper = dict(
    optimizer=dict(lr=1024 / 256),
    paramwise_cfg=dict(
        custom_keys={f"heads.{i}.": dict(lr_mult=rate) for i, rate in enumerate(rates)}
    ),
)
val_evaluator = dict(_delete_=True, type="mmrel.MultiHeadAccuracy", topk=(1, 5))
test_evaluator = val_evaluator
