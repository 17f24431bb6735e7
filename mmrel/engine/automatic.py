"""``"auto"`` in a pretraining configuration: the numbers that follow from the length of the run.

They are put in before the runner is built, so that the configuration which a run leaves behind, and its log, show
numbers. Each is a function of the images, the batch and the epochs (:mod:`mmrel.engine.run_length`) and of ``recipe``,
the paper's numbers, which the configuration states; a resumed run therefore finds the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmengine.registry import DATASETS, init_default_scope

from mmrel.engine.going_on import (
    choose_frozen_epochs,
    choose_frozen_momentum,
    choose_kept_momentum,
)
from mmrel.engine.run_length import (
    RunLength,
    choose_checkpoint_interval,
    choose_freeze_last_layer,
    choose_log_interval,
    choose_lr,
    choose_momentum,
    choose_reconstruction_weight,
    choose_teacher_temp_warmup,
    choose_warmup,
    initial_share,
)
from mmrel.utils.config import dicts_in
from mmrel.utils.errors import UsageError
from mmrel.utils.network_keys import AUTO

IMAGENET = 1_281_167
"""Images of ImageNet-1k."""

FEW_STEPS = 1000
"""Below so many steps a network from random weights has learnt next to nothing (about 1 epoch of ImageNet)."""

MOST_SHARE = 0.05
"""Share of the random start in the exported teacher from which on a run is warned of."""

Rule = Callable[["Run"], Any]


@dataclass(frozen=True)
class Run:
    """A run that is about to begin.

    Attributes:
        length: its images, batch and epochs.
        recipe: the paper's numbers.
    """

    length: RunLength
    recipe: dict[str, Any]

    def warmup_epochs(self) -> float:
        """The warm-up in epochs, which the schedules count in; whole numbers as such."""
        steps = choose_warmup(self.length, self.recipe.get("warmup_epochs", 10))
        epochs = steps / self.length.steps_per_epoch
        return int(epochs) if epochs.is_integer() else round(epochs, 6)

    @property
    def goes_on(self) -> bool:
        """Whether it begins with weights that are to be kept (``configs/_base_/going_on.py``)."""
        return bool(self.recipe.get("going_on"))

    def momentum(self) -> float:
        """The teacher's first momentum."""
        if self.goes_on:
            return choose_kept_momentum(self.length)
        recipe = {
            "recipe": self.recipe.get("momentum", 0.996),
            "recipe_batch": self.recipe.get("batch_size", 1024),
        }
        return choose_momentum(self.length.steps, self.length.images_per_step, **recipe)


RULES: dict[tuple[str, str], Rule] = {
    ("TeacherUpdateHook", "momentum"): Run.momentum,
    ("TeacherUpdateHook", "frozen_momentum"): lambda run: choose_frozen_momentum(run.length),
    ("FreezeBackboneHook", "epochs"): lambda run: choose_frozen_epochs(run.length),
    ("CosineSchedule", "warmup"): Run.warmup_epochs,
    ("", "warmup_epochs"): lambda run: choose_teacher_temp_warmup(
        run.length, run.recipe.get("temperature_epochs", 30)
    ),
    ("LastLayerFreezeHook", "epochs"): lambda run: choose_freeze_last_layer(
        run.length, run.recipe.get("frozen_epochs", 1)
    ),
    ("*", "lr"): lambda run: choose_lr(run.length, run.recipe["lr"], run.recipe["batch_size"]),
    ("SiT", "alpha"): lambda run: choose_reconstruction_weight(run.length),
    ("LoggerHook", "interval"): lambda run: choose_log_interval(run.length),
    ("AtomicCheckpointHook", "interval"): lambda run: choose_checkpoint_interval(run.length),
}
"""What an ``"auto"`` becomes, by the class that is configured (``""``: none, ``"*"``: any), and the key."""


