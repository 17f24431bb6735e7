"""Checkpoints as the projects write them, with random numbers, built from the description of their layouts alone."""

import itertools
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mmrel  # noqa: F401  (before mmpretrain, which looks for mmcv's operators)

State = dict[str, Tensor]
WIDTH, DEPTH, HEADS, HIDDEN = 48, 2, 3, 96


def draw(shape: tuple[int, ...], scale: float = 0.15) -> Tensor:
    return torch.randn(shape) * scale


def pair(name: str, out: int, *inputs: int) -> State:
    return {f"{name}.weight": draw((out, *inputs)), f"{name}.bias": draw((out,))}


def vit(
    width: int = WIDTH,
    depth: int = DEPTH,
    hidden: int = HIDDEN,
    patch: int = 16,
    grid: tuple[int, int] = (14, 14),
    class_token: bool = True,
    final_norm: bool = True,
    scale: str | None = None,
    channels: int = 3,
) -> State:
    """A backbone in the layout of DINO and timm; ``scale`` is ``'gamma'`` or ``'ls'``."""
    state = {"cls_token": draw((1, 1, width))} if class_token else {}
    state["pos_embed"] = draw((1, grid[0] * grid[1] + class_token, width))
    state |= pair("patch_embed.proj", width, channels, patch, patch)
    for i in range(depth):
        at = f"blocks.{i}"
        state |= pair(f"{at}.norm1", width)
        state |= pair(f"{at}.attn.qkv", 3 * width, width)
        state |= pair(f"{at}.attn.proj", width, width)
        if scale:
            name = {"gamma": "gamma_1", "ls": "ls1.gamma"}[scale]
            state[f"{at}.{name}"] = draw((width,))
        state |= pair(f"{at}.norm2", width)
        state |= pair(f"{at}.mlp.fc1", hidden, width) | pair(f"{at}.mlp.fc2", width, hidden)
        if scale:
            name = {"gamma": "gamma_2", "ls": "ls2.gamma"}[scale]
            state[f"{at}.{name}"] = draw((width,))
    return state | (pair("norm", width) if final_norm else {})


def hugging_face() -> State:
    """DINOv2 as transformers saves it, for images of 5 x 5 patches of 14 pixels."""
    state = {
        "embeddings.cls_token": draw((1, 1, WIDTH)),
        "embeddings.mask_token": draw((1, WIDTH)),
        "embeddings.position_embeddings": draw((1, 26, WIDTH)),
        **pair("embeddings.patch_embeddings.projection", WIDTH, 3, 14, 14),
    }
    for i in range(DEPTH):
        at = f"encoder.layer.{i}"
        state |= pair(f"{at}.norm1", WIDTH) | pair(f"{at}.norm2", WIDTH)
        for name in ("attention.query", "attention.key", "attention.value", "output.dense"):
            state |= pair(f"{at}.attention.{name}", WIDTH, WIDTH)
        state |= {f"{at}.layer_scale{n}.lambda1": draw((WIDTH,)) for n in (1, 2)}
        state |= pair(f"{at}.mlp.fc1", HIDDEN, WIDTH) | pair(f"{at}.mlp.fc2", WIDTH, HIDDEN)
    return state | pair("layernorm", WIDTH)


