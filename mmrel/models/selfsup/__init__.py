"""Self-supervised algorithms: the skeletons and the methods on them."""

from mmrel.models.selfsup.dino import DINO
from mmrel.models.selfsup.ibot import IBOT
from mmrel.models.selfsup.self_supervised import SelfSupervised
from mmrel.models.selfsup.sere import SERE
from mmrel.models.selfsup.student_teacher import StudentTeacher

__all__ = ["DINO", "IBOT", "SERE", "SelfSupervised", "StudentTeacher"]