def settle_length(config: Any, processes: int = 1) -> tuple[Any, list[str], list[str]]:
    """Put in what follows from the length of the run.

    Args:
        config (mmengine.Config): of a pretraining, changed in place; one without any ``"auto"`` stays as it is.
        processes: of the run.

    Returns:
        The data set that was built to count its images, or ``None`` if nothing was to be counted; what to log; and
        what to warn of.

    Raises:
        UsageError: the configuration has no loader or no length to count.
    """
    loader = config.get("train_dataloader")
    places = _places(config)
    if loader is None or not (places or loader.get("drop_last") == AUTO):
        return None, [], []
    dataset = _build(config)
    run = Run(_length(config, len(dataset), processes), config.get("recipe") or {})
    lines = [_headline(run)]
    if loader.get("drop_last") == AUTO:
        loader["drop_last"] = run.length.drop_last
        lines += [] if run.length.drop_last else [_few_images(run)]
    for part, key, rule in places:
        part[key] = rule(run)
    if any(key == "lr" for _, key, _ in places):
        config["auto_scale_lr"] = dict(base_batch_size=run.length.batch_size)
    share = _share_left(config, run)
    lines += _chosen(places)
    if share is not None:
        lines.append(
            f"  of the teacher's random start, {100 * share:.2g} % is left in what is exported"
        )
    return dataset, lines, _warnings(run, share)


def settle_without_data(config: Any) -> None:
    """Put in the paper's own numbers, for who reads a configuration and does not train.

    Args:
        config (mmengine.Config): changed in place.
    """
    recipe = config.get("recipe") or {}
    paper = RunLength(IMAGENET, recipe.get("batch_size", 1024), 100)
    for part, key, rule in _places(config):
        part[key] = rule(Run(paper, recipe))


def _places(config: Any) -> list[tuple[dict[str, Any], str, Rule]]:
    """Where an ``"auto"`` stands that has a rule; where it has none, the key has a meaning of its own."""
    found = []
    for part in dicts_in([config[name] for name in config]):
        kind = str(part.get("type", "")).rpartition(".")[2]
        for key, value in part.items():
            if value != AUTO:
                continue
            rule = RULES.get((kind, key)) or RULES.get(("*", key))
            if rule is not None:
                found.append((part, key, rule))
    return found


def _build(config: Any) -> Any:
    init_default_scope(config.get("default_scope") or "mmpretrain")
    return DATASETS.build(config.train_dataloader.dataset)


def _length(config: Any, num_images: int, processes: int) -> RunLength:
    loader, epochs = config.train_dataloader, (config.get("train_cfg") or {}).get("max_epochs")
    if not isinstance(epochs, int) or not isinstance(loader.get("batch_size"), int):
        raise UsageError(
            f"{config.filename} has values 'auto', which need train_cfg.max_epochs and train_dataloader.batch_size, "
            f"but these are {epochs!r} and {loader.get('batch_size')!r}; set both, or give numbers instead of 'auto'."
        )
    parts = (config.get("optim_wrapper") or {}).get("accumulative_counts", 1)
    batch, drop_last = loader.batch_size * processes, loader.get("drop_last", False)
    if drop_last == AUTO:
        drop_last = num_images >= batch
    return RunLength(num_images, batch * parts, epochs, bool(drop_last))


def _headline(run: Run) -> str:
    length = run.length
    return (
        f"This run: {length.num_images} images, {length.batch_size} per step, {length.epochs} epoch(s): {length.steps} "
        f"steps ({length.steps_per_epoch} per epoch). What follows from that:"
    )


def _few_images(run: Run) -> str:
    return (
        f"  drop_last = False: the {run.length.num_images} images are fewer than a batch of "
        f"{run.length.batch_size}, so each step sees all of them"
    )


def _chosen(places: list[tuple[dict[str, Any], str, Rule]]) -> list[str]:
    values = {
        f"{str(part.get('type', 'teacher_temperature')).rpartition('.')[2]}.{key}": part[key]
        for part, key, _ in places
    }
    return [f"  {name} = {value}" for name, value in values.items()]


def _share_left(config: Any, run: Run) -> float | None:
    """The share of its random start that is left in the teacher, where there is one that begins at random."""
    hook = (config.get("default_hooks") or {}).get("teacher_update")
    if not hook or run.goes_on:
        return None
    return initial_share(hook["momentum"], hook.get("end_momentum", 1.0), run.length.steps)


def _warnings(run: Run, share: float | None) -> list[str]:
    length = run.length
    texts = []
    if share is not None and share > MOST_SHARE:
        texts.append(
            f"{100 * share:.0f} % of the teacher, which is what gets exported, would be its random start. Train longer "
            "(train_cfg.max_epochs), or in smaller batches."
        )
    if length.steps < FEW_STEPS and not run.goes_on:
        epochs = -(-FEW_STEPS // length.steps_per_epoch)
        texts.append(
            f"{length.steps} steps are too few to learn much from random weights. Give more images, "
            f"train_cfg.max_epochs={epochs} or more, or released weights to go on from (load_from)."
        )
    return texts
