"""Linear classifiers on fixed features: SGD at many rates at once, and logistic regression for few labels.

Without the augmentation of the training images that the papers' probes have, which makes a probe of minutes out of one
of days; the figures are a little lower. With it: ``mmrel.LinearProbeClassifier``, ``configs/*/benchmarks/*linear*``.
"""

from mmrel.evaluation.probes.linear import LEARNING_RATES, fit_linear_heads
from mmrel.evaluation.probes.logistic import STRENGTHS, fit_logistic
from mmrel.evaluation.probes.result import ProbeResult

__all__ = ["LEARNING_RATES", "STRENGTHS", "ProbeResult", "fit_linear_heads", "fit_logistic"]
