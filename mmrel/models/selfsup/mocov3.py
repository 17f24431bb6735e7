"""MoCo v3: training self-supervised vision transformers (Chen et al., ICCV 2021, arXiv 2104.02057).

What differs from the public code: the teacher moves after the optimiser's step and not before the next loss. The
sequence of updates is the same, each with the momentum of the iteration before.

One step::

    views = augment(crops)                              # models/data_preprocessors/view_preprocessor.py
    s, t = student(both crops), teacher(both crops)     # models/backbones/mocov3_vit.py
    q, k = predict(project(s.cls)), project(t.cls)      # models/necks/contrastive.py
    loss = info_nce(q[0], k[1]) + info_nce(q[1], k[0])  # models/heads/contrastive.py, ops/contrastive.py
    step(loss)                                          # engine/optimizers/selfsup_optim_wrapper.py
    teacher = m teacher + (1 - m) student               # models/selfsup/student_teacher.py
"""

from typing import ClassVar

from mmrel.models.contracts import PartOrConfig
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS


@MODELS.register_module()
class MoCoV3(StudentTeacher):
    """The student's view of an image finds the teacher's other view of it among the views of other images.

    Args:
        backbone: ``mmrel.MoCoV3ViT``.
        neck: ``mmrel.ContrastiveProjection``.
        head: ``mmrel.ContrastiveHead``.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    local_crops: ClassVar[bool] = False

    def __init__(
        self,
        backbone: PartOrConfig,
        neck: PartOrConfig,
        head: PartOrConfig,
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            neck=dict(projection=neck),
            head=dict(contrast=head),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
