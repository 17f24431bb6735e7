"""Weighted k-NN accuracy while pretraining: the curve that says whether the features become better."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Subset

from mmrel.engine.hooks.patch_miou import PatchMIoU
from mmrel.evaluation.knn import extract_features, feature_extractor, knn_accuracy
from mmrel.evaluation.loading import build_labelled_pair, evaluation_mode
from mmrel.evaluation.token_statistics import TokenStatistics
from mmrel.evaluation.token_watch import TokenWatch
from mmrel.registry import HOOKS
from mmrel.utils.device import unwrap_model

EVALUATED = "knn_epoch"


@HOOKS.register_module()
class KNNHook(Hook):
    """Classifies the validation images by their neighbours in a bank of training images.

    Logs ``knn/top1_k20`` and the like, and ``knn/feature_std``: the features' mean standard deviation times
    the square root of their width, near 1 for spread features and 0 for collapsed ones. Of the patch tokens of some
    validation images, which the network has computed anyway, it logs ``knn/cosine_within_image``,
    ``knn/share_between_images`` (per cent) and ``knn/effective_rank``, see
    :class:`~mmrel.evaluation.token_statistics.TokenStatistics`; and with ``masks``, ``knn/patch_miou`` (per cent).

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
        max_health: look at the patch tokens of at most so many validation images, spread evenly; 0: of none.
        masks: images with masks for k-NN over patch tokens, arguments of
            :class:`~mmrel.engine.hooks.patch_miou.PatchMIoU`: ``dict(root=...)``; ``None``: none.
    """

    priority = "LOWEST"
    """After the checkpoint of the same epoch, which an error in the evaluation then does not cost."""

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
        max_health: int = 128,
        masks: dict[str, Any] | None = None,
    ) -> None:
        _check_options(k, temperature, interval, max_bank, max_health)
        self.bank_cfg = bank_dataloader
        self.val_cfg = val_dataloader
        self.k = tuple(k)
        self.temperature = temperature
        self.interval = interval
        self.max_bank = max_bank
        self.feature = feature
        self.network = network
        self.at_start = at_start
        self.max_health = max_health
        self.masks = None if masks is None else PatchMIoU(**masks)
        self._loaders: tuple[DataLoader, DataLoader] | None = None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What it reports, for ``save_best`` of the checkpoint hook."""
        accuracies = [f"knn/top{top}_k{number}" for number in self.k for top in (1, 5)]
        health = [f"knn/{part.name}" for part in fields(TokenStatistics) if self.max_health]
        masks = ["knn/patch_miou"] if self.masks and not self.masks.left_out else []
        return (*accuracies, "knn/feature_std", *health, *masks)

    def before_train(self, runner: Runner) -> None:
        """Try everything on one image each; make up for an evaluation that the end of a run cut off.

        Raises:
            FileNotFoundError, ValueError: what would else end the run at the first evaluation.
        """
        self._try(unwrap_model(runner))
        if (self.at_start and runner.iter == 0) or self._was_cut_off(runner):
            self._evaluate_and_log(runner, runner.epoch)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate at the interval and after the last epoch."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self._evaluate_and_log(runner, runner.epoch + 1)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Accuracies in per cent, the features' spread and the patch tokens' figures, of a model without a wrapper."""
        with evaluation_mode(model):
            self._build_loaders()
            assert self._loaders is not None
            watch = TokenWatch(self._loaders[1], self.max_health)
            bank, val = (
                extract_features(
                    feature_extractor(model, self.network, self.feature, watched),
                    model.data_preprocessor,  # type: ignore[arg-type]
                    loader,
                )
                for loader, watched in zip(self._loaders, (None, watch), strict=True)
            )
            results = knn_accuracy(bank, val, self.k, self.temperature)
            spread = bank[0].std(dim=0).mean() * bank[0].shape[1] ** 0.5
            results |= {"feature_std": float(spread), **watch.results()}
            if self.masks is not None:
                results |= self.masks.evaluate(model, self.network)
        return results

    def _build_loaders(self) -> None:
        if self._loaders is None:
            self._loaders = build_labelled_pair(self.bank_cfg, self.val_cfg, self.max_bank)

    def _try(self, model: Any) -> None:
        """One image of each loader through pipeline and network, in this process."""
        with evaluation_mode(model):
            self._build_loaders()
            assert self._loaders is not None
            extract = feature_extractor(model, self.network, self.feature)
            for loader in self._loaders:
                one = DataLoader(Subset(loader.dataset, [0]), collate_fn=loader.collate_fn)
                extract_features(extract, model.data_preprocessor, one)
            if self.masks is not None:
                self.masks.prepare(model, self.network)

    def _was_cut_off(self, runner: Runner) -> bool:
        """Whether the checkpoint is of an epoch's end and knows of no evaluation that was due there."""
        epoch = runner.epoch
        if not epoch or runner.iter != epoch * len(runner.train_dataloader):
            return False
        due = (self.interval > 0 and epoch % self.interval == 0) or epoch == runner.max_epochs
        return due and runner.message_hub.get_info(EVALUATED, 0) != epoch

    def _evaluate_and_log(self, runner: Runner, epoch: int) -> None:
        results = {f"knn/{k}": v for k, v in self.evaluate(unwrap_model(runner)).items()}
        text = "  ".join(f"{name}: {value:.4f}" for name, value in results.items())
        runner.logger.info(f"Epoch(knn) [{epoch}]  {text}")
        runner.visualizer.add_scalars(
            {**results, "epoch": epoch},
            step=runner.iter,
            file_path=f"{runner.timestamp}.json",
        )
        for name, value in results.items():
            runner.message_hub.update_scalar(name, value)
        runner.message_hub.update_info(EVALUATED, epoch)
        runner.call_hook("after_knn", metrics=results, epoch=epoch)


def _check_options(
    k: Sequence[int], temperature: float, interval: int, max_bank: int | None, max_health: int
) -> None:
    if (
        not k
        or min(k) < 1
        or temperature <= 0
        or interval < 1
        or (max_bank is not None and max_bank < 1)
        or max_health < 0
    ):
        raise ValueError(
            f"KNNHook has k={list(k)}, temperature={temperature}, interval={interval}, max_bank={max_bank} and "
            f"max_health={max_health}; k are numbers of neighbours above 0, temperature is above 0, interval is a "
            "number of epochs above 0, max_bank a number of images above 0 or None, and max_health a number of images, "
            "0 or more. The usual values are (10, 20), 0.07, 1, None and 128."
        )
