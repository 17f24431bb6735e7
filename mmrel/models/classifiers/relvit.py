"""RelViT's joint mode (arXiv 2206.00481): classification together with its pretext tasks, from scratch.

The public code calls it "downstream-only".
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from mmengine.model import ModuleDict
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmrel.models.contracts import PartOrConfig
from mmrel.models.heads.base import weighted
from mmrel.models.heads.grid import build_grid_heads
from mmrel.registry import MODELS
from mmrel.structures import TokenViews


@MODELS.register_module()
class RelViTClassifier(ImageClassifier):
    """mmpretrain's classifier whose patch tokens are also asked where they are.

    The losses are added without weights: ``loss_cls`` of the class and those of the pretext heads. The backbone
    has its position embedding, as the public code's scripts say. Predictions are the classifier's alone.

    Args:
        backbone: gives :class:`mmrel.structures.TokenViews`: ``mmrel.ViT``, ``mmrel.Swin`` or ``mmrel.T2TViT``.
        pretext: RelViT's heads by any names, as ``head`` of ``mmrel.RelViT``; ``None`` switches one off.
        neck: ``mmrel.TokenFeature``.
        head: of mmpretrain, for instance ``LinearClsHead``.
        patch_tokens: what the pretext heads read; ``mmrel.PatchTokens`` by default.
        **kwargs: as ``ImageClassifier``.
    """

    compiled_methods: ClassVar[tuple[str, ...]] = ("pretext_losses",)
    """What ``compile=True`` hands to torch.compile here, see :mod:`mmrel.engine.compilation`."""

    def __init__(
        self,
        backbone: PartOrConfig,
        pretext: Mapping[str, PartOrConfig | None],
        neck: PartOrConfig,
        head: PartOrConfig,
        patch_tokens: PartOrConfig | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        reader = patch_tokens or dict(type="mmrel.PatchTokens")
        self.patch_tokens = reader if isinstance(reader, nn.Module) else MODELS.build(reader)
        self.pretext = ModuleDict(build_grid_heads(pretext, self.backbone))

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Losses and statistics of one batch.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: with ``gt_label``.

        Returns:
            ``loss_cls``, and what the pretext heads return.
        """
        tokens = self.backbone(inputs)
        classified = self.head.loss(self.neck(tokens), data_samples)
        losses = {"loss_cls": classified.pop("loss"), **classified}
        return {**losses, **self.pretext_losses(tokens)}

    def pretext_losses(self, tokens: TokenViews) -> dict[str, Tensor]:
        """Losses and statistics of the pretext heads on the backbone's tokens."""
        patches = self.patch_tokens(tokens)
        losses: dict[str, Tensor] = {}
        for head in self.pretext.values():
            losses |= weighted(head, head(patches))
        return losses
