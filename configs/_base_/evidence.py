# What the arms of the evidence share (docs/evidence.md): the scenes, two global crops of 48 pixels and no local ones,
# 64 images a step, AdamW, and a teacher that follows fast (0.95), since there are only some hundreds of steps.
_base_ = [
    "./models/vit_scenes.py",
    "./datasets/scenes_folders.py",
    "./schedules/adamw_coslr.py",
    "./default_runtime.py",
]

embed_dims = 128
prototypes = 512

data_preprocessor = dict(
    type="mmrel.ViewPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)
projection = dict(
    type="mmrel.PrototypeProjection",
    in_channels=embed_dims,
    out_channels=prototypes,
    hidden_channels=256,
    bottleneck_channels=64,
)
distillation = dict(
    type="mmrel.DistillationHead",
    out_channels=prototypes,
    student_temperature=0.1,
    teacher_temperature=0.06,
)

# Crops of 48 pixels from images of 96: these ranges of area keep the scale of the patterns, about one to one, at which
# the judges see them.
decode = dict(type="mmrel.DecodeImage")
crops = dict(
    type="mmrel.MultiCrop", global_size=48, global_scale=(0.2, 0.6), num_local=0, mode="fast"
)
colors = dict(
    type="mmrel.DrawColorAugmentation",
    jitter=(0.4, 0.4, 0.2, 0.05),
    grayscale_prob=0.0,
    blur_prob=0.0,
    solarize_prob=0.0,
)
pack = dict(type="mmrel.PackViews", patch_size=8)
train_dataloader = dict(dataset=dict(pipeline=[decode, crops, colors, pack]))

# Four times this rate gives faster progress in k-NN and patch tokens worse than random ones.
optim_wrapper = dict(optimizer=dict(lr=5e-4, fused=True), precision="bf16")
_base_.param_scheduler[0].warmup = 1
train_cfg = dict(max_epochs=3)
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(
    runtime_info=dict(interval=25),
    logger=dict(interval=25),
    checkpoint=dict(interval=1, max_keep_ckpts=-1),
    teacher_update=dict(momentum=0.95),
    knn=_base_.knn,
)
