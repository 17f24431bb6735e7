"""iBOT: image BERT pre-training with online tokenizer (Zhou et al., ICLR 2022, arXiv 2111.07832)."""

from mmrel.models.contracts import PartOrConfig
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS


@MODELS.register_module()
class IBOT(StudentTeacher):
    """DINO on class tokens, plus the same distillation on the patches that the student does not see.

    Args:
        backbone: ``mmrel.ViT`` with ``mask_token=True``.
        neck: ``mmrel.PrototypeProjection`` with ``patches=True``.
        head: ``mmrel.DistillationHead``, for class tokens across views.
        patch_head: ``mmrel.MaskedDistillationHead``, for hidden patches of the same view.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        backbone: PartOrConfig,
        neck: PartOrConfig,
        head: PartOrConfig,
        patch_head: PartOrConfig,
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            neck=dict(projection=neck),
            head=dict(distillation=head, masked_distillation=patch_head),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
