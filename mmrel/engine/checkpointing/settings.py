"""The settings that a checkpoint was written with, compared with those of the run that resumes from it.

What would make the state meaningless (other images, another number of images per step, another optimizer) is refused;
every other difference is announced, each in a paragraph that says which of the two values counts from here on.
"""

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmrel.engine.checkpointing.ranks import CheckpointError

KEY = "mmrel_settings"
SECTIONS = (
    "model",
    "optim_wrapper",
    "param_scheduler",
    "train_cfg",
    "train_dataloader",
    "randomness",
    "auto_scale_lr",
)
HOOKS = ("teacher_update", "last_layer_freeze")
NOT_COMPARED = (
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "timeout",
    "data_root",
    "val_interval",
    "val_begin",
    "fused",
    "foreach",
)
"""Settings that change no number, or that other checks cover."""

KEPT = "the checkpoint's value stays in force, because it is part of the state that is restored"
NEW = "the new value counts from here on"
MAX_ANNOUNCED = 12


def settings_of(runner: Runner, images: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint must say of its run, in plain types.

    Args:
        runner: in training.
        images: see :func:`images_of`.
    """
    return {
        "config": dict(_compared(runner.cfg)),
        "optimizer": _optimizer_classes(runner.optim_wrapper),
        "images": images,
        "images_per_step": _batch_size(runner.train_dataloader) * get_world_size(),
        "epoch_length": len(runner.train_dataloader),
        "processes": get_world_size(),
    }


def images_of(dataset: Any) -> dict[str, Any]:
    """Number and fingerprints of the training images; a data set without ``fingerprint`` is only counted."""
    return {"number": len(dataset), "fingerprints": list(_fingerprints(dataset))}


def check_settings(saved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Compare two results of :func:`settings_of`.

    Returns:
        One paragraph for each difference that may be.

    Raises:
        CheckpointError: for a difference that may not be.
    """
    _refuse_other_images(saved["images"], current["images"])
    _refuse(
        "optimizer",
        ", ".join(saved["optimizer"]),
        ", ".join(current["optimizer"]),
        "its moments mean nothing to another one",
    )
    if saved["epoch_length"] == current["epoch_length"]:
        _refuse(
            "number of images per step of all processes",
            saved["images_per_step"],
            current["images_per_step"],
            "the position in the epoch is counted in steps",
        )
    return list(_announcements(saved, current))


def _announcements(saved: dict[str, Any], current: dict[str, Any]) -> Iterator[str]:
    old, new = dict(saved["config"]), dict(current["config"])
    old["number of processes"] = str(saved["processes"])
    new["number of processes"] = str(current["processes"])
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    for key in changed[:MAX_ANNOUNCED]:
        yield (
            f"{key} was {old.get(key, 'not set')} when the checkpoint was written and is "
            f"{new.get(key, 'not set')} now: {_effect(key, new)}. If that is not meant, stop and resume with the old "
            "value, or start a new run from the checkpoint's weights (load_from without resume)."
        )
    if len(changed) > MAX_ANNOUNCED:
        rest = ", ".join(changed[MAX_ANNOUNCED:])
        yield f"{len(changed) - MAX_ANNOUNCED} more settings differ from the checkpoint's: {rest}."


def _effect(key: str, new: dict[str, str]) -> str:
    if key.startswith(("optim_wrapper.optimizer.", "optim_wrapper.paramwise_cfg", "auto_scale_lr")):
        return KEPT
    if key == "randomness.seed":
        return KEPT
    if key.startswith("param_scheduler"):
        kind = new.get(".".join(key.split(".")[:2]) + ".type", "")
        return NEW if kind.startswith("'mmrel.") else KEPT
    if key == "train_cfg.max_epochs":
        return NEW + ", and schedules without a length of their own stretch to it"
    return NEW


def _refuse(what: str, old: Any, new: Any, why: str) -> None:
    if old != new:
        raise CheckpointError(
            f"Cannot resume: the {what} was {old} when the checkpoint was written and is {new} now, and {why}. Resume "
            "with the old value, or start a new run from the checkpoint's weights: load_from without resume."
        )


def _refuse_other_images(old: dict[str, Any], new: dict[str, Any]) -> None:
    if old["number"] == new["number"] and _agree(old["fingerprints"], new["fingerprints"]):
        return
    difference = new["number"] - old["number"]
    text = (
        f"{abs(difference)} {'more' if difference > 0 else 'fewer'}"
        if difference
        else "other names or sizes"
    )
    raise CheckpointError(
        f"Cannot resume: the checkpoint was trained on {old['number']} images and the data set now has "
        f"{new['number']} ({text}), so that the place in the epoch and the rest of its order would be others. Restore "
        "the images (train_dataloader.dataset.data_root), or start a new run from the checkpoint's weights: load_from "
        "without resume."
    )


def _agree(old: list[str], new: list[str]) -> bool:
    """Whether nothing contradicts; fingerprints may be switched off."""
    return not old or not new or old == new


def _batch_size(loader: Any) -> int:
    """Images per step of one process; 0 where only a batch sampler of its own kind knows."""
    return int(getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size or 0)


def _optimizer_classes(optim_wrapper: Any) -> list[str]:
    wrappers = optim_wrapper.values() if hasattr(optim_wrapper, "values") else [optim_wrapper]
    return [type(wrapper.optimizer).__name__ for wrapper in wrappers]


def _fingerprints(dataset: Any) -> Iterator[str]:
    if hasattr(dataset, "fingerprint"):
        yield dataset.fingerprint()
        return
    for inner in (getattr(dataset, "dataset", None), *getattr(dataset, "datasets", ())):
        if inner is not None:
            yield from _fingerprints(inner)


def _compared(config: Any) -> Iterator[tuple[str, str]]:
    for section in SECTIONS:
        yield from _leaves(section, config.get(section))
    hooks = config.get("default_hooks") or {}
    for name in HOOKS:
        yield from _leaves(f"default_hooks.{name}", hooks.get(name))


def _leaves(path: str, node: Any) -> Iterator[tuple[str, str]]:
    """``("optim_wrapper.optimizer.lr", "0.001")`` and so on; what is not set is left out."""
    if path.rpartition(".")[2] in NOT_COMPARED or node is None:
        return
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(f"{path}.{key}", value)
    elif isinstance(node, list | tuple) and any(
        isinstance(item, dict | list | tuple) for item in node
    ):
        for number, value in enumerate(node):
            yield from _leaves(f"{path}.{number}", value)
    elif isinstance(node, list | tuple):
        yield path, repr(list(node))
    elif isinstance(node, str | int | float | bool):
        yield path, repr(node)
    else:
        yield path, getattr(node, "__name__", type(node).__name__)
