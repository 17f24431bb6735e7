# What every classification recipe shares: scope, logging, checkpoints.
default_scope = "mmpretrain"
custom_imports = dict(imports=["mmrel"], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="mmrel.AtomicCheckpointHook", interval=10, max_keep_ckpts=1, save_best="auto"
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    class_names=dict(type="mmrel.ClassNamesHook"),
    preemption=dict(type="mmrel.PreemptionHook"),
    arithmetic=dict(type="mmrel.ArithmeticHook", float32_matmul="high"),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="UniversalVisualizer", vis_backends=vis_backends)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)
