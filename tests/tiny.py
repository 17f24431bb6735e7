"""Tiny models and batches that the tests of models and engine share: 16-pixel crops, patch 4, width 12."""

import torch
from torch import Tensor

from mmrel.registry import MODELS
from mmrel.structures import Geometry, ViewBatch

WIDTH, HEADS, PATCH, GLOBAL, LOCAL = 12, 2, 4, 16, 8


def vit(mask_token: bool = False, drop_path_rate: float = 0.0, **kwargs: object) -> dict:
    """Config of a two-block ViT."""
    arch = dict(embed_dims=WIDTH, num_layers=2, num_heads=HEADS, feedforward_channels=24)
    return dict(
        type="mmrel.ViT",
        arch=arch,
        patch_size=PATCH,
        mask_token=mask_token,
        drop_path_rate=drop_path_rate,
        **{"img_size": GLOBAL, **kwargs},
    )


def projection(prototypes: int = 7, patches: bool = False, **kwargs: object) -> dict:
    """Config of a small prototype projection."""
    return dict(
        type="mmrel.PrototypeProjection",
        in_channels=WIDTH,
        out_channels=prototypes,
        patches=patches,
        hidden_channels=16,
        bottleneck_channels=6,
        **kwargs,
    )


def dino(prototypes: int = 7, **kwargs: object) -> dict:
    """Config of a tiny DINO."""
    return dict(
        type="mmrel.DINO",
        backbone=vit(**kwargs),
        neck=projection(prototypes),
        head=dict(type="mmrel.DistillationHead", out_channels=prototypes),
    )


def ibot(prototypes: int = 7, **kwargs: object) -> dict:
    """Config of a tiny iBOT with shared prototypes."""
    return dict(
        type="mmrel.IBOT",
        backbone=vit(mask_token=True, **kwargs),
        neck=projection(prototypes, patches=True),
        head=dict(type="mmrel.DistillationHead", out_channels=prototypes),
        patch_head=dict(type="mmrel.MaskedDistillationHead", out_channels=prototypes),
    )


def mocov3(**kwargs: object) -> dict:
    """Config of a tiny MoCo v3, with plain batch norm."""
    return dict(
        type="mmrel.MoCoV3",
        backbone=dict(vit(**kwargs), type="mmrel.MoCoV3ViT"),
        neck=dict(
            type="mmrel.ContrastiveProjection",
            in_channels=WIDTH,
            hidden_channels=16,
            out_channels=6,
            norm_cfg=dict(type="BN1d"),
        ),
        head=dict(type="mmrel.ContrastiveHead"),
    )


def sit(alpha: float = 1.0, **kwargs: object) -> dict:
    """Config of a tiny SiT, with plain batch norm."""
    return dict(
        type="mmrel.SiT",
        backbone=vit(**kwargs),
        neck=dict(
            type="mmrel.ContrastiveProjection",
            in_channels=WIDTH,
            hidden_channels=16,
            out_channels=6,
            activations=("ReLU", "GELU"),
            predictor=False,
            bias=True,
            joint_views=True,
            norm_cfg=dict(type="BN1d"),
            init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
        ),
        decoder=dict(type="mmrel.PixelDecoder", in_channels=WIDTH, patch_size=PATCH),
        head=dict(type="mmrel.ContrastiveHead"),
        alpha=alpha,
    )


def selfpatch(**kwargs: object) -> dict:
    """Config of a tiny SelfPatch: patch 2, so that local crops have 4 x 4 patches; arguments of the neck."""
    neck = dict(
        type="mmrel.NeighbourAggregation",
        in_channels=WIDTH,
        num_heads=HEADS,
        out_channels=7,
        patch_out_channels=5,
        hidden_channels=16,
        bottleneck_channels=6,
    )
    return dict(
        type="mmrel.SelfPatch",
        backbone=dict(vit(with_cls_token=False, final_norm=False), patch_size=2),
        neck={**neck, **kwargs},
        head=dict(type="mmrel.DistillationHead", out_channels=7),
        patch_head=dict(type="mmrel.PatchDistillationHead", out_channels=5),
    )


