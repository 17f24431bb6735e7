# RelViT's optimisation: AdamW with one group, everything decayed; the norm of all gradients together limited to 1;
# the learning rate does not depend on the batch size. A gradient that is not finite ends the run before the step.
# precision: fp32, or bf16 or fp16 (autocast); see mmrel.SelfSupOptimWrapper.
optim_wrapper = dict(
    type="mmrel.SelfSupOptimWrapper",
    constructor="mmrel.SelfSupOptimWrapperConstructor",
    paramwise_cfg=dict(decay_rule="all", with_frozen=True),
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1),
    clip_grad=dict(max_norm=1.0, scope="global"),
    precision="fp32",
)
param_scheduler = [dict(type="mmrel.QuarterCosineSchedule", convert_to_iter_based=True)]
train_cfg = dict(type="mmrel.ResumableEpochLoop", max_epochs=100)
auto_scale_lr = dict(base_batch_size=256)
