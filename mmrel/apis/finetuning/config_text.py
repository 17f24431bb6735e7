"""An ordinary configuration as readable Python: bases, then what differs, each part under a comment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmrel.apis.finetuning.schedule import Schedule

LINE = 96


@dataclass(frozen=True)
class Expression:
    """Python that stands in the file as it is: the name of a variable, or ``_base_.exempt``."""

    text: str


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
    parts = [f'"""{quoted}\n"""\n', f"_base_ = {format_value(list(bases))}"]
    for section in sections:
        comment = " ".join(section.comment.split())
        lines = [f"{name} = {format_value(value)}" for name, value in section.values.items()]
        parts.append("\n".join([f"\n# {comment}", *lines]))
    return "\n".join(parts) + "\n"


def format_value(value: Any, indent: int = 0, used: int = 24) -> str:
    """A value as Python, on one line where it fits, else an item per line.

    Args:
        value: dicts, sequences, plain values and expressions.
        indent: spaces before the line that it stands in.
        used: characters that stand before it there.
    """
    flat = _flat(value)
    items = _items(value)
    if not items or indent + used + len(flat) <= LINE:
        return flat
    opening, closing = _brackets(value)
    inner = indent + 4
    lines = [f"{' ' * inner}{k}{format_value(v, inner, len(k))}," for k, v in items]
    return "\n".join([opening, *lines, " " * indent + closing])


def _items(value: Any) -> list[tuple[str, Any]]:
    """What stands before each part of a container, and the part."""
    if isinstance(value, Mapping):
        named = _is_named(value)
        return [(f"{k}=" if named else f"{k!r}: ", v) for k, v in value.items()]
    return [("", v) for v in value] if isinstance(value, list | tuple) else []


def _is_named(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return ("dict(", ")") if _is_named(value) else ("{", "}")
    return ("(", ")") if isinstance(value, tuple) else ("[", "]")


def _flat(value: Any) -> str:
    if isinstance(value, Expression):
        return value.text
    if not isinstance(value, Mapping | list | tuple):
        return _quoted(value) if isinstance(value, str) else repr(value)
    opening, closing = _brackets(value)
    parts = [k + _flat(v) for k, v in _items(value)]
    comma = "," if isinstance(value, tuple) and len(parts) == 1 else ""
    return opening + ", ".join(parts) + comma + closing


def _quoted(text: str) -> str:
    return repr(text) if '"' in text or not text.isprintable() or "\\" in text else f'"{text}"'


def runtime_sections(schedule: Schedule, on_gpu: bool, save_best: str) -> list[Section]:
    """Optimisation, schedule and checkpoints, which both tasks share.

    Args:
        schedule: of :func:`mmrel.apis.finetuning.schedule.choose_schedule`.
        on_gpu: mixed precision is used on a GPU alone.
        save_best: metric that the best checkpoint is chosen by.
    """
    wrapper = dict(
        type="AmpOptimWrapper" if on_gpu else "OptimWrapper",
        optimizer=dict(type="AdamW", lr=schedule.rate, betas=(0.9, 0.999), weight_decay=0.05),
        constructor="mmrel.LayerDecayOptimWrapperConstructor",
        paramwise_cfg=Expression(f"dict(_base_.exempt, layer_decay_rate={schedule.layer_decay})"),
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
            "Optimisation: a smaller learning rate for lower blocks, no weight decay for vectors.",
            dict(optim_wrapper=wrapper, param_scheduler=schedulers, **loops),
        ),
        Section(
            "Checkpoints: the newest and the best. The seed fixes order and augmentation.",
            dict(
                default_hooks=hooks,
                log_processor=dict(type="LogProcessor", window_size=interval, by_epoch=False),
                randomness=dict(seed=0),
                auto_scale_lr=dict(enable=False, base_batch_size=schedule.batch),
            ),
        ),
    ]
