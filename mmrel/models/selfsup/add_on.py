"""What every add-on is: a base algorithm, taken over part by part, with further necks and heads.

SERE and Gram anchoring contain no copy of a base and know none by name. The state dict is the base's and that of the
added parts.
"""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmrel.models.contracts import PartOrConfig
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS


class AddOn(StudentTeacher):
    """A base with more necks and heads. The base decides whether batches hold local crops.

    Args:
        base: it gives its parts away.
        neck: named necks, after the base's.
        head: named heads, after the base's.
        data_preprocessor: the base's by default.
        init_cfg: MMEngine's initialisation config, the base's by default.
    """

    def __init__(
        self,
        base: StudentTeacher,
        neck: Mapping[str, PartOrConfig],
        head: Mapping[str, PartOrConfig],
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=base.backbone,
            neck={**dict(base.neck.items()), **neck},
            head={**dict(base.head.items()), **head},
            data_preprocessor=data_preprocessor or base.data_preprocessor,
            init_cfg=init_cfg or base.init_cfg,
        )
        self.local_crops = base.local_crops  # type: ignore[misc]  # the base decides, not this class


def build_base(base: dict[str, Any] | nn.Module, name: str) -> StudentTeacher:
    """A base algorithm from its config, or a copy of one.

    Args:
        base: config or module.
        name: of the add-on, for the message.

    Raises:
        TypeError: it has no teacher.
    """
    built = copy.deepcopy(base) if isinstance(base, nn.Module) else MODELS.build(base)
    if not isinstance(built, StudentTeacher):
        raise TypeError(
            f"base is {type(built).__name__}; {name} is carried by a student-teacher algorithm "
            "such as mmrel.IBOT or mmrel.DINO"
        )
    return built
