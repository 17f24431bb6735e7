"""RelViT's joint mode (arXiv 2206.00481): classification together with its pretext tasks, from scratch.

The public code calls it "downstream-only".
"""

from collections.abc import Mapping
from typing import Any

from mmengine.model import ModuleDict
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from mmrel.models.selfsup.relvit import pretext_heads
from mmrel.models.selfsup.self_supervised import Built, build_part
from mmrel.registry import MODELS


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

    def __init__(
        self,
        backbone: Built,
        pretext: Mapping[str, Built | None],
        neck: Built,
        head: Built,
        patch_tokens: Built | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        self.patch_tokens = build_part(patch_tokens or dict(type="mmrel.PatchTokens"))
        self.pretext = ModuleDict(
            {name: build_part(part) for name, part in pretext_heads(pretext).items()}
        )

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
        patches = self.patch_tokens(tokens)
        for head in self.pretext.values():
            for name, value in head(patches).items():
                losses[name] = value * head.loss_weight if "loss" in name else value
        return losses
