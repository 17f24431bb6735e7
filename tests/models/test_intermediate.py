"""Tokens and attention of chosen blocks."""

from collections.abc import Callable

import pytest
import torch

from mmrel.models.backbones import DenseViT, ViT
from mmrel.models.backbones.dense_vit import check_blocks
from mmrel.models.backbones.intermediate import (
    block_attention,
    intermediate_tokens,
)

ARCH = dict(embed_dims=24, num_layers=4, num_heads=3, feedforward_channels=48)


@pytest.fixture
def vit() -> ViT:
    torch.manual_seed(0)
    vit = ViT(arch=ARCH, img_size=32, patch_size=8).double()
    vit.init_weights()
    vit.eval()
    return vit


def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def test_intermediate__the_last_block_is_the_forward(vit: ViT) -> None:
    batch = images()
    [found] = intermediate_tokens(vit, batch)
    wanted = vit(batch)
    assert torch.equal(found.patches, wanted.patches) and torch.equal(found.cls, wanted.cls)
    assert torch.equal(found.prenorm_patches, wanted.prenorm_patches)
    assert found.grid == (3, 5)


@pytest.mark.parametrize(("norm", "out_norm"), [(True, "all"), (False, "none")])
def test_intermediate__as_dense_vit_gives_them(vit: ViT, norm: bool, out_norm: str) -> None:
    dense = DenseViT(
        arch=ARCH,
        img_size=32,
        patch_size=8,
        out_indices=(1, 3),
        out_norm=out_norm,
        pos_interpolation="dino",
    ).double()
    keys = dense.load_state_dict(vit.state_dict(), strict=False)
    assert not keys.missing_keys
    dense.eval()
    batch = images()
    for tokens, wanted in zip(
        intermediate_tokens(vit, batch, (1, -1), norm), dense(batch), strict=True
    ):
        assert torch.allclose(tokens.patches, wanted.flatten(2).mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", [0, 2, -1])
def test_attention__gives_the_blocks_own_output(vit: ViT, block: int) -> None:
    """Attention times values, projected, is what the block adds to the stream."""
    batch = images()
    captured: list[tuple[torch.Tensor, torch.Tensor]] = []
    layer = vit.layers[block].attn
    handle = layer.register_forward_hook(lambda m, args, out: captured.append((args[0], out)))
    vit(batch)
    handle.remove()
    [(tokens, wanted)] = captured
    attention = block_attention(vit, batch, block)
    assert torch.allclose(attention.sum(-1), torch.ones((), dtype=torch.float64))
    values = layer.qkv(tokens).unflatten(-1, (3, 3, 8))[:, :, 2].transpose(1, 2)
    mixed = layer.proj((attention @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(mixed, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("blocks", [(), (4,), (-5,), (1, 1), (2, 0), (-1, 3)])
def test_blocks__refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"not valid for 4 blocks.*\[0, 3\]"):
        check_blocks(blocks, 4)


@pytest.mark.parametrize("call", [intermediate_tokens, block_attention])
def test_intermediate__sizes_that_do_not_divide(vit: ViT, call: Callable) -> None:
    with pytest.raises(ValueError, match="not a whole number of 8-pixel patches"):
        call(vit, torch.zeros(1, 3, 20, 24, dtype=torch.float64))
