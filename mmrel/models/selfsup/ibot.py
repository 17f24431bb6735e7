"""iBOT: image BERT pre-training with online tokenizer (Zhou et al., ICLR 2022, arXiv 2111.07832).

One step::

    masks = blocks of patches, per global crop               # datasets/transforms/block_mask.py
    views = augment(crops)                                   # models/data_preprocessors/view_preprocessor.py
    s, t = student(all crops, masks), teacher(global crops)  # models/backbones/vit.py
    s, t = logits of class tokens and of hidden patches      # models/necks/projection.py
    loss_cls = mean over v != q of CE(t[q] - center, s[v])   # models/heads/distillation.py
    loss_patch = CE(t - center, s) at hidden patches         # models/heads/masked_distillation.py
    step(loss_cls + loss_patch)                              # engine/optimizers/selfsup_optim_wrapper.py
    teacher and centers follow                               # models/selfsup/student_teacher.py
"""

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
