"""The best checkpoint so far, by any metric of the validation loop or of ``mmrel.KNNHook``.

MMEngine deletes the old best one before it writes the new one. Here the new one is written, the checkpoint to resume
from is written again so that it knows of it, and then the old one goes. A run that was killed in between resumes at the
end of the epoch, evaluates again (``mmrel.ResumableEpochLoop``) and so finds the same best again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmrel.engine.checkpointing.ranks import CheckpointError
from mmrel.engine.checkpointing.whole import whole_state_of

OUTDATED = "outdated_best_ckpts"
KNN = "knn/"


class BestCheckpoints:
    """The part of ``AtomicCheckpointHook`` that follows ``save_best``; mixed in before ``CheckpointHook``."""

    save_best: list[str] | None
    key_indicators: list[str]
    rules: list[str | None]
    by_epoch: bool
    out_dir: Any
    filename_tmpl: str
    last_ckpt: str | None

    def after_knn(self, runner: Runner, metrics: dict[str, float], epoch: int) -> None:
        """``mmrel.KNNHook`` has evaluated after ``epoch`` epochs."""
        if runner.iter:
            self._keep_best(runner, metrics, epoch)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if "://" in str(self.out_dir):
            with whole_state_of(runner):
                super()._save_best_checkpoint(runner, metrics)  # type: ignore[misc]
            return
        self._keep_best(runner, metrics, runner.epoch)

    def _prepare_best(self, runner: Runner) -> None:
        """Find the best files of a resumed run in this folder, and refuse metrics that nobody will report."""
        if not self.save_best:
            return
        self._check_metrics(runner)
        info = runner.message_hub.runtime_info
        for name in info.get(OUTDATED) or ():
            self._remove(name)
        for key in ("best_ckpt", *(f"best_ckpt_{name}" for name in self.save_best)):
            if info.get(key):
                path = str(Path(self.out_dir) / Path(info[key]).name)
                runner.message_hub.update_info(key, path)
                self._set_best(key, path)

    def _keep_best(self, runner: Runner, metrics: dict[str, Any], epoch: int) -> None:
        if not self.save_best:
            return
        if "auto" in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])  # type: ignore[attr-defined]
        meta = dict(epoch=epoch, iter=runner.iter)
        step = epoch if self.by_epoch else runner.iter
        outdated: list[str] = []
        improved = False
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            score = _score(metrics, key)
            if score is None or not self._is_better(runner, key, str(rule), score):
                continue
            improved = True
            name = f"best_{key}_{self.filename_tmpl.format(step)}".replace("/", "_")
            outdated += self._enrol_best(runner, key, score, name)
            runner.message_hub.update_info(OUTDATED, list(outdated))
            self._write(  # type: ignore[attr-defined]
                runner,
                Path(self.out_dir) / name,
                latest=False,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=False,
            )
            unit = "epoch" if self.by_epoch else "iter"
            runner.logger.info(
                f"The best checkpoint with {score:0.4f} {key} at {step} {unit} is saved to {name}."
            )
        if improved and self.last_ckpt is not None:
            self._save_checkpoint_with_step(runner, step, meta)  # type: ignore[attr-defined]
        for name in outdated:
            self._remove(name)

    def _is_better(self, runner: Runner, key: str, rule: str, score: float) -> bool:
        worst = self.init_value_map[rule]  # type: ignore[attr-defined]
        best = runner.message_hub.runtime_info.get(self._info("best_score", key), worst)
        return bool(self.is_better_than[key](score, best))  # type: ignore[attr-defined]

    def _enrol_best(self, runner: Runner, key: str, score: float, name: str) -> list[str]:
        """Note the new best; returns the names of files that it replaces."""
        hub, info = runner.message_hub, self._info("best_ckpt", key)
        before = hub.runtime_info.get(info)
        replaced = [Path(before).name] if before and Path(before).name != name else []
        path = str(Path(self.out_dir) / name)
        hub.update_info(self._info("best_score", key), score)
        hub.update_info(info, path)
        self._set_best(info, path)
        return replaced

    def _set_best(self, info: str, path: str) -> None:
        """Where MMEngine's hook keeps the path, for publishing after the training."""
        if info == "best_ckpt":
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[info.removeprefix("best_ckpt_")] = path  # type: ignore[attr-defined]

    def _info(self, what: str, key: str) -> str:
        return what if len(self.key_indicators) == 1 else f"{what}_{key}"

    def _remove(self, name: str) -> None:
        if is_main_process():
            (Path(self.out_dir) / Path(name).name).unlink(missing_ok=True)

    def _check_metrics(self, runner: Runner) -> None:
        known = [name for hook in runner.hooks for name in getattr(hook, "metric_names", ())]
        validated = runner.val_loop is not None
        prefixes = _prefixes(runner.val_loop.evaluator.metrics) if validated else ()
        for key in self.key_indicators:
            if key in known or (key == "auto" and (known or validated)):
                continue
            if validated and not key.startswith(KNN) and _may_report(key, prefixes):
                continue
            raise CheckpointError(
                f"default_hooks.checkpoint.save_best is {key!r}, and nothing in this run reports such a metric. "
                f"mmrel.KNNHook reports {', '.join(known) or 'nothing (the run has none)'}; the validation loop "
                f"{_describe(prefixes) if validated else 'is not configured'}. Correct the name, or remove save_best."
            )


def _score(metrics: dict[str, Any], key: str) -> float | None:
    """The metric's value; ``None`` if the other kind of evaluation reports it.

    Raises:
        CheckpointError: the evaluation that should report it did not.
    """
    of_knn = key.startswith(KNN)
    if key not in metrics and of_knn == any(name.startswith(KNN) for name in metrics):
        raise CheckpointError(
            f"default_hooks.checkpoint.save_best is {key!r}, but the evaluation reports {', '.join(metrics)}. Name one "
            "of these, and continue with --resume."
        )
    return metrics.get(key)


def _prefixes(metrics: Iterable[Any]) -> tuple[str | None, ...]:
    return tuple(getattr(metric, "prefix", None) for metric in metrics)


def _may_report(key: str, prefixes: tuple[str | None, ...]) -> bool:
    """Whether a validation metric of this name is possible: MMEngine's metrics tell their prefix alone."""
    return None in prefixes or key.startswith(("val", *(f"{prefix}/" for prefix in prefixes)))


def _describe(prefixes: tuple[str | None, ...]) -> str:
    return "reports " + ", ".join(f"{prefix}/..." for prefix in prefixes)
