"""The layouts of vision transformers that mmrel can read and write, as tables.

Most projects write the names of timm, which DINO (arXiv 2104.14294) took over: ``blocks.0.attn.qkv.weight``. Ours are
mmpretrain's: ``layers.0.attn.qkv.weight``. Both store query, key and value fused, in this order, so that a rename is
all; DINOv2 as Hugging Face's transformers writes it has them apart. Every table names all keys that a layout's files
hold: those of the backbone as rules, those that stay behind as groups. A key in neither is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mmrel.checkpoints.rules import Rule
from mmrel.utils.normalization import IMAGENET, Normalization

NETWORKS = ("teacher", "student")
"""What a file may hold two of."""

PLAIN = (
    Rule("pos_embed", "pos_embed"),
    Rule("patch_embed.proj.{p}", "patch_embed.projection.{p}"),
    Rule("blocks.{i}.norm1.{p}", "layers.{i}.ln1.{p}"),
    Rule("blocks.{i}.attn.qkv.{p}", "layers.{i}.attn.qkv.{p}"),
    Rule("blocks.{i}.attn.proj.{p}", "layers.{i}.attn.proj.{p}"),
    Rule("blocks.{i}.norm2.{p}", "layers.{i}.ln2.{p}"),
    Rule("blocks.{i}.mlp.fc1.{p}", "layers.{i}.ffn.layers.0.0.{p}"),
    Rule("blocks.{i}.mlp.fc2.{p}", "layers.{i}.ffn.layers.1.{p}"),
)
REGISTERS = "register tokens"
CLASS_TOKEN = Rule("cls_token", "cls_token", "class token")
FINAL_NORM = Rule("norm.{p}", "ln1.{p}", "final norm")
POOL_NORM = Rule("fc_norm.{p}", "ln2.{p}", "norm of the mean")
GAMMA = (
    Rule("blocks.{i}.gamma_1", "layers.{i}.attn.gamma1.weight", "layer scale"),
    Rule("blocks.{i}.gamma_2", "layers.{i}.ffn.gamma2.weight", "layer scale"),
)
LAYER_SCALE = (
    Rule("blocks.{i}.ls1.gamma", "layers.{i}.attn.gamma1.weight", "layer scale"),
    Rule("blocks.{i}.ls2.gamma", "layers.{i}.ffn.gamma2.weight", "layer scale"),
)
CLASSIC = (CLASS_TOKEN, *PLAIN, FINAL_NORM)
HUGGING_FACE = (
    Rule("embeddings.cls_token", "cls_token", "class token"),
    Rule("embeddings.mask_token", "mask_token", "mask token", flat=True),
    Rule("embeddings.register_tokens", "register_tokens", REGISTERS),
    Rule("embeddings.position_embeddings", "pos_embed"),
    Rule("embeddings.patch_embeddings.projection.{p}", "patch_embed.projection.{p}"),
    Rule("encoder.layer.{i}.norm1.{p}", "layers.{i}.ln1.{p}"),
    Rule("encoder.layer.{i}.attention.attention.query.{p}", "layers.{i}.attn.query.{p}"),
    Rule("encoder.layer.{i}.attention.attention.key.{p}", "layers.{i}.attn.key.{p}"),
    Rule("encoder.layer.{i}.attention.attention.value.{p}", "layers.{i}.attn.value.{p}"),
    Rule("encoder.layer.{i}.attention.output.dense.{p}", "layers.{i}.attn.proj.{p}"),
    Rule("encoder.layer.{i}.layer_scale1.lambda1", "layers.{i}.attn.gamma1.weight", "layer scale"),
    Rule("encoder.layer.{i}.norm2.{p}", "layers.{i}.ln2.{p}"),
    Rule("encoder.layer.{i}.mlp.fc1.{p}", "layers.{i}.ffn.layers.0.0.{p}"),
    Rule("encoder.layer.{i}.mlp.fc2.{p}", "layers.{i}.ffn.layers.1.{p}"),
    Rule("encoder.layer.{i}.layer_scale2.lambda1", "layers.{i}.ffn.gamma2.weight", "layer scale"),
    Rule("layernorm.{p}", "ln1.{p}", "final norm"),
)

CLASSIFIER = {"classifier": r"(head|fc)\.(weight|bias)"}
MLP = r"mlp\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)"
PROTOTYPES = r"(weight_g|weight_v|weight|parametrizations\.weight\.original[01])"
PROJECTION = {"projection head": rf"head\.({MLP}|last_layer2?\.{PROTOTYPES})"}
SERE_PART = (
    r"(projection|predictor)\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)
AGGREGATION = (
    r"ca_head\.(cls_token|norm\.(weight|bias)|"
    r"cls_blocks\.\d+\.(norm[12]|attn\.(q|k|v|proj)|mlp\.fc[12])\.(weight|bias))"
)


@dataclass(frozen=True)
class Layout:
    """One project's way to name the tensors of its ViT.

    Attributes:
        name: as ``--from`` takes it.
        rules: the backbone's tensors.
        optional: parts of ``rules`` that a file may lack as a whole.
        left_out: groups of further keys that such files hold, each with a regular expression of whole keys.
        pos_interpolation: how the authors resize position embeddings, see :mod:`mmrel.ops.position`.
        register_interpolation: the same for their networks with register tokens, where it is another rule.
        class_position: whether positions begin with that of the class token where there are register tokens.
        separate_qkv: query, key and value are three tensors.
        num_heads: attention heads by width, where they are not one per 64 channels.
        author_network: the network that the authors evaluate.
        normalization: mean and deviation that the authors normalise images with; ``None`` if it depends on the model.
        overrides: what a model must be built with in spite of the tensors that the file holds.
    """

    name: str
    rules: tuple[Rule, ...]
    optional: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = field(default_factory=dict)
    pos_interpolation: str = "dino"
    register_interpolation: str | None = None
    class_position: bool = True
    separate_qkv: bool = False
    num_heads: Mapping[int, int] = field(default_factory=dict)
    author_network: str = "teacher"
    normalization: Normalization | None = IMAGENET
    overrides: Mapping[str, bool] = field(default_factory=dict)


DINO = Layout("dino", (*CLASSIC, *GAMMA), frozenset({"layer scale"}), PROJECTION | CLASSIFIER)
IBOT = Layout(
    "ibot",
    (*CLASSIC, *GAMMA, Rule("masked_embed", "mask_token", "mask token", flat=True)),
    frozenset({"layer scale", "mask token"}),
    PROJECTION | CLASSIFIER,
)
SERE = replace(
    IBOT,
    name="sere",
    left_out=PROJECTION
    | {"relation heads": rf"(channel|pixel)_sere(_local)?\.{SERE_PART}"}
    | CLASSIFIER,
)
SELFPATCH = Layout(
    "selfpatch",
    PLAIN,
    left_out={
        "aggregation": AGGREGATION,
        "projection heads": rf"[cp]_head\.({MLP}|last_layer\.{PROTOTYPES})",
    },
)
SIT = Layout(
    "sit",
    CLASSIC,
    left_out={
        "projection head": rf"head\.{MLP}",
        "reconstruction head": r"head_recons\.(mlp\.\d+|convTrans)\.(weight|bias)",
    }
    | CLASSIFIER,
)
RELVIT = Layout(
    "relvit",
    CLASSIC,
    left_out={
        "relation heads": r"rel_head\.heads\.\d+\.(q_lin|k_lin|v_lin)\.weight",
        "position heads": r"(abs_pos_head|dist_head|angle_head)\..+",
        "classifier": r"clf_head\..+",
    },
    pos_interpolation="size",
    normalization=None,
    overrides={"with_cls_token": False, "use_pos_embed": False},
)
MAE = Layout(
    "mae",
    (*CLASSIC, POOL_NORM),
    frozenset({"final norm", "norm of the mean"}),
    {
        "decoder": r"mask_token|decoder_pos_embed|decoder_(embed|norm|pred)\.(weight|bias)|"
        r"decoder_blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.(weight|bias)"
    }
    | CLASSIFIER,
    pos_interpolation="size",
)
MOCOV3 = Layout(
    "mocov3",
    CLASSIC,
    left_out={
        "projector": r"head\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)",
        "predictor": r"predictor\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)",
    }
    | CLASSIFIER,
    pos_interpolation="size",
    num_heads={384: 12},
    author_network="student",
)
TIMM = Layout(
    "timm",
    (*CLASSIC, POOL_NORM, *LAYER_SCALE, Rule("reg_token", "register_tokens", REGISTERS)),
    frozenset({"class token", "final norm", "norm of the mean", "layer scale", REGISTERS}),
    CLASSIFIER | {"representation layer": r"pre_logits\.fc\.(weight|bias)"},
    pos_interpolation="size",
    class_position=False,
    normalization=None,
)
DINOV2 = Layout(
    "dinov2",
    (
        *CLASSIC,
        *LAYER_SCALE,
        Rule("mask_token", "mask_token", "mask token", flat=True),
        Rule("register_tokens", "register_tokens", REGISTERS),
    ),
    frozenset({REGISTERS}),
    {"projection heads": rf"(dino|ibot)_head\.({MLP}|last_layer\.{PROTOTYPES})"},
    register_interpolation="antialias",
)
HF_DINOV2 = Layout(
    "hf-dinov2",
    HUGGING_FACE,
    frozenset({"mask token", REGISTERS}),
    {"classifier": r"classifier\.(weight|bias)"},
    pos_interpolation="size",
    register_interpolation="antialias",
    separate_qkv=True,
)
MMREL = Layout(
    "mmrel",
    tuple(
        {
            rule.ours: replace(rule, theirs=rule.ours, flat=False)
            for rule in (
                *TIMM.rules,
                Rule("mask_token", "mask_token", "mask token"),
            )
        }.values()
    ),
    TIMM.optional | {"mask token"},
)

LAYOUTS = {
    layout.name: layout
    for layout in (
        DINO,
        IBOT,
        SERE,
        SELFPATCH,
        SIT,
        RELVIT,
        MAE,
        MOCOV3,
        TIMM,
        DINOV2,
        HF_DINOV2,
        MMREL,
    )
}
OFFICIAL = tuple(name for name in LAYOUTS if name != "mmrel")
