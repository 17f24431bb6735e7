"""How the evidence judges a backbone: protocols of ``tools/evaluate.py``, with its data set's settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evidence_arms import FIRST_MASK, THUMBNAILS, Arm
from evidence_data import LABEL_TASKS, DataSet

from mmrel.apis.evaluation import evaluate
from mmrel.apis.evaluation.data import EvaluationData, find_data
from mmrel.apis.evaluation.protocol import Protocol
from mmrel.apis.evaluation.protocols import PROTOCOLS

FEATURES = ("cls", "avg")
ALONG_THE_RUN = ("davis",)
"""What earlier checkpoints are judged by; the run itself logs k-NN, patch k-NN and the tokens' statistics."""


@dataclass(frozen=True)
class Judge:
    """A figure of the tables.

    Attributes:
        name: in the results.
        title: of its column.
        protocol: that gives it.
        key: among the protocol's figures, or the part of it before ``_cls`` and ``_avg``.
        by_feature: whether it is about whole images, for which class token or mean patch stands.
    """

    name: str
    title: str
    protocol: str
    key: str
    by_feature: bool = False

    def figure(self, feature: str) -> str:
        """Its name in the results: of the class token or the mean patch, where it is about images."""
        return f"{self.name}_{feature}" if self.by_feature else self.name


JUDGES = (
    Judge("propagation", "J&F", "davis", "jf_mean"),
    Judge("patch_knn", "patch k-NN mIoU", "patch_knn", "miou"),
    Judge("linear_segmentation", "linear mIoU", "linear_segmentation", "miou"),
    Judge("correspondence", "matches", "correspondence", "accuracy"),
    Judge("knn", "class k-NN", "knn", "k20", by_feature=True),
    Judge("linear_probe", "linear probe", "linear_probe", "top1", by_feature=True),
    Judge("cosine", "cosine within", "tokens", "cosine_within_image"),
    Judge("between", "variance between", "tokens", "share_between_images"),
    Judge("rank", "effective rank", "tokens", "effective_rank"),
)
"""Those of frozen networks."""
FINETUNED = (
    Judge("box_ap", "box AP", "mask-rcnn", "box_ap"),
    Judge("mask_ap", "mask AP", "mask-rcnn", "mask_ap"),
    Judge("miou", "UperNet mIoU", "upernet", "miou"),
    *(
        Judge(f"labels_{share}", f"{share} % of labels", task, f"labels_{share}")
        for task, share in LABEL_TASKS.items()
    ),
)
"""Those of ``evidence_finetune``, whose tasks are called their protocols here."""


def judge(
    checkpoint: Path,
    arm: Arm,
    dataset: DataSet,
    data: Path,
    out: Path,
    protocols: Sequence[str] | None = None,
) -> dict[str, float]:
    """Figures of one checkpoint, by the names of ``JUDGES``; what is done already is not repeated.

    Args:
        checkpoint: of the arm.
        arm: which.
        dataset: whose judges these are.
        data: its folder.
        out: folder of reports and of what is done.
        protocols: some of the data set's; ``None``: all.

    Raises:
        RuntimeError: a protocol failed.
    """
    found = _evaluate(checkpoint, arm, dataset, find_data(data), out, protocols)
    figures: dict[str, float] = {}
    for own in JUDGES:
        for feature in FEATURES if own.by_feature else ("",):
            key = f"{own.key}_{feature}" if feature else own.key
            value = found.results.figure("network", own.protocol, key)
            if value is not None:
                figures[own.figure(feature)] = value
    return figures


def judge_baselines(
    checkpoint: Path, arm: Arm, dataset: DataSet, data: Path, out: Path
) -> dict[str, dict[str, float]]:
    """Figures of what needs no network, by its name; those without any are left out.

    Args:
        checkpoint: any one, beside which thumbnails are judged.
        arm: the checkpoint's.
        dataset: whose judges these are.
        data: its folder.
        out: folder of reports and of what is done.

    Raises:
        RuntimeError: a protocol failed.
    """
    found = {
        THUMBNAILS: _judge_thumbnails(checkpoint, arm, dataset, data, out / THUMBNAILS),
        FIRST_MASK: _judge_copies(dataset, data),
    }
    return {name: figures for name, figures in found.items() if figures}


def _judge_copies(dataset: DataSet, data: Path) -> dict[str, float]:
    """J&F of a video in which nothing moves: the least that a propagation must reach."""
    from mmrel.apis.video import copies_of_first, evaluate_sequences
    from mmrel.evaluation.davis import read_split

    if (settings := dataset.judges.get("davis")) is None:
        return {}
    sequences = read_split(find_data(data).path("davis"), settings["split"])
    found = evaluate_sequences(sequences[: settings["max_sequences"]], copies_of_first)
    return {"propagation": 100 * found.jf_mean}


def _judge_thumbnails(
    checkpoint: Path, arm: Arm, dataset: DataSet, data: Path, out: Path
) -> dict[str, float]:
    """The class judges, of pixels."""
    protocols = ("knn", "linear_probe")
    found = _evaluate(checkpoint, arm, dataset, find_data(data), out, protocols, True)
    label = found.results.subjects.thumbnails.label
    values = {
        own.figure("cls"): found.results.figure(label, own.protocol, f"{own.key}_pixels")
        for own in JUDGES
        if own.by_feature
    }
    return {name: value for name, value in values.items() if value is not None}


def _evaluate(
    checkpoint: Path,
    arm: Arm,
    dataset: DataSet,
    data: EvaluationData,
    out: Path,
    protocols: Sequence[str] | None,
    thumbnails: bool = False,
) -> Any:
    found = evaluate(
        [checkpoint],
        data,
        "full",
        out,
        random=False,
        thumbnails=thumbnails,
        protocols=protocols,
        labels=["network"],
        table=_table(dataset.judges),
        network=arm.network,
    )
    if found.failures:
        raise RuntimeError(f"{checkpoint} could not be judged: {found.failures}")
    return found


def _table(judges: Mapping[str, Mapping[str, Any]]) -> dict[str, Protocol]:
    return {
        name: replace(PROTOCOLS[name], settings={"full": dict(settings)})
        for name, settings in judges.items()
    }