def sere(base: dict | None = None, **kwargs: object) -> dict:
    """Config of a tiny SERE on iBOT or another base, with plain batch norm."""
    settings = dict(overlap_side=3, local_overlap_side=2, norm_cfg=dict(type="BN"))
    return dict(type="mmrel.SERE", base=base or ibot(), **{**settings, **kwargs})


def patch_head(kind: str, **kwargs: object) -> dict:
    """Config of one of RelViT's heads on the tiny ViT's grid."""
    return dict(type=f"mmrel.{kind}", in_channels=WIDTH, side=GLOBAL // PATCH, **kwargs)


def relvit(use_pos_embed: bool = False, drop_path_rate: float = 0.0, **heads: dict | None) -> dict:
    """Config of a tiny RelViT with relation and position head, or those that are given."""
    default = dict(
        relation=patch_head("PatchRelationHead"), position=patch_head("PatchPositionHead")
    )
    return dict(
        type="mmrel.RelViT",
        backbone=vit(use_pos_embed=use_pos_embed, drop_path_rate=drop_path_rate),
        head={**default, **heads},
    )


def build(config: dict, seed: int = 0) -> torch.nn.Module:
    """Build and initialise an algorithm, in training mode."""
    torch.manual_seed(seed)
    model = MODELS.build(config)
    model.init_weights()
    return model.train()


def view_batch(
    batch: int = 2,
    num_local: int = 3,
    masks: Tensor | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> ViewBatch:
    """Random crops with overlapping boxes; about a third of the patches hidden unless masks are given."""
    rng = torch.Generator().manual_seed(seed)
    num_patches = (GLOBAL // PATCH) ** 2
    global_crops = torch.randn(2 * batch, 3, GLOBAL, GLOBAL, generator=rng, dtype=dtype)
    local_crops = torch.randn(num_local * batch, 3, LOCAL, LOCAL, generator=rng, dtype=dtype)
    if masks is None:
        masks = torch.rand(2 * batch, num_patches, generator=rng) < 0.3
    corner = torch.rand(batch, 2 + num_local, 2, generator=rng) * 30
    size = torch.rand(batch, 2 + num_local, 2, generator=rng) * 20 + 30
    flip = torch.randint(0, 2, (batch, 2 + num_local, 1), generator=rng)
    indices = masks.flatten().nonzero().squeeze(1)
    weights = (1 / masks.sum(1).clamp(min=1)).repeat_interleave(num_patches)[indices]
    return ViewBatch(
        global_crops=global_crops,
        local_crops=local_crops if num_local else None,
        geometry=Geometry(torch.cat([corner, size, flip], dim=-1), 2),
        masks=masks,
        num_global=2,
        num_local=num_local,
        mask_indices=indices,
        mask_weights=weights.to(dtype),
        sample_indices=tuple(range(batch)),
    )


def images_of(views: ViewBatch, images: slice) -> ViewBatch:
    """Some images of a batch."""

    def take(stacked: Tensor, num_views: int) -> Tensor:
        return stacked.unflatten(0, (num_views, -1))[:, images].flatten(0, 1)

    assert views.masks is not None and views.geometry is not None
    masks = take(views.masks, views.num_global)
    hidden, weights = masks.flatten(), 1 / masks.sum(1).clamp(min=1)
    local_crops = views.local_crops
    return ViewBatch(
        global_crops=take(views.global_crops, views.num_global),
        local_crops=None if local_crops is None else take(local_crops, views.num_local),
        geometry=Geometry(views.geometry.boxes[images], views.num_global),
        masks=masks,
        num_global=views.num_global,
        num_local=views.num_local,
        mask_indices=hidden.nonzero().squeeze(1),
        mask_weights=weights.repeat_interleave(masks.shape[1])[hidden].float(),
    )
