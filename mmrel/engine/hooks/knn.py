"""Weighted k-NN accuracy while pretraining: the curve that says whether the features become better."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmrel.evaluation.knn import extract_features, feature_extractor, knn_accuracy
from mmrel.evaluation.loading import build_labelled_pair, evaluation_mode
from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model


@HOOKS.register_module()
class KNNHook(Hook):
    """Classifies the validation images by their neighbours in a bank of training images.

    Logs ``knn/top1_k20`` and the like, and ``knn/feature_std``: the features' mean standard deviation times
    the square root of their width, near 1 for spread features and 0 for collapsed ones.

    Args:
        bank_dataloader: labelled training images in the evaluation pipeline. Its classes are the classes.
        val_dataloader: labelled validation images; with class folders, numbered by their names as in the bank.
        k: numbers of neighbours.
        temperature: of the votes.
        interval: epochs between two evaluations; the last epoch is always evaluated.
        max_bank: use at most so many bank images, spread evenly.
        feature: ``"cls"``, ``"avg"`` or ``"cls+avg"``.
        network: ``"teacher"`` or ``"student"``.
        at_start: evaluate before the first iteration too.
    """

    priority = "BELOW_NORMAL"

    def __init__(
        self,
        bank_dataloader: dict[str, Any],
        val_dataloader: dict[str, Any],
        k: Sequence[int] = (10, 20),
        temperature: float = 0.07,
        interval: int = 1,
        max_bank: int | None = None,
        feature: str = "cls",
        network: str = "teacher",
        at_start: bool = False,
    ) -> None:
        self.bank_cfg = bank_dataloader
        self.val_cfg = val_dataloader
        self.k = tuple(k)
        self.temperature = temperature
        self.interval = interval
        self.max_bank = max_bank
        self.feature = feature
        self.network = network
        self.at_start = at_start
        self._loaders: tuple[DataLoader, DataLoader] | None = None

    def before_train(self, runner: Runner) -> None:
        """Evaluate the untrained network, if asked for."""
        if self.at_start and runner.iter == 0:
            self._evaluate_and_log(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate at the interval and after the last epoch."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self._evaluate_and_log(runner)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Accuracies in per cent, and the feature spread, of a model without a wrapper."""
        with evaluation_mode(model):
            if self._loaders is None:
                self._loaders = build_labelled_pair(self.bank_cfg, self.val_cfg, self.max_bank)
            extract = feature_extractor(model, self.network, self.feature)
            bank, val = (
                extract_features(extract, model.data_preprocessor, loader)  # type: ignore[arg-type]
                for loader in self._loaders
            )
            results = knn_accuracy(bank, val, self.k, self.temperature)
        spread = bank[0].std(dim=0).mean() * bank[0].shape[1] ** 0.5
        return {**results, "feature_std": float(spread)}

    def _evaluate_and_log(self, runner: Runner) -> None:
        results = {f"knn/{k}": v for k, v in self.evaluate(unwrap_model(runner)).items()}
        epoch = runner.epoch + 1 if runner.iter else 0
        text = "  ".join(f"{name}: {value:.4f}" for name, value in results.items())
        runner.logger.info(f"Epoch(knn) [{epoch}]  {text}")
        runner.visualizer.add_scalars(
            {**results, "epoch": epoch},
            step=runner.iter,
            file_path=f"{runner.timestamp}.json",
        )
        for name, value in results.items():
            runner.message_hub.update_scalar(name, value)
