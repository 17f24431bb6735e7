"""What a settled configuration has for learning rate, warm-up, teacher and temperature, as rows of the table."""

from collections.abc import Iterator
from typing import Any

from mmrel.apis.choices import Choice
from mmrel.engine.run_length import RunLength, initial_share
from mmrel.utils.config import dicts_in
from mmrel.utils.text import counted


def schedule_rows(config: Any, run: RunLength) -> list[Choice]:
    """Rows for what follows from the number of steps.

    Args:
        config: with numbers in the place of ``"auto"``.
        run: its length.
    """
    return [
        *_learning_rate(config, run),
        *_teacher(config, run),
        *_temperature(config),
        *_prototypes(config),
    ]


def initial_share_of(config: Any, run: RunLength) -> float:
    """Share of the random start in the exported teacher; 0 without a teacher."""
    hook = _teacher_hook(config)
    if not hook:
        return 0.0
    return initial_share(hook["momentum"], hook.get("end_momentum", 1.0), run.steps)


def _teacher_hook(config: Any) -> Any:
    return (config.get("default_hooks") or {}).get("teacher_update")


def _learning_rate(config: Any, run: RunLength) -> Iterator[Choice]:
    lr = config.optim_wrapper.optimizer.lr
    yield Choice(
        "learning rate",
        f"{lr:.3g}",
        f"the recipe's, in proportion to {run.images_per_step} images a step",
    )
    for schedule in config.get("param_scheduler") or ():
        warmup = schedule.get("warmup")
        if schedule.get("param_name") == "lr" and warmup:
            steps = round(warmup * run.steps_per_epoch)
            yield Choice(
                "warm-up", counted(steps, "step"), "the recipe's epochs, at most a tenth of the run"
            )


def _teacher(config: Any, run: RunLength) -> Iterator[Choice]:
    hook = _teacher_hook(config)
    if not hook:
        yield Choice(
            "teacher", "none", "this method has no teacher: the network itself is exported"
        )
        return
    value = f"momentum {hook['momentum']:g} to {hook.get('end_momentum', 1.0):g}"
    yield Choice("teacher", value, _why_momentum(config, run))


def _why_momentum(config: Any, run: RunLength) -> str:
    if config.get("load_from"):
        return "slow enough to keep what the released weights know"
    return f"{initial_share_of(config, run):.2%} of its random start is left in what is exported"


def _temperature(config: Any) -> Iterator[Choice]:
    for part in dicts_in(config.model):
        value = part.get("teacher_temperature")
        if isinstance(value, dict):
            epochs = value.get("warmup_epochs", 0)
            text = f"{value['start']:g} to {value['end']:g} in {counted(epochs, 'epoch')}"
            yield Choice(
                "temperature", text, "the teacher's, which begins low lest everything collapse"
            )
            return
        if value is not None:
            yield Choice("temperature", f"{value:g}", "the teacher's, low lest everything collapse")
            return


def _prototypes(config: Any) -> Iterator[Choice]:
    hook = (config.get("default_hooks") or {}).get("last_layer_freeze") or {}
    for part in dicts_in(config.model):
        if "teacher_temperature" in part and isinstance(part.get("out_channels"), int):
            epochs = hook.get("epochs", 0)
            still = f"still for {counted(epochs, 'epoch')}" if epochs else "trained from the start"
            yield Choice("prototypes", f"{part['out_channels']:,}", still)
            return
