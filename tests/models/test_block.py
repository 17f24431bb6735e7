"""The block against mmpretrain's own: the same draws, values and gradients, bit for bit."""

import copy

import pytest
import torch
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmrel.models.backbones.block import Block

WIDTH = 24


def host_block(**kwargs: object) -> TransformerEncoderLayer:
    settings = dict(embed_dims=WIDTH, num_heads=3, feedforward_channels=4 * WIDTH)
    torch.manual_seed(0)
    block = TransformerEncoderLayer(**(settings | kwargs))
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block


def run(block: nn.Module, tokens: Tensor) -> list[Tensor]:
    """Output, gradients of the input and of the parameters, and the next number of the generator."""
    block.zero_grad()
    tokens = tokens.clone().requires_grad_()
    torch.manual_seed(3)
    output = block(tokens)
    (
        output * torch.linspace(-1, 1, output.numel()).view_as(output).to(output.dtype)
    ).sum().backward()
    return [output, tokens.grad, *(p.grad for p in block.parameters()), torch.rand(1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "settings",
    [
        dict(),
        dict(drop_path_rate=0.4),
        dict(drop_path_rate=0.4, drop_rate=0.2, attn_drop_rate=0.2),
        dict(drop_path_rate=0.4, layer_scale_init_value=0.1),
        dict(drop_path_rate=0.4, ffn_type="swiglu_fused"),
        dict(qkv_bias=False),
    ],
)
def test_block__bit_equal_to_the_host(settings: dict, dtype: torch.dtype) -> None:
    host = host_block(**settings).to(dtype)
    block = Block(copy.deepcopy(host))
    assert list(block.state_dict()) == list(host.state_dict())
    tokens = torch.randn(7, 10, WIDTH, dtype=dtype)
    for training in (True, False):
        for ours, theirs in zip(
            run(block.train(training), tokens), run(host.train(training), tokens), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_attention__alone_equals_the_host() -> None:
    host = host_block(drop_path_rate=0.4, attn_drop_rate=0.2)
    block = Block(copy.deepcopy(host))
    tokens = torch.randn(7, 10, WIDTH)
    for ours, theirs in zip(run(block.attn, tokens), run(host.attn, tokens), strict=True):
        assert torch.equal(ours, theirs)


def test_block__drop_rates_are_plain_floats() -> None:
    """A numpy scalar, as mmpretrain gives, is not traced by torch.compile."""
    block = Block(host_block(drop_path_rate=torch.linspace(0, 0.5, 3).numpy()[1]))
    assert type(block.attn.out_drop.drop_prob) is type(block.ffn.dropout_layer.drop_prob) is float
