"""Networks that mmrel's ViT cannot represent, told from one of their keys, so that an error can call them by name."""

import re
from collections.abc import Collection

ROTARY = "rotary positions, where mmrel's ViT adds a learned embedding"
FOREIGN = {
    r"rope_embed\.periods|storage_tokens|blocks\.\d+\.attn\.qkv\.bias_mask|"
    r"(?<!encoder\.)layer\.\d+\.attention\.[qkvo]_proj\..+": (f"DINOv3, with {ROTARY}"),
    r"(layers|stages|features)\.\d+\.(blocks\.)?\d+\..*relative_position_bias_table": (
        "a Swin transformer, with windows and stages, where mmrel's ViT has one grid"
    ),
    r"(blocks|layers)\.\d+\.attn\.rel_pos_[hw]": (
        "SAM's image encoder, with windows and relative positions, which mmrel's ViT does not have"
    ),
    r"rope\.freqs.*|blocks\.\d+\.(attn\.(inner_attn_ln|q_proj)|mlp\.(ffn_ln|fc1_[gx]))\..+": (
        f"EVA-02, with {ROTARY}"
    ),
    r".*\.?relative_position_(bias_table|index)|rel_pos_bias\..+|encoder\.layer\.\d+\.attention\.attention\."
    r"relative_position_bias\..+": "BEiT, with relative positions, which mmrel's ViT does not have",
    r"blocks\.\d+\.attn\.[qv]_bias": (
        "BEiT or EVA, with biases of queries and values apart, which the conversion does not know"
    ),
    r"(visual\.)?transformer\.resblocks\..+|vision_model\..+": (
        "CLIP or SigLIP, whose blocks the conversion does not know"
    ),
    r"cls_attn_blocks\..+|blocks_token_only\..+|blocks\.\d+\.attn\.temperature": (
        "XCiT or CaiT, with another attention than mmrel's ViT"
    ),
    r"layer[1-4]\.\d+\.conv[1-3]\.weight": "a ResNet",
    r"(stages|downsample_layers)\.\d+\.(blocks\.)?\d+\.(dwconv|conv_dw|depthwise_conv|gamma).*": "a ConvNeXt",
}
PREFIX = r"(?:.+\.)?"


def find_foreign(keys: Collection[str]) -> str | None:
    """What a network of these keys is, with the key that tells it, if mmrel's ViT cannot represent it."""
    for pattern, kind in FOREIGN.items():
        whole = re.compile(f"{PREFIX}(?:{pattern})")
        if found := next((key for key in keys if whole.fullmatch(key)), None):
            return f"{kind} (its key {found})"
    return None
