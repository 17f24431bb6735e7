"""What every detection recipe shares: mmdet's runtime, and mmrel's parts made known to it."""

_base_ = "mmdet::_base_/default_runtime.py"

custom_imports = dict(imports=["mmrel"], allow_failed_imports=False)

default_hooks = dict(
    checkpoint=dict(type="mmrel.AtomicCheckpointHook"),
    preemption=dict(type="mmrel.PreemptionHook"),
)
