"""The arms of the evidence and the claims that they decide (docs/evidence.md, section 1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrel.utils import UsageError

CONFIGS = Path("configs/evidence")
CLASSIFIER = "configs/relvit/benchmarks/vit-tiny-p8_scenes.py"
JOINT = "configs/relvit/relvit-joint_vit-tiny-p8_scenes.py"
RANDOM, THUMBNAILS, FIRST_MASK = "random", "thumbnails", "first-mask"
RANDOM_SELFPATCH = "random-selfpatch"
"""Random weights without class token and norms, as SelfPatch's network is: UperNet's figures depend on that."""
BASELINES = {THUMBNAILS: "16 x 16 thumbnails", FIRST_MASK: "first mask copied"}
"""What needs no network, and has no seed: titles in tables, by name."""


@dataclass(frozen=True)
class Arm:
    """One way to come to a backbone.

    Attributes:
        name: on the command line and of its files.
        title: in tables.
        method: of the config's file name, ``configs/evidence/<method>_vit-tiny-p8_evidence.py``.
        options: as of ``tools/train.py --cfg-options``.
        feature: what stands for an image: ``'cls'``, or ``'avg'`` where no class token is trained.
        network: whose backbone is judged: ``'teacher'``, or ``'student'`` where there is no teacher.
        trained: whether there is a pretraining; otherwise the weights are as the config draws them.
        judged: whether its frozen features are judged; otherwise there are only fine-tunings of it.
        classifier: the config of its fine-tuning with labels, below the repository.
    """

    name: str
    title: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    feature: str = "cls"
    network: str = "teacher"
    trained: bool = True
    judged: bool = True
    classifier: str = CLASSIFIER

    @property
    def config(self) -> Path:
        """The pretraining's config, below the repository."""
        return CONFIGS / f"{self.method}_vit-tiny-p8_evidence.py"


Pair = tuple[str, str]
"""An arm, and the arm that it must beat."""


@dataclass(frozen=True)
class Claim:
    """What a paper claims, as pairs of arms.

    Attributes:
        title: a heading.
        question: what is asked of every pair.
        pairs: of arms.
        together: pairs whose differences are also taken as one sample, by the title of their row.
    """

    title: str
    question: str
    pairs: tuple[Pair, ...]
    together: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)


def _sere_on(base: str, title: str) -> tuple[Arm, ...]:
    method, on = f"{base}-sere", f"SERE on {title}"
    return (
        Arm(base, title, base),
        Arm(method, on, method),
        Arm(f"{method}-spatial", f"{on}, spatial only", method, {"model.beta": 0.0}),
        Arm(f"{method}-channel", f"{on}, channel only", method, {"model.alpha": 0.0}),
    )


PAPER = {
    "model.alpha": 0.2,
    "model.beta": 0.5,
    "model.num_heads": 4,
    "model.overlap_side": 7,
    "model.spatial_temperature": 0.5,
}
"""SERE's own weights and temperature, a head per head of the backbone, and about as many points as tokens."""

ARMS = {
    arm.name: arm
    for arm in (
        Arm(RANDOM, "random weights", "dino", trained=False),
        *_sere_on("dino", "DINO"),
        *_sere_on("mocov3", "MoCo v3"),
        *_sere_on("ibot", "iBOT"),
        Arm("ibot-sere-paper", "SERE on iBOT, the paper's weights", "ibot-sere", PAPER),
        Arm("selfpatch", "SelfPatch", "selfpatch", feature="avg"),
        Arm(RANDOM_SELFPATCH, "random weights, SelfPatch's network", "selfpatch", feature="avg", trained=False),
        Arm("dino-longer", "DINO, SelfPatch's time", "dino", {"train_cfg.max_epochs": 4}),
        Arm("sit", "SiT", "sit"),
        Arm("sit-reconstruction", "SiT, reconstruction only", "sit", {"model.head.loss_weight": 0.0}, "avg"),
        Arm("sit-contrast", "SiT, contrast only", "sit", {"model.alpha": 0.0}),
        Arm("relvit", "RelViT", "relvit", feature="avg", network="student"),
        Arm("relvit-joint", "RelViT, joint", "dino", trained=False, judged=False, classifier=JOINT),
    )
}  # fmt: skip
"""By name, in the order of the tables."""


BASES = ("dino", "mocov3", "ibot")
PARTS = {"": "SERE", "-spatial": "SERE, spatial only,", "-channel": "SERE, channel only,"}


def _relation_pair(base: str, part: str) -> Pair:
    return f"{base}-sere{part}", base


CLAIMS = {
    "sere": Claim(
        "SERE is better than its base",
        "Does self-relation improve the base that carries it?",
        (
            *(_relation_pair(base, part) for base in BASES for part in PARTS),
            ("ibot-sere-paper", "ibot"),
        ),
        {
            f"{title} against its base, all bases": tuple(
                _relation_pair(base, part) for base in BASES
            )
            for part, title in PARTS.items()
        },
    ),
    "selfpatch": Claim(
        "SelfPatch is better than DINO on dense tasks",
        "Is it, at equal steps and at equal time? And what does its network, without class token and norms, do alone?",
        (("selfpatch", "dino"), ("selfpatch", "dino-longer"), ("selfpatch", RANDOM_SELFPATCH)),
    ),
    "sit": Claim(
        "SiT is better than training from scratch",
        "Is it, and which of its two losses is?",
        tuple((name, RANDOM) for name in ("sit", "sit-reconstruction", "sit-contrast")),
    ),
    "relvit": Claim(
        "RelViT is better than training from scratch",
        "Do its tasks help before fine-tuning (upstream), and do they help beside it (joint)?",
        (("relvit", RANDOM), ("relvit-joint", RANDOM)),
    ),
}


def find_arm(name: str) -> Arm:
    """The arm of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in ARMS:
        raise UsageError(f"there is no arm {name!r}; choose from {', '.join(ARMS)}")
    return ARMS[name]
