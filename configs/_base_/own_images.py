# What the recipes for a folder of your own share (configs/*/*_custom.py). Change these keys alone, for instance with
# --cfg-options network=vit-tiny crop_size=96: every "auto" follows from them, or from the number of images, the batch
# and the epochs (mmrel.engine.run_length has the rules). The log and the configuration in the work dir show numbers.
network = "vit-small"  # vit-tiny, vit-small or vit-base
crop_size = 224  # side of the global crops in pixels; that of local crops follows
patch_size = 16
precision = "fp16"  # fp32, fp16 or bf16; a CPU trains in float32

own_loader = dict(batch_size=64, num_workers="auto", drop_last="auto")
own_hooks = dict(logger=dict(interval="auto"), checkpoint=dict(interval="auto"))
own_teacher_hooks = dict(
    **own_hooks,
    teacher_update=dict(momentum="auto"),
    last_layer_freeze=dict(epochs="auto"),
)
