"""Self-supervised algorithms: the student-teacher skeleton and the methods on it."""

from mmrel.models.selfsup.dino import DINO
from mmrel.models.selfsup.ibot import IBOT
from mmrel.models.selfsup.sere import SERE
from mmrel.models.selfsup.student_teacher import StudentTeacher

__all__ = ["DINO", "IBOT", "SERE", "StudentTeacher"]
