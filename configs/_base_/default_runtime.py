# What every student-teacher pretraining shares.
_base_ = ["./runtime.py"]

# Entries of default_hooks have names, so that a recipe or --cfg-options can change one of them:
# default_hooks.checkpoint.interval=5, default_hooks.teacher_update.momentum=0.9995, default_hooks.knn.interval=20.
# default_hooks.knn=None switches the k-NN hook off, for images without labels.
default_hooks = dict(
    teacher_update=dict(type="mmrel.TeacherUpdateHook", momentum=0.996, end_momentum=1.0),
    last_layer_freeze=dict(type="mmrel.LastLayerFreezeHook", epochs=1),
)
