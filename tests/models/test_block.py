"""The block against mmpretrain's own: the same draws, values and gradients, bit for bit, whatever is recomputed."""

import copy
import re

import pytest
import tiny
import torch
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmrel.models.backbones import DenseViT
from mmrel.models.backbones.block import RECOMPUTE, Block
from mmrel.ops.residual import add_branch, drop_path_divisors
from mmrel.registry import MODELS

WIDTH = 24
SETTINGS = [
    dict(),
    dict(drop_path_rate=0.4),
    dict(drop_path_rate=0.4, drop_rate=0.2, attn_drop_rate=0.2),
    dict(drop_path_rate=0.4, layer_scale_init_value=0.1),
    dict(qkv_bias=False),
]


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
    weights = torch.linspace(-1, 1, output.numel()).view_as(output).to(output.dtype)
    (output * weights).sum().backward()
    return [output.detach(), tokens.grad, *(p.grad for p in block.parameters()), torch.rand(1)]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", SETTINGS)
def test_block__bit_equal_to_the_host(settings: dict, dtype: torch.dtype, recompute: str) -> None:
    host = host_block(**settings).to(dtype)
    block = Block(copy.deepcopy(host), recompute)
    assert list(block.state_dict()) == list(host.state_dict())
    tokens = torch.randn(7, 10, WIDTH, dtype=dtype)
    for training in (True, False):
        assert_same(run(block.train(training), tokens), run(host.train(training), tokens))


@pytest.mark.parametrize("recompute", ["none", "block"])
def test_block__gated_feed_forward_network(recompute: str) -> None:
    host = host_block(drop_path_rate=0.4, ffn_type="swiglu_fused")
    tokens = torch.randn(7, 10, WIDTH)
    assert_same(run(Block(copy.deepcopy(host), recompute), tokens), run(host, tokens))


@pytest.mark.parametrize("recompute", RECOMPUTE[1:])
def test_recompute__bit_equal_under_autocast(recompute: str) -> None:
    host, tokens = host_block(drop_path_rate=0.4), torch.randn(7, 10, WIDTH)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            kept = run(Block(copy.deepcopy(host)), tokens)
            assert_same(run(Block(copy.deepcopy(host), recompute), tokens), kept)


