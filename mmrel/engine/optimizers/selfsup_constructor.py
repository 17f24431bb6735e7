"""Parameter groups of DINO, iBOT, SERE and MoCo v3.

Two groups: the first follows the weight-decay schedule, the second has no weight decay and is left out if it is empty.
Where the backbone has a learning rate of its own, it has two such groups for itself, before the others.

- rule ``"dino"`` (DINO, arXiv 2104.14294, and iBOT): names ending in ``.bias`` and one-dimensional
  parameters are not decayed.
- rule ``"sere"`` (SERE, arXiv 2206.05184): biases *are* decayed, also those of norm layers; other
  one-dimensional parameters are not.
- rule ``"all"`` (MoCo v3, arXiv 2104.02057; RelViT, arXiv 2206.00481): every trained parameter is decayed.

In all of them, class token, position embedding, mask token and the last layer's ``weight_v`` are decayed, and so
is ``weight_g`` (K, 1) if it is trained. Frozen parameters are in no group unless asked for; MMEngine's own
constructor has them in its group, and so have the checkpoints that were written with it.
"""

import copy
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmrel.registry import OPTIM_WRAPPER_CONSTRUCTORS

DECAY_RULES = ("dino", "sere", "all")
FUSED_OPTIMIZERS = ("Adam", "AdamW", "SGD", "Adagrad")


def is_decayed(name: str, parameter: nn.Parameter, rule: str) -> bool:
    """Whether a trained parameter belongs to the decayed group.

    Args:
        name: its full name in the model.
        parameter: the parameter.
        rule: ``"dino"``, ``"sere"`` or ``"all"``.
    """
    if rule == "all":
        return True
    if name.endswith(".bias") or name == "bias":
        return rule == "sere"
    return parameter.ndim > 1


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SelfSupOptimWrapperConstructor:
    """Builds the optimizer with one decayed and, by the rule, one not decayed group, and its wrapper.

    On a CUDA device, Adam, AdamW and SGD are built with ``fused=True`` unless the configuration says
    ``fused`` or ``foreach``: one kernel per group, and a step that the device can gate.

    Args:
        optim_wrapper_cfg: the wrapper's configuration with its ``optimizer``.
        paramwise_cfg: ``dict(decay_rule="dino" | "sere" | "all")``; without it, ``"dino"``. With
            ``with_frozen=True``, parameters that are not trained are in the groups too. ``backbone_lr_mult`` (1.0), in
            (0, 1]: factor of the backbone's learning rate, for going on from weights that are to be kept.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        self.wrapper_cfg = copy.deepcopy(dict(optim_wrapper_cfg))
        self.optimizer_cfg = self.wrapper_cfg.pop("optimizer")
        options = dict(paramwise_cfg or {})
        self.rule = options.pop("decay_rule", "dino")
        self.with_frozen = bool(options.pop("with_frozen", False))
        self.backbone_lr_mult = float(options.pop("backbone_lr_mult", 1.0))
        if not 0 < self.backbone_lr_mult <= 1:
            raise ValueError(
                f"paramwise_cfg.backbone_lr_mult is {self.backbone_lr_mult}; it must lie in (0, 1]. To keep parts of "
                "the backbone as they are, set its frozen_stages."
            )
        if self.rule not in DECAY_RULES or options:
            raise ValueError(
                f"paramwise_cfg must be dict(decay_rule=...) with one of {DECAY_RULES} and perhaps "
                f"with_frozen=True and backbone_lr_mult, but is {dict(paramwise_cfg or {})!r}; other "
                "multipliers belong to MMEngine's DefaultOptimWrapperConstructor or to mmrel.LayerDecay."
            )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapper for ``model``, which may be wrapped for distributed training."""
        inner: nn.Module = getattr(model, "module", model)
        named = [
            (name, p) for name, p in inner.named_parameters() if p.requires_grad or self.with_frozen
        ]
        decayed = [p for name, p in named if is_decayed(name, p, self.rule)]
        plain = [p for name, p in named if not is_decayed(name, p, self.rule)]
        if not decayed or not (plain or self.rule == "all"):
            raise ValueError(
                f"{type(inner).__name__} has {len(decayed)} decayed and {len(plain)} not decayed "
                f"trained parameters, but each group of rule {self.rule!r} needs at least one; check which "
                "parameters require gradients."
            )
        optimizer_cfg = dict(self.optimizer_cfg)
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        if self.backbone_lr_mult != 1:
            groups = self._with_own_backbone(groups, inner)
        optimizer_cfg["params"] = [group for group in groups if group["params"]]
        open_choice = not {"fused", "foreach"} & set(optimizer_cfg)
        fusable = optimizer_cfg["type"] in FUSED_OPTIMIZERS
        if open_choice and fusable and all(p.is_cuda for _, p in named):
            optimizer_cfg["fused"] = True
        wrapper_cfg = {"type": "mmrel.SelfSupOptimWrapper", **self.wrapper_cfg}
        optimizer = OPTIMIZERS.build(optimizer_cfg)
        return OPTIM_WRAPPERS.build(wrapper_cfg, default_args={"optimizer": optimizer})

    def _with_own_backbone(self, groups: list[dict[str, Any]], model: Any) -> list[dict[str, Any]]:
        """The groups, each split into the backbone's parameters, with a learning rate of their own, and the others.

        The others come last: theirs is the learning rate that is logged.
        """
        own = {id(parameter) for parameter in model.backbone.parameters()}
        lr = self.optimizer_cfg["lr"] * self.backbone_lr_mult
        inside, outside = (
            [{**g, "params": [p for p in g["params"] if (id(p) in own) == is_own]} for g in groups]
            for is_own in (True, False)
        )
        return [*({**group, "lr": lr} for group in inside), *outside]
