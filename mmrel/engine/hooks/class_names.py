"""Fine-tuning and its evaluation number classes alike, though each folder lists its own."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.datasets.class_names import share_class_list, share_classes
from mmrel.datasets.transforms.load import share_depth
from mmrel.registry import HOOKS


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Numbers the classes of validation and test images as those that are trained on, by their names.

    When only a checkpoint is evaluated, the names are those that it was trained with. A class that training does not
    have ends the run before its first step, with its name.
    """

    def __init__(self) -> None:
        self._trained: Sequence[str] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Note the classes that the checkpoint was trained with."""
        meta = checkpoint.get("meta") or {}
        known = meta.get("dataset_meta") if isinstance(meta, dict) else None
        classes = known.get("classes") if isinstance(known, dict) else None
        self._trained = None if classes is None else tuple(classes)

    def before_train(self, runner: Runner) -> None:
        """Number the validation images' classes."""
        self._trained = None  # those of weights to start from do not matter
        for name, dataset in _evaluated(runner, "val"):
            share_classes(runner.train_dataloader.dataset, dataset, "training set", name)
            share_depth(runner.train_dataloader.dataset, dataset)

    def before_val(self, runner: Runner) -> None:
        """The same for a validation without training."""
        self._share_trained(runner, "val")

    def before_test(self, runner: Runner) -> None:
        """The same for a test."""
        self._share_trained(runner, "test")

    def _share_trained(self, runner: Runner, kind: str) -> None:
        if self._trained is None:
            return
        for name, dataset in _evaluated(runner, kind):
            share_class_list(self._trained, dataset, "training set of the checkpoint", name)


def _evaluated(runner: Runner, kind: str) -> Iterator[tuple[str, Any]]:
    """Name and data set of a loop, if there is one."""
    loop = getattr(runner, f"{kind}_loop")
    if loop is not None:
        yield {"val": "validation set", "test": "test set"}[kind], loop.dataloader.dataset
