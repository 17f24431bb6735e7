"""The heads of other projects' pretraining checkpoints and of mmrel's, as tables.

Heads have the depth that the official code builds, so that a tensor too many or too few is noticed.
"""

from dataclasses import dataclass

from mmrel.checkpoints.rules import Rule

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
BOTH, STUDENT, LOCAL = "both", "student", "local"


@dataclass(frozen=True)
class Heads:
    """The heads of a method.

    Attributes:
        rules: their tensors in one network; ``part`` is ``BOTH``, ``STUDENT`` (mmrel's teacher has none) or ``LOCAL``
            (the same, and only where the method was trained with local crops).
        centers: of the loss modules: name at the top of the file, key in it, and mmrel's name.
    """

    rules: tuple[Rule, ...]
    centers: tuple[tuple[str, str, str], ...] = ()


def _pair(theirs: str, ours: str, part: str = BOTH) -> list[Rule]:
    return [Rule(f"{theirs}.{p}", f"{ours}.{p}", part) for p in ("weight", "bias")]


def _norm(theirs: str, ours: str, part: str = BOTH, affine: bool = True) -> list[Rule]:
    names = (*(("weight", "bias") if affine else ()), *BUFFERS)
    return [Rule(f"{theirs}.{name}", f"{ours}.{name}", part) for name in names]


def _prototypes(theirs: str, ours: str) -> list[Rule]:
    """DINO's head: linear layers 0, 2, 4 and a weight-normalised layer."""
    rules = [rule for n in (0, 2, 4) for rule in _pair(f"{theirs}.mlp.{n}", f"{ours}.mlp.{n}")]
    names = ("weight_g", "weight_v")
    return rules + [Rule(f"{theirs}.last_layer.{n}", f"{ours}.last_layer.{n}", BOTH) for n in names]


def _normed_mlp(theirs: str, ours: str, layers: int, bias: bool, part: str = BOTH) -> list[Rule]:
    """MoCo v3's head: linear layers 0, 3, ... and batch norms 1, 4, ..., the last without weights."""
    rules: list[Rule] = []
    for n in range(layers):
        at, into = f"{theirs}{3 * n}", f"{ours}.{3 * n}"
        rules += _pair(at, into, part)[: 2 if bias else 1]
        at, into = f"{theirs}{3 * n + 1}", f"{ours}.{3 * n + 1}"
        rules += _norm(at, into, part, affine=n < layers - 1)
    return rules


def _relation(theirs: str, ours: str) -> list[Rule]:
    """SERE's two networks of one relation, and those for local crops."""
    rules = []
    for name, prefix in ((theirs, ""), (f"{theirs}_local", "local_")):
        part, other = (LOCAL, LOCAL) if prefix else (BOTH, STUDENT)
        rules += _norm(f"{name}.projection.0", f"{ours}.{prefix}projection.0", part)
        at, into = f"{name}.predictor", f"{ours}.{prefix}predictor"
        rules += [Rule(f"{at}.0.weight", f"{into}.0.weight", other)]
        rules += _norm(f"{at}.1", f"{into}.1", other)
    return rules


def _aggregation(theirs: str, ours: str) -> list[Rule]:
    """SelfPatch's two blocks of class attention."""
    rules = [Rule(f"{theirs}.cls_token", f"{ours}.cls_token", BOTH)]
    for n in range(2):
        for name in (
            "norm1",
            "attn.q",
            "attn.k",
            "attn.v",
            "attn.proj",
            "norm2",
            "mlp.fc1",
            "mlp.fc2",
        ):
            rules += _pair(f"{theirs}.cls_blocks.{n}.{name}", f"{ours}.blocks.{n}.{name}")
    return rules + _pair(f"{theirs}.norm", f"{ours}.norm")


NECK = "neck.projection"
CENTER, PATCH_CENTER = "head.distillation.center.value", "head.masked_distillation.center.value"
IBOT_HEADS = (
    *_prototypes("head", NECK),
    *(
        Rule(f"head.last_layer2.{n}", f"{NECK}.last_layer2.{n}", BOTH)
        for n in ("weight_g", "weight_v")
    ),
)
IBOT_CENTERS = (("ibot_loss", "center", CENTER), ("ibot_loss", "center2", PATCH_CENTER))
HEADS = {
    "dino": Heads(tuple(_prototypes("head", NECK)), (("dino_loss", "center", CENTER),)),
    "ibot": Heads(IBOT_HEADS, IBOT_CENTERS),
    "sere": Heads(
        (
            *IBOT_HEADS,
            *_relation("channel_sere", "neck.channel_relation"),
            *_relation("pixel_sere", "neck.spatial_relation"),
        ),
        IBOT_CENTERS,
    ),
    "selfpatch": Heads(
        (
            *_aggregation("ca_head", f"{NECK}.aggregator"),
            *_prototypes("c_head", f"{NECK}.cls_projector"),
            *_prototypes("p_head", f"{NECK}.patch_projector"),
        ),
        (
            ("dino_loss", "center", CENTER),
            ("dino_loss", "patch_center", "head.patch_distillation.center.value"),
        ),
    ),
    "sit": Heads(
        (
            *_normed_mlp("head.mlp.", f"{NECK}.mlp", 3, bias=True),
            *(
                rule
                for n in (0, 2, 4)
                for rule in _pair(f"head_recons.mlp.{n}", f"neck.decoder.mlp.{n}", STUDENT)
            ),
            *_pair("head_recons.convTrans", "neck.decoder.to_pixels", STUDENT),
        )
    ),
    "mocov3": Heads(
        (
            *_normed_mlp("head.", f"{NECK}.mlp", 3, bias=False),
            *_normed_mlp("predictor.", f"{NECK}.predictor", 2, bias=False, part=STUDENT),
        )
    ),
}
