"""RelViT: "Where are my Neighbors? Exploiting Patches Relations in Self-Supervised Vision Transformer".

Camporese, Izzo, Ballan, BMVC 2022, arXiv 2206.00481. Everything here follows the public code's scripts
(github.com/guglielmocamporese/relvit).

One step::

    view = augment(crop), each patch by itself           # models/data_preprocessors/patch_augmenting.py
    tokens = backbone(view), which sees no positions     # models/backbones/vit.py
    patches = tokens in the order of the grid            # models/necks/patch_tokens.py
    loss_rel = CE(scores of all pairs, how i lies to j)  # models/heads/patch_relation.py, ops/patch_pairs.py
    loss_abs_pos = CE(logits of each patch, its place)   # models/heads/patch_relation.py, ops/patch_pairs.py
    step(loss_rel + loss_abs_pos)                        # models/selfsup/self_supervised.py
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from mmrel.models.contracts import GridBackbone, PartOrConfig, build_part
from mmrel.models.heads.grid import build_grid_heads
from mmrel.models.selfsup.self_supervised import SelfSupervised
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch


@MODELS.register_module()
class RelViT(SelfSupervised):
    """A ViT without positions tells from the patches' contents how they lie to each other.

    The loss is the plain sum of the heads'. There is no teacher, no second view and no contrastive term. The
    other two modes of the method are ``mmrel.RelViTClassifier`` (the same heads beside a supervised one, from
    scratch) and mmpretrain's ``ImageClassifier`` (fine-tuning of what was learnt here).

    Args:
        backbone: ``mmrel.ViT`` with ``use_pos_embed=False``, ``mmrel.Swin`` or ``mmrel.T2TViT``.
        head: by any names: ``mmrel.PatchRelationHead`` and ``mmrel.PatchPositionHead`` (the method), or also
            ``mmrel.PatchPairRegressionHead`` (its ablations). Their ``side`` and ``in_channels`` follow from the
            backbone. ``None`` switches a head off.
        neck: ``mmrel.PatchTokens`` by default.
        data_preprocessor: ``mmrel.PatchAugmentingPreprocessor`` by default.
        init_cfg: MMEngine's initialisation config.
    """

    local_crops: ClassVar[bool] = False

    compile_scope: ClassVar[str] = "whole"
    """One small network: a single graph compiles fast, and its kernels are short beside the launches that it saves."""

    compile_mode: ClassVar[str] = "reduce-overhead"
    """CUDA graphs: launching the kernels of so small a network takes longer than they run."""

    def __init__(
        self,
        backbone: PartOrConfig,
        head: Mapping[str, PartOrConfig | None],
        neck: PartOrConfig | None = None,
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        built = build_part(backbone, GridBackbone)
        super().__init__(
            backbone=built,
            neck=dict(patches=neck or dict(type="mmrel.PatchTokens")),
            head=build_grid_heads(head, built),
            data_preprocessor=data_preprocessor or dict(type="mmrel.PatchAugmentingPreprocessor"),
            init_cfg=init_cfg,
        )

    def forward(self, inputs: Any, data_samples: list | None = None, mode: str = "tensor") -> Any:
        """MMEngine's entry; as the parent's, and mode ``'predict'``, which ``mmrel.HeldOutLoss`` reads.

        In that mode the result is a list of one dict of scalars: ``num_images``, the heads' losses and statistics
        by their names, and ``total``, the sum of the losses. They are a plain function of network and images, so
        that they mean the same on images that are not trained on.
        """
        if mode == "predict":
            return [self._held_out(inputs)]
        return super().forward(inputs, data_samples, mode)

    def _held_out(self, views: ViewBatch) -> dict[str, Tensor | int]:
        losses = self.loss(views)
        losses.pop("stat/feature_std")  # of a batch, not a mean over images
        total = sum(value for name, value in losses.items() if "loss" in name)
        return {"num_images": views.batch_size, "total": total, **losses}
