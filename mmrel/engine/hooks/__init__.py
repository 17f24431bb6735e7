"""Training hooks."""

from mmrel.engine.hooks.arithmetic import ArithmeticHook
from mmrel.engine.hooks.atomic_checkpoint import AtomicCheckpointHook
from mmrel.engine.hooks.backbone_freeze import FreezeBackboneHook
from mmrel.engine.hooks.bad_samples import BadSampleHook
from mmrel.engine.hooks.channels_last import ChannelsLastHook
from mmrel.engine.hooks.class_names import ClassNamesHook
from mmrel.engine.hooks.deferred_info import DeferredRuntimeInfoHook
from mmrel.engine.hooks.early_teacher import EarlyTeacherHook
from mmrel.engine.hooks.knn import KNNHook
from mmrel.engine.hooks.last_layer_freeze import LastLayerFreezeHook
from mmrel.engine.hooks.preemption import PreemptionHook
from mmrel.engine.hooks.step_seed import StepSeedHook
from mmrel.engine.hooks.teacher_update import TeacherUpdateHook

__all__ = [
    "ArithmeticHook",
    "AtomicCheckpointHook",
    "BadSampleHook",
    "ChannelsLastHook",
    "ClassNamesHook",
    "DeferredRuntimeInfoHook",
    "EarlyTeacherHook",
    "FreezeBackboneHook",
    "KNNHook",
    "LastLayerFreezeHook",
    "PreemptionHook",
    "StepSeedHook",
    "TeacherUpdateHook",
]
