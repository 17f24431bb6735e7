"""An ordinary configuration as readable Python: bases, then what differs, each part under a comment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

REFERENCE = "mmrel-reference-to-"


def reference(name: str) -> str:
    """A value that stands for a variable of the file; in the text it is the variable's name."""
    return REFERENCE + name


@dataclass(frozen=True)
class Section:
    """Variables of the file under one comment.

    Attributes:
        comment: one line.
        values: by variable.
    """

    comment: str
    values: Mapping[str, Any]


def config_text(header: str, bases: Sequence[str], sections: Sequence[Section]) -> str:
    """The file's text.

    Args:
        header: its docstring.
        bases: of ``_base_``.
        sections: in their order; a later one may refer to variables of earlier ones.
    """
    quoted = header.replace("\\", "\\\\").replace('"""', "'''")
    parts = [f'"""{quoted}\n"""\n', "_base_ = [", *(f'    "{base}",' for base in bases), "]"]
    for section in sections:
        text = Config(dict(section.values)).pretty_text.strip()
        parts.append(f"\n# {section.comment}\n{text}")
    return re.sub(rf"'{REFERENCE}(\w+)'", r"\1", "\n".join(parts)) + "\n"


def runtime_sections(
    schedule: Any, on_gpu: bool, save_best: str, paramwise: Mapping[str, Any]
) -> list[Section]:
    """Optimisation, schedule and checkpoints, which both tasks share.

    Args:
        schedule: of :func:`mmrel.apis.finetuning.schedule.choose_schedule`.
        on_gpu: mixed precision is used on a GPU alone.
        save_best: metric that the best checkpoint is chosen by.
        paramwise: exemptions from weight decay.
    """
    wrapper = dict(
        _delete_=True,
        type="AmpOptimWrapper" if on_gpu else "OptimWrapper",
        optimizer=dict(
            type="AdamW", lr=schedule.rate, betas=(0.9, 0.999), weight_decay=0.05
        ),
        constructor="mmrel.LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(paramwise, layer_decay_rate=schedule.layer_decay),
        clip_grad=dict(max_norm=5.0),
    )
    warmup, iters = schedule.warmup, schedule.iters
    schedulers: list[dict[str, Any]] = [
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup)
    ]
    if iters > warmup:
        schedulers.append(
            dict(
                type="CosineAnnealingLR",
                eta_min=0.0,
                by_epoch=False,
                begin=warmup,
                end=iters,
                T_max=iters - warmup,
            )
        )
    loops = dict(
        train_cfg=dict(
            type="IterBasedTrainLoop", max_iters=iters, val_interval=schedule.val_interval
        ),
        val_cfg=dict(type="ValLoop"),
        test_cfg=dict(type="TestLoop"),
    )
    interval = max(1, min(50, iters // 20))
    hooks = dict(
        timer=dict(type="IterTimerHook"),
        logger=dict(type="LoggerHook", interval=interval, log_metric_by_epoch=False),
        param_scheduler=dict(type="ParamSchedulerHook"),
        checkpoint=dict(
            type="mmrel.AtomicCheckpointHook",
            by_epoch=False,
            interval=schedule.val_interval,
            max_keep_ckpts=1,
            save_best=save_best,
        ),
        sampler_seed=dict(type="DistSamplerSeedHook"),
        preemption=dict(type="mmrel.PreemptionHook"),
    )
    return [
        Section(
            "Optimisation: a smaller learning rate for lower blocks, none of the decay for vectors.",
            dict(optim_wrapper=wrapper, param_scheduler=schedulers, **loops),
        ),
        Section(
            "Checkpoints: the newest and the best. The seed fixes order and augmentation.",
            dict(
                default_hooks=hooks,
                log_processor=dict(type="LogProcessor", window_size=interval, by_epoch=False),
                randomness=dict(seed=0),
            ),
        ),
    ]
