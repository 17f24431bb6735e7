"""Layer-wise learning-rate decay for a ViT inside a detector or segmentor.

The rule of BEiT and MAE, used by iBOT (arXiv 2111.07832) on COCO and ADE20K: with L blocks, the
embeddings have depth 0, block i depth i + 1, everything else depth L + 1, and the learning rate is
multiplied by decay^(L + 1 - depth). Different from iBOT's code: there ``pos_embed`` and
``cls_token`` are weight-decayed, because the exempting rule compares their full names; here
``custom_keys`` with ``'.pos_embed'`` and ``'.cls_token'`` exempt them, as mmpretrain does.
"""

from collections.abc import Callable
from typing import Any

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from mmrel.registry import OPTIM_WRAPPER_CONSTRUCTORS

KEYS = frozenset(
    {
        "layer_decay_rate",
        "norm_decay_mult",
        "bias_decay_mult",
        "flat_decay_mult",
        "custom_keys",
    }
)
TOKENS = ("mask_token", "register_tokens")
DepthFunction = Callable[[str], tuple[int, int]]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's constructor for models whose ViT is ``model.backbone``.

    ``paramwise_cfg`` takes ``layer_decay_rate`` (1.0), ``norm_decay_mult``, ``bias_decay_mult``,
    ``flat_decay_mult`` and ``custom_keys`` (``decay_mult`` only). Frozen parameters get no group.
    """

    def _validate_cfg(self) -> None:
        unknown = sorted(set(self.paramwise_cfg) - KEYS)
        if unknown:
            raise ValueError(
                f"LayerDecayOptimWrapperConstructor does not know paramwise_cfg key(s) {unknown}; "
                f"allowed: {sorted(KEYS)}. (mmdet's decay_rate and mmseg's layer_decay_rate are "
                "layer_decay_rate here.)"
            )
        rate = self.paramwise_cfg.get("layer_decay_rate", 1.0)
        if not 0 < rate <= 1:
            raise ValueError(
                f"layer_decay_rate is {rate}; it must lie in (0, 1]. 1 means no decay over depth, "
                "iBOT uses 0.65-0.9."
            )
        super()._validate_cfg()

    def __call__(self, model: Any) -> Any:
        """Build the optimiser wrapper of a model, which may be wrapped for distributed training."""
        while hasattr(model, "module"):
            model = model.module
        return super().__call__(model)

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = "",
        get_layer_depth: DepthFunction | None = None,
        **kwargs: Any,
    ) -> None:
        """Append one group per trainable parameter, with its learning rate and weight decay."""
        depth = get_layer_depth or depth_function(module)
        super().add_params(params, module, prefix=prefix, get_layer_depth=depth, **kwargs)


def depth_function(model: Any) -> DepthFunction:
    """How deep a parameter of ``model`` lies: name -> (depth, L + 2).

    Raises:
        ValueError: neither the model nor its backbone can tell.
    """
    if hasattr(model, "get_layer_depth"):
        return _with_tokens(model.get_layer_depth)
    backbone: Any = getattr(model, "backbone", None)
    if not hasattr(backbone, "get_layer_depth"):
        raise ValueError(
            "Layer-wise decay needs to know the depth of each parameter, but neither "
            f"{type(model).__name__} nor its backbone ({type(backbone).__name__}) has "
            "get_layer_depth(). Use mmrel.DenseViT or an mmpretrain backbone, or remove the "
            "constructor from optim_wrapper."
        )
    return _with_tokens(lambda name: backbone.get_layer_depth(name, prefix="backbone."))


def _with_tokens(depth: DepthFunction) -> DepthFunction:
    """mmpretrain does not know that mask and register tokens are embeddings."""

    def function(name: str) -> tuple[int, int]:
        found, count = depth(name)
        return (0, count) if name.split(".")[-1] in TOKENS else (found, count)

    return function
