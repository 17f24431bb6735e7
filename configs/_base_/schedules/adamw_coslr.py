# DINO's, iBOT's and SERE's optimisation: AdamW, per-iteration cosine schedules of the learning rate, the weight
# decay and the teacher momentum, clipping per parameter tensor. A recipe sets the numbers of its own.
optim_wrapper = dict(
    type="mmrel.SelfSupOptimWrapper",
    constructor="mmrel.SelfSupOptimWrapperConstructor",
    optimizer=dict(
        type="AdamW", lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.04, fused=True
    ),
    paramwise_cfg=dict(decay_rule="dino"),
    clip_grad=dict(max_norm=3.0),
    precision="fp16",
)
param_scheduler = [
    dict(
        type="mmrel.CosineSchedule",
        param_name="lr",
        end=1e-6,
        warmup=10,
        convert_to_iter_based=True,
    ),
    dict(
        type="mmrel.CosineSchedule", param_name="weight_decay", end=0.4, convert_to_iter_based=True
    ),
]
train_cfg = dict(type="mmrel.ResumableEpochLoop", max_epochs=100)
auto_scale_lr = dict(base_batch_size=1024)
