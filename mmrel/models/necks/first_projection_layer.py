"""The first layer of a pretrained projection head, kept for fine-tuning on few labels.

SimCLR v2 (arXiv 2006.10029, section 2) fine-tunes from a middle layer of the projection head when labels are few; iBOT
(arXiv 2111.07832) does so for 1 % and 10 % of ImageNet with the first layer of its head.
"""

from collections.abc import Mapping
from typing import Any

from mmcv.cnn import build_activation_layer
from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrel.models.backbones.pretrained import InitCfg, clean_init_cfg, is_pretrained
from mmrel.models.layers import build_norm
from mmrel.models.necks.class_attention import Aggregator
from mmrel.registry import MODELS
from mmrel.structures import TokenViews
from mmrel.utils.checkpoint_content import check_weights
from mmrel.utils.checkpoint_file import read_checkpoint
from mmrel.utils.text import listed

CLS_PROJECTOR = "cls_projector."


@MODELS.register_module()
class FirstProjectionLayer(BaseModule):
    """Linear layer, norm if the head has one, activation; in front of a classification head.

    The defaults are for the heads of DINO, iBOT and SERE. MoCo v3's has ``hidden_channels=4096,
    norm_cfg=dict(type="SyncBN"), act_cfg=dict(type="ReLU")``. SelfPatch's projects the summary of all patches instead
    of a class token: ``aggregator=dict(num_heads=6)``. The tensors have the names that they have in the head.

    Args:
        in_channels: C, width of the backbone.
        hidden_channels: width of the layer.
        norm_cfg: norm after the linear layer, which then has no bias; ``None``: no norm.
        act_cfg: activation.
        aggregator: ``num_heads`` and ``depth`` of SelfPatch's class attention, which then gives the vector that is
            projected; ``None``: the class token.
        init_cfg: ``dict(type="Pretrained", checkpoint=..., prefix="teacher.neck.projection.")`` takes the layer from a
            checkpoint of the pretraining, where every tensor must be; with ``checkpoint=None``, linear layers have
            truncated normal weights of std 0.02 and biases 0.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 2048,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        aggregator: Mapping[str, Any] | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        drawn = dict(type="TruncNormal", layer="Linear", std=0.02)
        super().__init__(clean_init_cfg(init_cfg) or drawn)
        layers: list[nn.Module] = [nn.Linear(in_channels, hidden_channels, bias=norm_cfg is None)]
        if norm_cfg is not None:
            layers.append(build_norm(norm_cfg, hidden_channels))
        layers.append(build_activation_layer(act_cfg or dict(type="GELU")))
        self.mlp = nn.Sequential(*layers)
        self.aggregator = None if aggregator is None else Aggregator(in_channels, **aggregator)

    def forward(self, tokens: TokenViews) -> tuple[Tensor]:
        """``(n, hidden_channels)`` in a tuple."""
        if self.aggregator is None:
            return (self.mlp(tokens.feature("cls")),)
        summary = self.aggregator.over_crops(tokens.prenorm_patches)
        return (self.mlp(self.aggregator.norm(summary)),)

    def init_weights(self) -> None:
        """Load the layer from the checkpoint that ``init_cfg`` names, or draw it.

        Raises:
            FileNotFoundError: the checkpoint does not exist.
            ValueError: it lacks a tensor of the layer, or has it in another shape.
        """
        settings: Any = self.init_cfg
        if not is_pretrained(settings):
            super().init_weights()
            print_log("the projection's first layer starts from random weights", "current")
            return
        source, prefix = str(settings["checkpoint"]), settings.get("prefix") or ""
        with get_local_path(source) as path:
            loaded = check_weights(read_checkpoint(path), source)
        state = self._own(loaded.get("state_dict", loaded), prefix, source)
        self.load_state_dict(state)
        print_log(f"{source}: all {len(state)} tensors of the projection's first layer", "current")

    def _own(self, given: Mapping[str, Any], prefix: str, source: str) -> dict[str, Tensor]:
        """This layer's tensors among those of a checkpoint, all of them and of the right shape."""
        state, problems = {}, []
        for name, own in self.state_dict().items():
            inner = CLS_PROJECTOR if self.aggregator and name.startswith("mlp.") else ""
            key = f"{prefix}{inner}{name}"
            found = given.get(key)
            if not isinstance(found, Tensor):
                problems.append(f"{key} (missing)")
            elif found.shape != own.shape:
                problems.append(f"{key} (there {tuple(found.shape)}, here {tuple(own.shape)})")
            else:
                state[name] = found
        if problems:
            raise ValueError(
                f"{source!r} does not hold the first layer of this projection head: {listed(problems, 8)}. Give a "
                "checkpoint of the pretraining itself (an exported backbone has no head), the head's init_cfg.prefix, "
                "and in_channels, hidden_channels and norm_cfg as in the pretraining."
            )
        return state
