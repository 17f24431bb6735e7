"""DINO: self-distillation with no labels (Caron et al., ICCV 2021, arXiv 2104.14294).

One step::

    views = augment(crops)                              # models/data_preprocessors/view_preprocessor.py
    s, t = student(all crops), teacher(global crops)    # models/backbones/vit.py
    s, t = logits(s.cls), logits(t.cls)                 # models/necks/projection.py
    loss = mean over v != q of CE(t[q] - center, s[v])  # models/heads/distillation.py, ops/distillation.py
    step(loss)                                          # engine/optimizers/selfsup_optim_wrapper.py
    teacher = m teacher + (1 - m) student               # models/selfsup/student_teacher.py
    center = c center + (1 - c) mean(t)                 # models/heads/center.py
"""

from mmrel.models.contracts import PartOrConfig
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS


@MODELS.register_module()
class DINO(StudentTeacher):
    """The student matches the teacher's prototype distribution of another view's class token.

    Args:
        backbone: ``mmrel.ViT``.
        neck: ``mmrel.PrototypeProjection``.
        head: ``mmrel.DistillationHead``.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

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
            head=dict(distillation=head),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
