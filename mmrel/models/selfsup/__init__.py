"""Self-supervised algorithms: the skeletons and the methods on them."""

from mmrel.models.selfsup.dino import DINO
from mmrel.models.selfsup.gram_anchoring import GramAnchoring
from mmrel.models.selfsup.ibot import IBOT
from mmrel.models.selfsup.mocov3 import MoCoV3
from mmrel.models.selfsup.relvit import RelViT
from mmrel.models.selfsup.self_supervised import SelfSupervised
from mmrel.models.selfsup.selfpatch import SelfPatch
from mmrel.models.selfsup.sere import SERE
from mmrel.models.selfsup.sit import SiT
from mmrel.models.selfsup.student_teacher import StudentTeacher

__all__ = [
    "DINO",
    "IBOT",
    "SERE",
    "GramAnchoring",
    "MoCoV3",
    "RelViT",
    "SelfPatch",
    "SelfSupervised",
    "SiT",
    "StudentTeacher",
]
