"""Logistic regression on frozen features, for few labels: DINO's and iBOT's protocol.

arXiv 2104.14294 and 2111.07832 (``eval_logistic_regression``), whose solver is another one of the same objective.
"""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional

from mmrel.evaluation.multi_head_accuracy import top_hits
from mmrel.evaluation.probes.result import ProbeData, ProbeResult, Progress, check_data

STRENGTHS = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)
"""Weights of the penalty: the last three are iBOT's for ImageNet's 1000 classes; fewer classes want less."""


def fit_logistic(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    strengths: Sequence[float] = STRENGTHS,
    fit_intercept: bool = False,
    max_iter: int = 1000,
    progress: Progress | None = None,
) -> ProbeResult:
    """Logistic regression on L2-normalised features, once per strength of the penalty.

    Minimises ``mean cross-entropy + strength / 2 * sum of squared weights`` by scikit-learn's L-BFGS in float64, whose
    C is 1 / (strength * N). Two classes share one weight vector, as scikit-learn has it.

    Args:
        train_x: ``(N, C)``; normalised here.
        train_y: ``(N,)`` whole numbers, which need not be contiguous.
        val_x: ``(M, C)``; normalised here.
        val_y: ``(M,)``, each one of those in ``train_y``.
        strengths: of the penalty.
        fit_intercept: whether there are biases, without penalty; the protocol has none.
        max_iter: of L-BFGS; a warning tells where that was too few.
        progress: is told the strengths.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
        ValueError: as :func:`mmrel.evaluation.probes.result.check_data`, or strengths that are not above 0.
    """
    if not strengths or min(strengths) <= 0 or len(set(strengths)) < len(strengths):
        raise ValueError(f"strengths are {list(strengths)}; give numbers above 0, each once")
    data = check_data(train_x.double(), train_y, val_x.double(), val_y)
    model = _regression(fit_intercept, max_iter)
    train, val = (functional.normalize(x.cpu(), dim=1).numpy() for x in (data.train, data.val))
    labels, progress = data.val_labels.cpu(), progress or (lambda done, count: None)
    hits: dict[float, Tensor] = {}
    progress(0, len(strengths))
    # From the strongest on: each solution is a good beginning for the next.
    for strength in sorted(strengths, reverse=True):
        _fit(model, train, data, strength)
        scores = torch.from_numpy(model.decision_function(val))
        if scores.ndim == 1:
            scores = torch.stack([-scores, scores], dim=1)
        hits[strength] = top_hits(scores, labels, data.topk)
        progress(len(hits), len(strengths))
    return data.result(torch.stack([hits[s] for s in strengths], dim=1), strengths)


def _regression(fit_intercept: bool, max_iter: int) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "logistic regression is scikit-learn's, which is not installed: `pip install scikit-learn`; or take the "
            "linear probe (fit_linear_heads, --method linear), which does without",
            name=error.name,
        ) from error
    return LogisticRegression(
        solver="lbfgs", fit_intercept=fit_intercept, max_iter=max_iter, tol=1e-6, warm_start=True
    )


def _fit(model: Any, train: Any, data: ProbeData, strength: float) -> None:
    """Fit, with scikit-learn's warning as one line of the log."""
    model.set_params(C=1 / (strength * len(train)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(train, data.train_labels.cpu().numpy())
    if (model.n_iter_ >= model.max_iter).any():
        print_log(
            f"logistic regression at strength {strength:g} stopped after {model.max_iter} steps before it had "
            "converged; raise max_iter",
            "current",
            logging.WARNING,
        )
