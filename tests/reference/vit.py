"""The vision transformer as its papers and the layouts' descriptions define it, on a state dict of official names.

One plain function per naming scheme, no modules: ViT (arXiv 2010.11929) with pre-norm blocks as DINO (arXiv 2104.14294)
writes it, optionally without class token or final norm (SelfPatch), with layer scale (DINOv2), and with DINO's
positions (0.1 added to the wanted grid) or size-based ones.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
EPS = 1e-6


def vit_tokens(
    state: State,
    images: Tensor,
    num_heads: int,
    rule: str = "dino",
    use_class_token: bool = True,
    use_positions: bool = True,
) -> tuple[Tensor, Tensor]:
    """Tokens ``(B, E + R + N, C)`` before and after the final norm, which are the same if there is none.

    The R register tokens, if any, stand between class token and patches.

    Args:
        state: keys of DINO's or timm's layout, without prefix.
        images: ``(B, 3, H, W)``.
        num_heads: attention heads.
        rule: ``'dino'``, ``'size'`` or ``'antialias'``.
        use_class_token: RelViT holds one that its pretraining does not use.
        use_positions: the same.
    """
    x, grid = embed(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
    has_class = "cls_token" in state
    position = state["pos_embed"]
    if has_class and use_class_token:
        x = torch.cat([state["cls_token"].expand(len(x), 1, -1), x], dim=1)
    if use_positions:
        x = x + positions(position, int(has_class), grid, rule)
    if "register_tokens" in state:
        registers = state["register_tokens"].expand(len(x), -1, -1)
        x = torch.cat([x[:, : int(has_class)], registers, x[:, int(has_class) :]], dim=1)
    depth = len([key for key in state if key.startswith("blocks.") and key.endswith(".norm1.bias")])
    for i in range(depth):
        block = {
            key.removeprefix(f"blocks.{i}."): value
            for key, value in state.items()
            if key.startswith(f"blocks.{i}.")
        }
        q, k, v = F.linear(
            norm(x, block, "norm1"), block["attn.qkv.weight"], block["attn.qkv.bias"]
        ).chunk(3, dim=-1)
        y = linear(attend(q, k, v, num_heads), block, "attn.proj")
        x = x + y * block.get("gamma_1", block.get("ls1.gamma", 1.0))
        y = linear(F.gelu(linear(norm(x, block, "norm2"), block, "mlp.fc1")), block, "mlp.fc2")
        x = x + y * block.get("gamma_2", block.get("ls2.gamma", 1.0))
    return x, norm(x, state, "norm") if "norm.weight" in state else x


def hugging_face_tokens(state: State, images: Tensor, num_heads: int) -> tuple[Tensor, Tensor]:
    """The same for DINOv2 as transformers defines it, with query, key and value apart.

    Its ``Dinov2Embeddings`` resizes positions to the wanted rows and columns: bicubic, ``align_corners=False``, no
    antialiasing, in float32. The original of DINOv2's authors adds 0.1 to the wanted grid, as DINO does.
    """
    patches = "embeddings.patch_embeddings.projection"
    x, grid = embed(images, state[f"{patches}.weight"], state[f"{patches}.bias"])
    x = torch.cat([state["embeddings.cls_token"].expand(len(x), 1, -1), x], dim=1)
    position = state["embeddings.position_embeddings"]
    side = round((position.shape[1] - 1) ** 0.5)
    maps = position[0, 1:].unflatten(0, (side, side))
    x = x + torch.cat([position[:, :1], bicubic_by_size(maps, grid).flatten(0, 1)[None]], dim=1)
    depth = len([key for key in state if key.endswith(".norm1.bias")])
    for i in range(depth):
        at = f"encoder.layer.{i}"
        y = norm(x, state, f"{at}.norm1")
        q, k, v = (
            linear(y, state, f"{at}.attention.attention.{name}")
            for name in ("query", "key", "value")
        )
        y = linear(attend(q, k, v, num_heads), state, f"{at}.attention.output.dense")
        x = x + y * state[f"{at}.layer_scale1.lambda1"]
        y = F.gelu(linear(norm(x, state, f"{at}.norm2"), state, f"{at}.mlp.fc1"))
        x = x + linear(y, state, f"{at}.mlp.fc2") * state[f"{at}.layer_scale2.lambda1"]
    return x, norm(x, state, "layernorm")


def embed(images: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, tuple[int, int]]:
    maps = F.conv2d(images, weight, bias, stride=weight.shape[-1])
    return maps.flatten(2).transpose(1, 2), tuple(maps.shape[-2:])


def positions(position: Tensor, extra: int, grid: tuple[int, int], rule: str) -> Tensor:
    """``(1, extra + rows * cols, C)`` from a square grid."""
    side = round((position.shape[1] - extra) ** 0.5)
    if grid == (side, side):
        return position
    maps = position[:, extra:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if rule == "dino":
        factors = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
        maps = F.interpolate(maps, scale_factor=factors, mode="bicubic")
    else:
        maps = F.interpolate(maps, size=grid, mode="bicubic", antialias=rule == "antialias")
    assert maps.shape[-2:] == grid
    return torch.cat([position[:, :extra], maps.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def bicubic_by_size(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(rows, cols, C)`` from ``(side, side, C)``, by the definition of cubic convolution (a = -0.75).

    Output i of n lies at ``(i + 0.5) * side / n - 0.5``; each axis weighs the four nearest inputs, those beyond the
    border being the border's.
    """
    rows, cols = (
        cubic_weights(size, n).to(maps.dtype) for size, n in zip(maps.shape, grid, strict=False)
    )
    return torch.einsum("ri,sj,ijc->rsc", rows, cols, maps)


def cubic_weights(size: int, wanted: int) -> Tensor:
    """Float64 ``(wanted, size)``."""
    weights = torch.zeros(wanted, size, dtype=torch.float64)
    for i in range(wanted):
        place = (i + 0.5) * size / wanted - 0.5
        for tap in range(int(place // 1) - 1, int(place // 1) + 3):
            weights[i, min(max(tap, 0), size - 1)] += cubic(abs(place - tap))
    return weights


def cubic(t: float, a: float = -0.75) -> float:
    """Keys' kernel."""
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """One head after the other: ``softmax(q k^T / sqrt(d)) v``."""
    outputs = []
    for query, key, value in zip(
        q.chunk(num_heads, -1), k.chunk(num_heads, -1), v.chunk(num_heads, -1), strict=True
    ):
        weights = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        outputs.append(weights.softmax(dim=-1) @ value)
    return torch.cat(outputs, dim=-1)


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(x: Tensor, state: State, name: str) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.layer_norm(x, weight.shape, weight, state[f"{name}.bias"], EPS)
