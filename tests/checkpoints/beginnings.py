"""Models that begin with a file, for the tests of going on from weights."""

from pathlib import Path
from typing import Any

import torch
from checkpoints import official
from checkpoints.official import save
from test_full import ARCH
from torch import Tensor, nn

from mmrel.checkpoints.continuation import Continuation, continue_from
from mmrel.registry import MODELS
from mmrel.utils.checkpoint_file import read_checkpoint

State = dict[str, Tensor]


def dino(**backbone: Any) -> Any:
    network = MODELS.build(
        dict(
            type="mmrel.DINO",
            backbone=dict(type="mmrel.ViT", arch=ARCH, **backbone),
            neck=dict(
                type="mmrel.PrototypeProjection",
                in_channels=official.WIDTH,
                out_channels=5,
                hidden_channels=32,
                bottleneck_channels=16,
            ),
            head=dict(type="mmrel.DistillationHead", out_channels=5),
        )
    )
    network.init_weights()
    return network


def relvit(**backbone: Any) -> Any:
    head = dict(type="mmrel.PatchPositionHead", in_channels=official.WIDTH, side=14)
    vit = dict(type="mmrel.ViT", arch=ARCH, use_pos_embed=False, **backbone)
    return MODELS.build(dict(type="mmrel.RelViT", backbone=vit, head=dict(position=head)))


def begin(network: nn.Module, content: Any, tmp_path: Path) -> Continuation:
    """What a run does with ``load_from``: the state that it gets must fit strictly."""
    path = save(content, tmp_path / "given.pth")
    found = continue_from(network, read_checkpoint(path), str(path))
    result = network.load_state_dict(found.state, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    return found


def same(network: nn.Module, wanted: State) -> bool:
    own = network.state_dict()
    return all(torch.equal(own[key], wanted[key]) for key in own if key in wanted)