def batch_norm(name: str, width: int, affine: bool = True) -> State:
    state = pair(name, width) if affine else {}
    return state | {
        f"{name}.running_mean": draw((width,)),
        f"{name}.running_var": draw((width,)).abs(),
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def dino_head(name: str, prototypes: int = 11, shared_patches: bool = False) -> State:
    """MLP with linear layers 0, 2, 4, and weight-normalised prototypes."""
    state = pair(f"{name}.mlp.0", 32, WIDTH) | pair(f"{name}.mlp.2", 32, 32)
    state |= pair(f"{name}.mlp.4", 16, 32)
    layer = {"weight_g": torch.ones(prototypes, 1), "weight_v": draw((prototypes, 16))}
    state |= {f"{name}.last_layer.{key}": value for key, value in layer.items()}
    if shared_patches:
        state |= {f"{name}.last_layer2.{key}": value for key, value in layer.items()}
    return state


def moco_mlp(name: str, widths: tuple[int, ...], bias: bool = False) -> State:
    """Linear layers 0, 3, ... and batch norms 1, 4, ..., the last one without weights."""
    state: State = {}
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layer = pair(f"{name}{3 * i}", after, before)
        state |= {key: value for key, value in layer.items() if bias or key.endswith("weight")}
        state |= batch_norm(f"{name}{3 * i + 1}", after, affine=i < len(widths) - 2)
    return state


def relation_heads(local: bool = True, width: int = WIDTH) -> State:
    state: State = {}
    for name in ("channel_sere", "pixel_sere", "channel_sere_local", "pixel_sere_local"):
        if local or not name.endswith("local"):
            state |= batch_norm(f"{name}.projection.0", width)
            state[f"{name}.predictor.0.weight"] = draw((width, width, 1, 1))
            state |= batch_norm(f"{name}.predictor.1", width)
    return state


def aggregation() -> State:
    state = {"ca_head.cls_token": draw((1, 1, WIDTH))}
    for i in range(2):
        at = f"ca_head.cls_blocks.{i}"
        state |= pair(f"{at}.norm1", WIDTH) | pair(f"{at}.norm2", WIDTH)
        for name in ("q", "k", "v", "proj"):
            state |= pair(f"{at}.attn.{name}", WIDTH, WIDTH)
        state |= pair(f"{at}.mlp.fc1", 4 * WIDTH, WIDTH) | pair(f"{at}.mlp.fc2", WIDTH, 4 * WIDTH)
    return state | pair("ca_head.norm", WIDTH)


def below(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def network(backbone: State, heads: State, wrapped: bool) -> State:
    """Backbone and heads side by side, as a multi-crop wrapper holds them, with or without DDP's name."""
    state = below("backbone.", backbone) | heads
    return below("module.", state) if wrapped else state


def training(student: State, teacher: State, **losses: Any) -> dict[str, Any]:
    """A full training checkpoint of the DINO family."""
    return {
        "student": student,
        "teacher": teacher,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 100,
        "args": Namespace(arch="vit_small", output_dir=Path("/checkpoint/run"), lr=0.0005),
        **losses,
        "fp16_scaler": {"scale": 65536.0},
    }


@dataclass
class Official:
    """A project's file, and what of it is the backbone.

    Attributes:
        build: gives what the project saves, around a teacher's (or the only) backbone.
        teacher: that backbone, under official names.
        student: the student's, if there is one.
        left_out: groups that stay behind, and their numbers of tensors, for the network that is taken by default.
    """

    build: Callable[[State], Any]
    teacher: State
    student: State | None = None
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def content(self) -> Any:
        return self.build(self.teacher)

    @property
    def network(self) -> str | None:
        """What to ask for to get ``teacher``."""
        return None if self.student is None else "teacher"


def dino() -> Official:
    student, heads = vit(), [dino_head("head") for _ in range(2)]
    loss = {"dino_loss": {"center": draw((1, 11))}}

    def build(teacher: State) -> Any:
        return training(network(student, heads[0], True), network(teacher, heads[1], False), **loss)

    return Official(build, vit(), student, {"projection head": 8})


def ibot() -> Official:
    student = vit() | {"masked_embed": draw((1, WIDTH))}
    heads = [dino_head("head", shared_patches=True) for _ in range(2)]
    loss = {"ibot_loss": {"center": draw((1, 11)), "center2": draw((1, 1, 11))}}

    def build(teacher: State) -> Any:
        return training(network(student, heads[0], True), network(teacher, heads[1], False), **loss)

    return Official(build, vit(), student, {"projection head": 10})


def sere(local: bool = True) -> Official:
    student = vit() | {"masked_embed": draw((1, WIDTH))}
    heads = [dino_head("head", shared_patches=True) for _ in range(2)]
    relations = [relation_heads(local) for _ in range(2)]
    center, center2 = draw((1, 11)), draw((1, 1, 11))
    loss = {"center": center, "center_accum": center, "center2": center2, "center2_accum": center2}

    def build(teacher: State) -> Any:
        return training(
            network(student | relations[0], heads[0], True),
            network(teacher | relations[1], heads[1], True),
            ibot_loss=loss,
        )

    left_out = {"projection head": 10, "relation heads": 44 if local else 22}
    return Official(build, vit(), student, left_out)


def selfpatch() -> Official:
    student = vit(class_token=False, final_norm=False)
    heads = [aggregation() | dino_head("c_head", 11) | dino_head("p_head", 7) for _ in range(2)]
    loss = {"center": draw((1, 1, 11)), "patch_center": draw((1, 7))}

    def build(teacher: State) -> Any:
        return training(
            network(student, heads[0], True), network(teacher, heads[1], False), dino_loss=loss
        )

    left_out = {"aggregation": 35, "projection heads": 16}
    return Official(build, vit(class_token=False, final_norm=False), student, left_out)


def sit() -> Official:
    student, heads = vit(), [sit_heads() for _ in range(2)]

    def build(teacher: State) -> Any:
        return training(network(student, heads[0], True), network(teacher, heads[1], True))

    left_out = {"projection head": 19, "reconstruction head": 8}
    return Official(build, vit(), student, left_out)


def sit_heads() -> State:
    heads = moco_mlp("head.mlp.", (WIDTH, 32, 32, 16), bias=True)
    for n in (0, 2, 4):
        heads |= pair(f"head_recons.mlp.{n}", WIDTH, WIDTH)
    return heads | {
        "head_recons.convTrans.weight": draw((WIDTH, 3, 16, 16)),
        "head_recons.convTrans.bias": draw((3,)),
    }


def relvit() -> Official:
    heads = pair("abs_pos_head", 196, WIDTH)
    for i in range(9):
        for name in ("q_lin", "k_lin", "v_lin"):
            heads[f"rel_head.heads.{i}.{name}.weight"] = draw((5, WIDTH))
    lightning = {"epoch": 99, "global_step": 1, "pytorch-lightning_version": "1.3.1"}

    def build(backbone: State) -> Any:
        return {"state_dict": below("backbone.", backbone) | heads, **lightning}

    return Official(build, vit(), left_out={"relation heads": 27, "position heads": 2})


def mae() -> Official:
    backbone = vit()
    backbone["pos_embed"][:, 0] = 0
    decoder = {"mask_token": draw((1, 1, 32)), "decoder_pos_embed": draw((1, 197, 32))}
    decoder |= pair("decoder_embed", 32, WIDTH) | pair("decoder_norm", 32)
    decoder |= pair("decoder_pred", 768, 32)
    blocks = vit(width=32, depth=1, hidden=64)
    decoder |= {f"decoder_{k}": v for k, v in blocks.items() if k.startswith("blocks.")}
    return Official(lambda state: {"model": state | decoder}, backbone, left_out={"decoder": 20})


def mae_finetuned() -> Official:
    backbone, head = vit(final_norm=False) | pair("fc_norm", WIDTH), pair("head", 10, WIDTH)

    def build(state: State) -> Any:
        return {"model": state | head, "epoch": 1, "args": Namespace(lr=1)}

    return Official(build, backbone, left_out={"classifier": 2})


def mocov3() -> Official:
    student = vit()
    heads = [moco_mlp("head.", (WIDTH, 64, 64, 16)) for _ in range(2)]
    predictor = moco_mlp("predictor.", (16, 64, 16))

    def build(teacher: State) -> Any:
        state = below("module.base_encoder.", student | heads[0])
        state |= below("module.momentum_encoder.", teacher | heads[1])
        state |= below("module.", predictor)
        return {
            "epoch": 300,
            "arch": "vit_small",
            "state_dict": state,
            "optimizer": {},
            "scaler": {},
        }

    return Official(build, vit(), student, {"projector": 16, "predictor": 10})


def timm() -> Official:
    head = pair("head", 10, WIDTH)
    return Official(lambda state: state | head, vit(scale="ls"), left_out={"classifier": 2})


def dinov2(registers: int = 0) -> Official:
    backbone = vit(patch=14, grid=(5, 5), scale="ls") | {"mask_token": draw((1, WIDTH))}
    if registers:
        backbone["register_tokens"] = draw((1, registers, WIDTH))
    return Official(lambda state: state, backbone)


def hf_dinov2() -> Official:
    head = pair("classifier", 10, 2 * WIDTH)
    return Official(lambda state: state | head, hugging_face(), left_out={"classifier": 2})


LAYOUTS: dict[str, Callable[[], Official]] = {
    "dino": dino,
    "ibot": ibot,
    "sere": sere,
    "selfpatch": selfpatch,
    "sit": sit,
    "relvit": relvit,
    "mae": mae,
    "mocov3": mocov3,
    "timm": timm,
    "dinov2": dinov2,
    "hf-dinov2": hf_dinov2,
}


def save(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path
