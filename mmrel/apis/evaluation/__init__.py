"""Several checkpoints judged by several protocols, side by side, from one call.

Read in this order: ``protocol`` (what a protocol is and gives), ``protocols/`` (those there are), ``data`` (what they
read), ``subjects`` (what is compared), ``stages`` (one protocol for one network, kept in a file), ``engine`` (which
runs them all), ``results`` and ``page`` (what comes out).
"""

from typing import TYPE_CHECKING

from mmrel.utils.lazy import lazy_attributes

if TYPE_CHECKING:
    from mmrel.apis.evaluation.data import EvaluationData, find_data
    from mmrel.apis.evaluation.engine import Evaluation, evaluate
    from mmrel.apis.evaluation.protocol import Measure, Outcome, Protocol, Shot
    from mmrel.apis.evaluation.protocols import PROTOCOLS

__all__ = [
    "PROTOCOLS",
    "Evaluation",
    "EvaluationData",
    "Measure",
    "Outcome",
    "Protocol",
    "Shot",
    "evaluate",
    "find_data",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        **dict.fromkeys(("Measure", "Outcome", "Protocol", "Shot"), f"{__name__}.protocol"),
        **dict.fromkeys(("Evaluation", "evaluate"), f"{__name__}.engine"),
        **dict.fromkeys(("EvaluationData", "find_data"), f"{__name__}.data"),
        "PROTOCOLS": f"{__name__}.protocols",
    },
)
