"""What a pretraining configuration says where it goes on from released weights and must not wreck them.

The same settings as ``configs/_base_/going_on.py`` has for use by hand.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrel.utils.algorithm import algorithm_of, with_bases
from mmrel.utils.errors import UsageError

BACKBONE_LR = 0.1
"""Factor of the backbone's learning rate."""

WARMUP_EPOCHS = 2
"""The learning rate rises while the backbone rests, and for as long after it."""

FREEZABLE = ("ViT", "MoCoV3ViT")
"""Backbones whose ``frozen_stages=0`` keeps the embeddings."""


def going_on_options(
    config: Any,
    weights: str | Path,
    gram_weight: float = 0.0,
    keep_embeddings: bool | None = None,
) -> dict[str, Any]:
    """Settings to merge into a configuration.

    - ``load_from``: the file goes into student and teacher, and the early teacher.
    - ``default_hooks.freeze_backbone``: the backbone rests while fresh necks and heads are warmed.
    - ``default_hooks.teacher_update``, where there is a teacher: it follows the necks meanwhile, and keeps a tenth of
      the weights by the end of the run.
    - ``optim_wrapper.paramwise_cfg.backbone_lr_mult`` and ``recipe.warmup_epochs``: a lower learning rate.
    - ``model``: embeddings kept (``frozen_stages=0``), and Gram anchoring around it if it is asked for.

    Numbers that depend on the length of the run are ``"auto"`` (:mod:`mmrel.engine.automatic`).

    Args:
        config: of the pretraining (``mmengine.Config``), whose model is read.
        weights: any file that ``load_from`` takes.
        gram_weight: of Gram anchoring; 0 leaves it out. DINOv3 takes 2.
        keep_embeddings: whether patch kernel, positions and class token stay as they are; ``None``: if images have
            three channels, since weights for other numbers of channels are only derived from those in the file.

    Raises:
        UsageError: Gram anchoring for a model without a teacher, or around another one.
    """
    model = _plain(config.model)
    algorithm = algorithm_of(model)
    backbone = algorithm["backbone"]
    kept = _kept(backbone, keep_embeddings)
    backbone |= kept
    hooks = dict(freeze_backbone=dict(type="mmrel.FreezeBackboneHook", epochs="auto"))
    has_teacher = bool((config.get("default_hooks") or {}).get("teacher_update"))
    if has_teacher:
        hooks["teacher_update"] = dict(momentum="auto", frozen_momentum="auto")
    options = dict(
        load_from=str(weights),
        recipe=dict(going_on=True, warmup_epochs=WARMUP_EPOCHS),
        optim_wrapper=dict(paramwise_cfg=dict(backbone_lr_mult=BACKBONE_LR)),
        default_hooks=hooks,
    )
    if not gram_weight:
        return {**options, **({"model": _inside(model, dict(backbone=kept))} if kept else {})}
    _check_anchoring(model, has_teacher)
    hooks["early_teacher"] = dict(type="mmrel.EarlyTeacherHook")
    anchored = dict(_delete_=True, type="mmrel.GramAnchoring", base=model, weight=gram_weight)
    return {**options, "model": anchored}


def _kept(backbone: Mapping[str, Any], keep: bool | None) -> dict[str, int]:
    """Settings that keep the embeddings of a plain ViT, unless the configuration freezes more."""
    kind = str(backbone.get("type")).rpartition(".")[2]
    if keep is None:
        keep = kind in FREEZABLE and backbone.get("in_channels", 3) == 3
    return dict(frozen_stages=max(0, backbone.get("frozen_stages", -1))) if keep else {}


def _check_anchoring(model: Mapping[str, Any], has_teacher: bool) -> None:
    kinds = [str(part.get("type", "")).rpartition(".")[2] for part in with_bases(model)]
    if not has_teacher:
        raise UsageError(
            f"Gram anchoring compares with an earlier state of the teacher, but {kinds[-1]} has no teacher. Choose "
            "another method (DINO, iBOT, MoCo v3, SelfPatch, SiT, SERE), or leave the anchoring out."
        )
    if "GramAnchoring" in kinds:
        raise UsageError(
            "The configuration's model is mmrel.GramAnchoring already. Leave the anchoring out here, or give the "
            "configuration of its base."
        )


def _inside(model: Mapping[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Changes of the algorithm that add-ons are around, as changes of the model."""
    for _ in list(with_bases(model))[1:]:
        changes = dict(base=changes)
    return changes


def _plain(value: Any) -> Any:
    """Dicts and lists of a configuration as Python's own, copied; tuples hold numbers alone."""
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return value
