# What every run shares, with or without a teacher: scope, logging, checkpoints, exact resume.
default_scope = "mmpretrain"
custom_imports = dict(imports=["mmrel"], allow_failed_imports=False)

# Entries of default_hooks have names, so that a recipe or --cfg-options can change one of them:
# default_hooks.checkpoint.interval=5.
default_hooks = dict(
    runtime_info=dict(type="mmrel.DeferredRuntimeInfoHook"),
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="mmrel.AtomicCheckpointHook", interval=10, max_keep_ckpts=3, save_last=True
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    step_seed=dict(type="mmrel.StepSeedHook"),
    bad_samples=dict(type="mmrel.BadSampleHook"),
    preemption=dict(type="mmrel.PreemptionHook"),
    arithmetic=dict(type="mmrel.ArithmeticHook", float32_matmul="high"),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
model_wrapper_cfg = dict(
    type="MMDistributedDataParallel", broadcast_buffers=False, gradient_as_bucket_view=True
)
# compile: on a GPU a run is compiled where torch can, and the log says so or why not; not on a CPU. compile=False,
# compile=True and compile=dict(scope=..., mode=...), also in --cfg-options, say otherwise: docs/performance.md.
# TensorBoard: --cfg-options visualizer.vis_backends.0.type=TensorboardVisBackend
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="Visualizer", vis_backends=vis_backends)
log_processor = dict(window_size=10)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)
