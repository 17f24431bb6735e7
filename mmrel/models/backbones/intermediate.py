"""What a ViT knows before its end: the tokens and the attention of chosen blocks."""

from collections.abc import Sequence

from torch import Tensor

from mmrel.models.backbones.dense_vit import attention_map, check_blocks
from mmrel.models.backbones.vit import ViT
from mmrel.structures import TokenViews


def intermediate_tokens(
    backbone: ViT, images: Tensor, blocks: Sequence[int] = (-1,), norm: bool = True
) -> tuple[TokenViews, ...]:
    """Tokens after each of some blocks.

    Args:
        backbone: as ``get_backbone`` gives it.
        images: ``(B, in_channels, H, W)``, normalised; H and W are multiples of the patch size.
        blocks: numbers of blocks, ascending; negative ones count from the end. Later blocks are not run.
        norm: whether the tokens of each block pass the one final norm (DINO, DINOv2), if the backbone has one.

    Raises:
        ValueError: such blocks do not exist, or the sizes do not divide.
    """
    wanted = check_blocks(blocks, len(backbone.layers))
    tokens, grid = backbone.embed(images)
    found = []
    for index, layer in enumerate(backbone.layers[: wanted[-1] + 1]):
        tokens = layer(tokens)
        if index in wanted:
            found.append(backbone.views(tokens, grid, norm))
    return tuple(found)


def block_attention(backbone: ViT, images: Tensor, block: int = -1) -> Tensor:
    """Attention of one block, recomputed from its queries and keys.

    Args:
        backbone: as ``get_backbone`` gives it.
        images: as for :func:`intermediate_tokens`.
        block: its number; negative ones count from the end.

    Returns:
        ``(B, heads, E + N, E + N)``, rows summing to 1, with E = ``backbone.num_prefix_tokens``: the class token first,
        where there is one, then the register tokens.

    Raises:
        ValueError: there is no such block, or the sizes do not divide.
    """
    [wanted] = check_blocks((block,), len(backbone.layers))
    tokens, _ = backbone.embed(images)
    for layer in backbone.layers[:wanted]:
        tokens = layer(tokens)
    last = backbone.layers[wanted]
    return attention_map(last.attn, last.ln1(tokens))
