"""What a user asks for."""

from dataclasses import asdict, dataclass
from typing import Any

METHODS = {
    "sere": "sere/ibot-sere_vit-small-p16_custom.py",
    "ibot": "ibot/ibot_vit-small-p16_custom.py",
    "dino": "dino/dino_vit-small-p16_custom.py",
    "mocov3": "mocov3/mocov3_vit-small-p16_custom.py",
    "selfpatch": "selfpatch/selfpatch_vit-small-p16_custom.py",
    "sit": "sit/sit_vit-small-p16_custom.py",
    "relvit": "relvit/relvit_vit-small-p16_custom.py",
}
"""The configuration of each method for a folder of photos, below ``configs/``."""

TITLES = {
    "sere": "SERE on iBOT",
    "ibot": "iBOT",
    "dino": "DINO",
    "mocov3": "MoCo v3",
    "selfpatch": "SelfPatch",
    "sit": "SiT",
    "relvit": "RelViT",
}
NETWORKS = {"vit-tiny": 192, "vit-small": 384, "vit-base": 768}
"""Widths of the networks."""


@dataclass(frozen=True)
class Wishes:
    """The command line.

    Attributes:
        data: the folder of photos.
        method: a key of ``METHODS``.
        network: a key of ``NETWORKS``; ``None`` leaves it to the machine, or to the weights.
        weights: a file to go on from; ``None``: random weights.
        hours: how long the run may take; ``None``: as long as ``epochs``, or the rule, says.
        epochs: passes over the photos.
        batch: images per step; ``None`` leaves it to the machine and the photos.
        list_file: a list of the images to take.
        preset: ``'cpu'``, ``'gpu'`` or ``'auto'``.
    """

    data: str
    method: str = "sere"
    network: str | None = None
    weights: str | None = None
    hours: float | None = None
    epochs: int | None = None
    batch: int | None = None
    list_file: str | None = None
    preset: str = "auto"

    def given(self) -> dict[str, Any]:
        """What was asked for, by name; what was left open is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}
