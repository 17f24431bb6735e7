"""Gram anchoring (DINOv3, Siméoni et al., arXiv 2508.10104, section 4) on any student-teacher algorithm.

An add-on: one loss that keeps the similarities between patches near those of an early teacher, while the losses of the
base go on. Made for long runs, in which dense features get worse as the global ones get better; it also holds what
released weights know while training goes on with other images. What differs: the early teacher reads the crops of the
student in their own size; DINOv3 gives it the same crops undistorted and in twice the resolution.

One step::

    s, t, base = tokens of both networks, losses of the base  # models/selfsup/student_teacher.py
    g = early teacher(global crops)                           # models/selfsup/student_teacher.py
    s, g = patches of s, patches of g, of unit length         # models/necks/early_patches.py
    loss_gram = mean (s s^T - g g^T)^2                        # models/heads/gram.py, ops/gram.py
    step(base + weight loss_gram)                             # engine/optimizers/selfsup_optim_wrapper.py
    every so many steps, early teacher = teacher              # engine/hooks/early_teacher.py
"""

from typing import Any

from mmrel.models.contracts import PartOrConfig
from mmrel.models.selfsup.add_on import AddOn, build_base
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS

GRAM = "gram"


@MODELS.register_module()
class GramAnchoring(AddOn):
    """A base algorithm whose patch similarities are anchored.

    The early teacher is a snapshot of the teacher's backbone at the start of the run, so with ``load_from`` that of
    the file; ``mmrel.EarlyTeacherHook`` renews it. It is ``early_teacher.backbone.*`` in checkpoints.

    Args:
        base: config of any :class:`StudentTeacher` algorithm (iBOT, DINO, MoCo v3, SelfPatch, SERE, ...), or such a
            module, which is copied.
        weight: of the loss; the base's losses keep theirs. DINOv3 takes 2.
        data_preprocessor: the base's by default.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: a weight that is not above 0, or a base that is anchored already.
    """

    def __init__(
        self,
        base: dict[str, Any] | StudentTeacher,
        weight: float = 2.0,
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if weight <= 0:
            raise ValueError(
                f"weight is {weight}; it must be above 0 (DINOv3 takes 2). To train without Gram anchoring, make "
                "the base the model"
            )
        built = build_base(base, "Gram anchoring")
        if built.early_teacher is not None:
            raise ValueError(
                f"base is {type(built).__name__} with an early teacher already; anchor it once"
            )
        super().__init__(
            base=built,
            neck={GRAM: dict(type="mmrel.EarlyPatches")},
            head={GRAM: dict(type="mmrel.GramAnchoringHead", neck=GRAM, loss_weight=weight)},
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