def test_autocast__as_close_to_float32_as_the_host() -> None:
    """The norm reads bfloat16, yet the result is rounded to bfloat16 in either case."""
    host, tokens = host_block(drop_path_rate=0.4), torch.randn(7, 10, WIDTH)
    exact = run(host, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = run(Block(copy.deepcopy(host)), tokens), run(host, tokens)
    errors = [
        [float((a - b).norm() / b.norm()) for a, b in zip(found[:2], exact[:2], strict=True)]
        for found in (ours, theirs)
    ]
    assert ours[0].dtype == torch.float32
    assert all(a < 1.5 * b < 0.01 for a, b in zip(*errors, strict=True))


def kept_bytes(block: nn.Module, tokens: Tensor) -> int:
    """Of all that autograd keeps, parameters and the input aside, per token and channel."""
    own = {p.untyped_storage().data_ptr() for p in block.parameters()}
    found: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() >= tokens.numel() // 2:
            found.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(tokens.requires_grad_())
    total = sum(t.untyped_storage().nbytes() for at, t in found.items() if at not in own)
    return round(total / tokens.numel())


@pytest.mark.parametrize(("recompute", "wanted"), [("none", 32), ("pointwise", 22), ("mlp", 12)])
def test_recompute__what_is_kept(recompute: str, wanted: int) -> None:
    """Bytes per token and channel under bfloat16 autocast, that is 2 for each tensor of C channels.

    Two copies of the stream, the first normed, query, key, value and the attention's result, and the first product
    (4 C): 11 tensors for ``'pointwise'``. ``'none'`` adds the second normed copy and GELU's result (4 C).
    """
    block = Block(host_block(), recompute)
    with torch.autocast("cpu", torch.bfloat16):
        assert kept_bytes(block, torch.randn(16, 50, WIDTH)) == wanted


@pytest.mark.parametrize("recompute", ["pointwise", "mlp"])
def test_recompute__frozen_parameters_and_input(recompute: str) -> None:
    host = host_block()
    host.attn.qkv.weight.requires_grad_(False)
    host.ln2.bias.requires_grad_(False)
    host.ffn.layers[1].bias.requires_grad_(False)
    block = Block(copy.deepcopy(host), recompute)
    for network in (host, block):
        network(torch.linspace(-1, 1, 4 * WIDTH).view(1, 4, WIDTH)).square().sum().backward()
    for ours, theirs in zip(block.parameters(), host.parameters(), strict=True):
        assert ours.grad is None if theirs.grad is None else torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("recompute", ["pointwise", "mlp"])
def test_recompute__an_adapter_in_place_of_a_layer_is_used(recompute: str) -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    host = host_block()
    host.attn.qkv = Doubled(WIDTH, 3 * WIDTH)
    host.ffn.layers[1] = Doubled(4 * WIDTH, WIDTH)
    tokens = torch.randn(2, 5, WIDTH)
    assert_same(run(Block(copy.deepcopy(host), recompute), tokens), run(host, tokens))


@pytest.mark.parametrize("recompute", RECOMPUTE[1:])
def test_recompute__one_graph_for_the_compiler(recompute: str) -> None:
    block = Block(host_block(drop_path_rate=0.4), recompute)
    tokens = torch.randn(7, 10, WIDTH)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    for ours, eager in zip(run(compiled, tokens), run(block, tokens), strict=True):
        torch.testing.assert_close(ours, eager)


def test_block__drop_rates_are_plain_floats() -> None:
    """A numpy scalar, as mmpretrain gives, is not traced by torch.compile."""
    block = Block(host_block(drop_path_rate=torch.linspace(0, 0.5, 3).numpy()[1]))
    assert type(block.attn.out_drop.drop_prob) is type(block.ffn.dropout_layer.drop_prob) is float


@pytest.mark.parametrize("kind", ["ViT", "MoCoV3ViT", "DenseViT"])
def test_backbones__recompute_reaches_every_block(kind: str) -> None:
    settings = tiny.vit() | dict(type=f"mmrel.{kind}")
    del settings["mask_token"]
    settings |= dict(out_indices=(0, 1)) if kind == "DenseViT" else {}
    model = MODELS.build(dict(settings, recompute="mlp"))
    assert [layer.recompute for layer in model.layers] == ["mlp", "mlp"]
    with pytest.raises(
        ValueError, match="recompute is 'gelu'; allowed: none, pointwise, mlp, block"
    ):
        MODELS.build(dict(settings, recompute="gelu"))
    gated = dict(settings, recompute="mlp", layer_cfgs=dict(ffn_type="swiglu_fused"))
    with pytest.raises(ValueError, match=re.escape("SwiGLUFFNFused; set recompute='block'")):
        MODELS.build(gated)


def test_dense_vit__with_cp_is_recompute_block() -> None:
    arch = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
    settings = dict(arch=arch, img_size=16, patch_size=4, out_indices=(0, 1), with_cp=True)
    assert DenseViT(**settings).layers[0].recompute == "block"
    with pytest.raises(ValueError, match="with_cp=True recomputes whole blocks"):
        DenseViT(**settings, recompute="mlp")


@pytest.mark.gpu
@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_recompute__the_host_does_not_wait(recompute: str) -> None:
    model = MODELS.build(tiny.vit(drop_path_rate=0.4, recompute=recompute)).cuda()
    crops = torch.randn(4, 3, 16, 16).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            tokens = model(crops)
        tokens.patches.float().square().sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(p.grad is not None for p in model.layers.parameters())


class TestBf16Residual:
    """``ViT(bf16_residual=True)`` acts under bfloat16 autocast alone, and stays within its precision."""

    def build(self, **settings: object) -> nn.Module:
        torch.manual_seed(0)
        arch = dict(embed_dims=WIDTH, num_layers=4, num_heads=3, feedforward_channels=4 * WIDTH)
        sizes = dict(arch=arch, img_size=32, patch_size=8, recompute="pointwise")
        backbone = MODELS.build(dict(type="mmrel.ViT", **sizes, **settings))
        backbone.init_weights()
        return backbone

    @pytest.mark.parametrize("dtype", [None, torch.float16])
    def test_without_effect_elsewhere(self, dtype: torch.dtype | None) -> None:
        images = torch.randn(2, 3, 32, 32)
        results = []
        for bf16_residual in (False, True):
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                results.append(self.build(bf16_residual=bf16_residual)(images))
        assert torch.equal(results[0].cls, results[1].cls)
        assert results[1].prenorm_patches.dtype == torch.float32

    def test_error_is_that_of_bfloat16(self) -> None:
        images = torch.randn(4, 3, 32, 32)
        exact = self.build(bf16_residual=False)(images).patches
        errors = {}
        for bf16_residual in (False, True):
            with torch.autocast("cpu", torch.bfloat16):
                tokens = self.build(bf16_residual=bf16_residual)(images)
            stream = torch.bfloat16 if bf16_residual else torch.float32
            assert tokens.prenorm_patches.dtype == stream
            errors[bf16_residual] = ((tokens.patches - exact).norm() / exact.norm()).item()
        assert errors[False] < errors[True] < 0.01

    def test_kept_share_and_gradients_under_drop_path(self) -> None:
        """Draws are in float32, so that the share that is kept is the wanted one."""
        stream = torch.ones(50_000, 1, dtype=torch.bfloat16)
        (divisor,) = drop_path_divisors(stream, 0.1, 1)
        assert divisor.dtype == torch.float32
        assert divisor.isfinite().float().mean().item() == pytest.approx(0.9, abs=5e-3)
        branch = torch.ones_like(stream).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            result = add_branch(stream, branch, divisor)
        assert result.dtype == torch.bfloat16
        wanted = 1 + 1 / divisor
        torch.testing.assert_close(result.float(), wanted.bfloat16().float())
        result.sum().backward()
        assert torch.equal(branch.grad, (1 / divisor).bfloat16())
