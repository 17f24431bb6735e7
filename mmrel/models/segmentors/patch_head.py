"""A linear classifier of patches, as SERE is fine-tuned on ImageNet-S (arXiv 2206.05184)."""

from typing import Any

from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional as F

from mmrel.registry import MODELS


@MODELS.register_module()
class PatchHead(BaseDecodeHead):
    """A new layer norm on the patch tokens and one linear layer, whose logits are enlarged.

    The loss compares the enlarged logits with the mask, which is brought to their size by taking the nearest pixel;
    mmseg's heads bring the logits to the size of the mask. For prediction the logits stay at that size:
    :class:`~mmrel.models.segmentors.patch_segmentor.PatchSegmentor` brings them to the photo's.

    Args:
        in_channels: width of the backbone.
        num_classes: classes with the background.
        upsample: by how much the logits are enlarged.
        std: of the truncated normal distribution that the linear layer starts from; its bias starts at 0.
        dropout_ratio: share of channels that are left out.
        **kwargs: arguments of mmseg's ``BaseDecodeHead``.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        upsample: int = 2,
        std: float = 2e-5,
        dropout_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        start = dict(type="TruncNormal", std=std, bias=0.0, override=dict(name="conv_seg"))
        super().__init__(
            in_channels=in_channels,
            channels=in_channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            init_cfg=start,
            **kwargs,
        )
        self.upsample = upsample
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits ``(B, classes, upsample * h, upsample * w)`` of the backbone's maps ``(B, C, h, w)``."""
        tokens = self._transform_inputs(inputs).permute(0, 2, 3, 1)
        logits = self.cls_seg(self.norm(tokens).permute(0, 3, 1, 2))
        return F.interpolate(logits, scale_factor=self.upsample, mode="bilinear")

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """mmseg's loss, with the masks at the size of the logits."""
        labels = self._stack_batch_gt(batch_data_samples)
        nearest = F.interpolate(labels.float(), size=seg_logits.shape[2:], mode="nearest")
        small = [
            SegDataSample(gt_sem_seg=PixelData(data=each)) for each in nearest.to(labels.dtype)
        ]
        return super().loss_by_feat(seg_logits, small)

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """The logits as they are."""
        return seg_logits
