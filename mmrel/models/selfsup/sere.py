"""SERE: exploring feature self-relation for self-supervised transformers (TPAMI 2023, arXiv 2206.05184).

An add-on: two relation heads, and a factor on the losses of the base that carries them. Over a base
with m loss terms the total is ``(m + 2 - alpha - beta) / m * base + alpha * spatial + beta * channel``: the weights
of all terms sum to m + 2 (with iBOT's two terms, 4). This reading for bases other than iBOT is ours.

One step::

    s, t, base = tokens of both networks, losses of the base    # models/selfsup/student_teacher.py
    s, t = predict(project(s)), project(t)                      # models/necks/self_relation.py
    where = lattice over the overlap of two crops               # ops/overlap.py
    loss_spatial = CE of token-by-token relations at where      # models/heads/relation.py, ops/relation.py
    loss_channel = CE of channel-by-channel relations           # models/heads/relation.py, ops/relation.py
    step(factor base + alpha loss_spatial + beta loss_channel)  # engine/optimizers/selfsup_optim_wrapper.py
    teacher and centers follow                                  # models/selfsup/student_teacher.py
"""

from typing import Any

from mmrel.models.contracts import PartOrConfig, ViTBackbone, build_part
from mmrel.models.selfsup.add_on import AddOn, build_base
from mmrel.models.selfsup.student_teacher import StudentTeacher
from mmrel.ops.relation import check_heads
from mmrel.registry import MODELS

SPATIAL, CHANNEL = "spatial_relation", "channel_relation"


@MODELS.register_module()
class SERE(AddOn):
    """A base algorithm with self-relation.

    Args:
        base: config of any :class:`StudentTeacher` algorithm (iBOT, DINO, ...), or such a module, which is copied; it
            is taken over part by part, so the state dict is the base's plus ``neck.{spatial,channel}_relation.*``.
        alpha: weight of the spatial relation; 0 leaves its head out.
        beta: weight of the channel relation; 0 leaves its head out.
        num_heads: groups of channels in the spatial relation; ``None`` takes the backbone's.
        overlap_side: lattice points per side in the overlap of two global views.
        local_overlap_side: the same for a local and a global view.
        spatial_temperature: teacher temperature of the spatial relation.
        channel_temperature: teacher temperature of the channel relation.
        local: whether the batches hold local crops; ``None``: if the base can use them.
        norm_cfg: batch norm in the relation necks.
        data_preprocessor: the base's by default.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        base: dict[str, Any] | StudentTeacher,
        alpha: float = 0.2,
        beta: float = 0.5,
        num_heads: int | None = None,
        overlap_side: int = 13,
        local_overlap_side: int = 6,
        spatial_temperature: float = 0.5,
        channel_temperature: float = 0.1,
        local: bool | None = None,
        norm_cfg: dict[str, Any] | None = None,
        data_preprocessor: PartOrConfig | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        base = build_base(base, "SERE")
        if base.early_teacher is not None:
            raise ValueError(
                f"base is {type(base).__name__}, whose early teacher is no part of what SERE weighs anew; put "
                "mmrel.GramAnchoring around mmrel.SERE"
            )
        weights = {SPATIAL: alpha, CHANNEL: beta}
        if min(weights.values()) < 0:
            raise ValueError(f"alpha is {alpha} and beta is {beta}; both must be at least 0")
        backbone = build_part(base.backbone, ViTBackbone)
        num_heads = num_heads or backbone.num_heads
        check_heads(backbone.embed_dims, num_heads)
        heads: dict[str, dict[str, Any]] = {
            SPATIAL: dict(
                type="mmrel.SpatialRelationHead",
                num_heads=num_heads,
                overlap_side=overlap_side,
                local_overlap_side=local_overlap_side,
                teacher_temperature=spatial_temperature,
            ),
            CHANNEL: dict(
                type="mmrel.ChannelRelationHead", teacher_temperature=channel_temperature
            ),
        }
        neck = dict(
            type="mmrel.SelfRelation",
            in_channels=backbone.embed_dims,
            local=base.local_crops if local is None else local,
            norm_cfg=norm_cfg or dict(type="SyncBN"),
        )
        used = [name for name, weight in weights.items() if weight > 0]
        reweight_base(base, alpha, beta)
        super().__init__(
            base=base,
            neck={name: neck for name in used},
            head={name: dict(heads[name], neck=name, loss_weight=weights[name]) for name in used},
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )


def reweight_base(base: StudentTeacher, alpha: float, beta: float) -> None:
    """Scale the base's loss weights by ``(m + 2 - alpha - beta) / m``, m being its number of loss terms."""
    num_terms = sum(len(head.terms) for head in base.head.values())
    for head in base.head.values():
        head.loss_weight *= (num_terms + 2 - alpha - beta) / num_terms
