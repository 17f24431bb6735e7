"""Which project wrote a checkpoint: told from its keys and, only where these say nothing, from its container.

A backbone alone under timm's names could be DINO's, iBOT's or timm's. It is the same network; the answer decides how
positions are resized and, for ViT-S, the number of heads.
"""

import re

from mmrel.checkpoints.containers import Contents
from mmrel.checkpoints.foreign import ROTARY, find_foreign
from mmrel.checkpoints.layouts import LAYOUTS, Layout
from mmrel.checkpoints.rules import State

UNSUPPORTED = {
    r"blocks\.\d+\.mlp\.w(12|3|eights_in|eights_out)\..+|encoder\.layer\.\d+\.mlp\.weights_(in|out)\..+": (
        "SwiGLU blocks (ViT-g), which the conversion does not know"
    ),
    r"patch_embed\.proj\.\d+\..+": "a convolutional stem (MoCo v3's vit_conv), which mmrel's ViT does not have",
    r"dist_token|head_dist\..+": "a distillation token (DeiT), which mmrel's ViT does not have",
    r"norm_pre\..+": "a norm before the blocks (CLIP), which the conversion does not know",
    r"blocks\.\d+\.\d+\..+": (
        "blocks in chunks, as DINOv2 saves them while training; load them into its hub's model and save that one"
    ),
}
MARKS = {
    "hf-dinov2": r"embeddings\.position_embeddings|embeddings\.patch_embeddings\..+|encoder\.layer\.\d+\..+",
    "mmrel": r"patch_embed\.projection\..+|layers\.\d+\.(ln1|ln2|attn|ffn)\..+",
    "selfpatch": r"ca_head\..+",
    "sere": r"(channel|pixel)_sere(_local)?\..+",
    "relvit": r"(rel_head|clf_head|abs_pos_head)\..+",
    "sit": r"head_recons\..+",
    "mocov3": r"(base|momentum)_encoder\..+",
    "mae": r"decoder_(blocks|embed|pred|pos_embed|norm).*",
    "ibot": r"masked_embed|head\.last_layer2\..+",
}
ADVICE = "Give a plain ViT (docs/checkpoints.md lists the layouts)."
TIMM_HEAD = r"(head|pre_logits\.fc|fc_norm)\.(weight|bias)"
LIGHTNING_VERSION = "pytorch-lightning_version"


def check_supported(state: State, source: str) -> None:
    """Raise ``ValueError`` for a vision transformer that cannot be converted, and say why."""
    if foreign := find_foreign(state):
        raise ValueError(f"'{source}' is {foreign}. {ADVICE}")
    if "reg_token" in state and "pos_embed" not in state:
        raise ValueError(f"'{source}' is DINOv3 or another ViT with {ROTARY}. {ADVICE}")
    for pattern, kind in UNSUPPORTED.items():
        if found := next((key for key in state if re.fullmatch(pattern, key)), None):
            raise ValueError(f"'{source}' has {kind} (its key {found}). Give another checkpoint.")


def recognise(contents: Contents, backbone: State) -> Layout:
    """The layout of a checkpoint.

    Args:
        contents: what the file holds.
        backbone: one network's backbone, without prefix.
    """
    for name, pattern in MARKS.items():
        whole = re.compile(rf"(.+\.)?({pattern})")
        if any(whole.fullmatch(key) for key in contents.keys):
            return LAYOUTS[name]
    if "reg_token" in backbone:
        return LAYOUTS["timm"]
    if "cls_token" not in backbone and _is_square(backbone):
        return LAYOUTS["selfpatch"]
    if "blocks.0.ls1.gamma" in backbone:
        own = "mask_token" in backbone or "register_tokens" in backbone
        return LAYOUTS["dinov2" if own else "timm"]
    return LAYOUTS[_by_container(contents, backbone)]


def has_fixed_positions(backbone: State) -> bool:
    """Whether the class token's position is zero, as in the fixed sine-cosine ones of MAE and MoCo v3."""
    position = backbone.get("pos_embed")
    return position is not None and position.ndim == 3 and not bool(position[:, 0].any())


def _by_container(contents: Contents, backbone: State) -> str:
    fixed = contents.container == "model" and has_fixed_positions(backbone)
    if fixed or (contents.container == "model" and "fc_norm.weight" in backbone):
        return "mae"
    if any(re.fullmatch(TIMM_HEAD, key) for key in backbone):
        return "timm"
    if LIGHTNING_VERSION in contents.beside:
        return "relvit"
    ibot = "ibot_loss" in contents.beside or contents.container == "state_dict"
    return "ibot" if ibot else "dino"


def _is_square(backbone: State) -> bool:
    position = backbone.get("pos_embed")
    if position is None or position.ndim != 3:
        return False
    return round(position.shape[1] ** 0.5) ** 2 == position.shape[1]
