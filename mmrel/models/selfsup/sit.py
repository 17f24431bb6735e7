"""SiT: self-supervised vision transformer (Atito, Awais and Kittler, arXiv 2104.03602, version 3).

This is the third published form: one class token, corruption by groups of connected pixels, reconstruction and
contrast, and a momentum teacher. The earlier forms, with rotation and learned task weights, are not offered.

One step::

    spots = groups of pixels to overwrite, per crop              # datasets/transforms/corruption.py
    views = augment(crops); dirty = overwrite(views, spots)      # models/data_preprocessors/corrupting.py
    s, t = student(dirty), teacher(views)                        # models/backbones/vit.py
    q, k = project(s.cls), project(t.cls)                        # models/necks/contrastive.py
    loss_contrast = info_nce(q[0], k[1]) + info_nce(q[1], k[0])  # models/heads/contrastive.py
    pixels = decode(s.patches)                                   # models/necks/pixel_decoder.py
    loss_recon = L1(pixels, views) at spots                      # models/heads/reconstruction.py
    step(loss_contrast + alpha loss_recon); teacher follows      # models/selfsup/student_teacher.py
"""

from typing import ClassVar

from mmrel.models.contracts import PartOrConfig
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.registry import MODELS


@MODELS.register_module()
class SiT(StudentTeacher):
    """The student sees corrupted crops, restores them, and finds the teacher's other, clean view of the image.

    Total loss: ``loss_contrast + alpha * loss_recon``; the class token learns from the first, the patch
    tokens from the second.

    Args:
        backbone: ``mmrel.ViT``.
        neck: ``mmrel.ContrastiveProjection`` without predictor and with ``joint_views=True``.
        decoder: ``mmrel.PixelDecoder``.
        head: ``mmrel.ContrastiveHead``.
        alpha: weight of the reconstruction, at least 0: 1 for data as large as ImageNet, 5 for small sets.
        data_preprocessor: ``mmrel.CorruptingViewPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    local_crops: ClassVar[bool] = False

    def __init__(
        self,
        backbone: PartOrConfig,
        neck: PartOrConfig,
        decoder: PartOrConfig,
        head: PartOrConfig,
        alpha: float = 1.0,
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if alpha < 0:
            raise ValueError(f"alpha is {alpha}; the reconstruction's weight must be at least 0")
        reconstruction = dict(type="mmrel.ReconstructionHead", loss_weight=alpha)
        super().__init__(
            backbone=backbone,
            neck=dict(projection=neck, decoder=decoder),
            head=dict(contrast=head, reconstruction=reconstruction),
            data_preprocessor=data_preprocessor or dict(type="mmrel.CorruptingViewPreprocessor"),
            init_cfg=init_cfg,
        )
