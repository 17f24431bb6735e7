"""DINO: self-distillation with no labels (Caron et al., ICCV 2021, arXiv 2104.14294)."""

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
