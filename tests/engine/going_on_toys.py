"""Runs on toy data that go on from weights: a resting backbone, an anchored one."""

from pathlib import Path
from typing import Any

import engine_toys
import tiny
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from torch import Tensor

from mmrel.models.selfsup.gram_anchoring import GramAnchoring

State = dict[str, Tensor]
EPOCH, EPOCHS = 6, 3
"""Iterations per epoch and epochs of a toy run."""


@MODELS.register_module()
class ToyGram(GramAnchoring):
    """A real base with Gram anchoring on the toy data."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_preprocessor = engine_toys.ToyViews(self.data_preprocessor)


@HOOKS.register_module()
class StateTrace(Hook):
    """Keeps the model's state before the first and after every iteration, and for which parameters moments exist."""

    priority = "VERY_LOW"

    def before_train(self, runner: Any) -> None:
        self.states, self.moments = [self._copy(runner)], []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.states.append(self._copy(runner))
        known = {id(parameter) for parameter in runner.optim_wrapper.optimizer.state}
        names = getattr(runner.model, "module", runner.model).named_parameters()
        self.moments.append({name for name, parameter in names if id(parameter) in known})

    def _copy(self, runner: Any) -> State:
        model = getattr(runner.model, "module", runner.model)
        return {key: value.clone() for key, value in model.state_dict().items()}


def gram() -> dict[str, Any]:
    return dict(type="ToyGram", base=tiny.ibot(drop_path_rate=0.2))


def dino() -> dict[str, Any]:
    return dict(tiny.dino(drop_path_rate=0.2), type="ToyDINO")


def settings(folder: Path, *hooks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """3 epochs of 6 iterations, with hooks beside those of any run."""
    config = engine_toys.config(folder, **{"model": dino(), **changes})
    config["custom_hooks"] += [dict(type="StateTrace"), *hooks]
    return config


def freeze(epochs: int = 1) -> dict[str, Any]:
    return dict(type="mmrel.FreezeBackboneHook", epochs=epochs)


def run(config: dict[str, Any]) -> tuple[Any, StateTrace]:
    runner = engine_toys.build(config)
    runner.train()
    return runner, next(hook for hook in runner.hooks if isinstance(hook, StateTrace))


def part(state: State, *starts: str) -> State:
    return {key: value for key, value in state.items() if key.startswith(starts)}


def equal(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
