"""SelfPatch: patch-level representation learning for ViTs (Yun et al., CVPR 2022, arXiv 2206.07990).

Follows the official code, of which it keeps the wrap-around of neighbourhoods and the class centre over all crops.

One step::

    views = augment(crops)                                   # models/data_preprocessors/view_preprocessor.py
    s, t = student(all crops), teacher(all crops)            # models/backbones/vit.py
    near = per patch of t, its most similar neighbours       # ops/neighbours.py
    image tokens, targets = aggregate(all), aggregate(near)  # models/necks/neighbour_aggregation.py
    loss_cls = mean over v != q of CE(t[q] - center, s[v])   # models/heads/distillation.py
    loss_patch = CE(targets - center, patches of s)          # models/heads/patch_distillation.py
    step(loss_cls + 0.1 loss_patch)                          # engine/optimizers/selfsup_optim_wrapper.py
    teacher and centers follow                               # models/selfsup/student_teacher.py
"""

from mmrel.models.contracts import PartOrConfig, ViTBackbone, build_part
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS


@MODELS.register_module()
class SelfPatch(StudentTeacher):
    """DINO on image tokens, plus distillation of each patch from those neighbours that are most like it.

    Args:
        backbone: ``mmrel.ViT`` with ``with_cls_token=False`` and ``final_norm=False``.
        neck: ``mmrel.NeighbourAggregation``.
        head: ``mmrel.DistillationHead``, for image tokens across views.
        patch_head: ``mmrel.PatchDistillationHead``, for all patches of the same view.
        data_preprocessor: ``mmrel.ViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: the backbone has a class token or a final norm, which would not be trained.
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
        vit = build_part(backbone, ViTBackbone)
        if vit.cls_token is not None or vit.final_norm:
            raise ValueError(
                "the backbone has a class token or a final norm, which SelfPatch does not use; build it with "
                "with_cls_token=False and final_norm=False"
            )
        super().__init__(
            backbone=vit,
            neck=dict(projection=neck),
            head=dict(distillation=head, patch_distillation=patch_head),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
