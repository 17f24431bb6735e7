"""A pretrained backbone from one call, whoever trained it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from mmrel.checkpoints import Backbone, read_backbone_file
from mmrel.checkpoints.architectures import SIZES
from mmrel.checkpoints.config_text import (
    as_normalization,
    find_normalization,
    given_normalization,
)
from mmrel.checkpoints.inputs import check_normalization
from mmrel.checkpoints.layouts import NETWORKS
from mmrel.models.backbones import ViT
from mmrel.models.backbones.dense_vit import check_blocks
from mmrel.models.backbones.pretrained import load_fitted
from mmrel.registry import MODELS
from mmrel.utils.config import load_config
from mmrel.utils.normalization import Normalization
from mmrel.utils.text import listed

CONFIG_SUFFIXES = (".py", ".json", ".yml", ".yaml")


def get_backbone(
    checkpoint_or_config: str | Path | Config,
    network: str | None = "teacher",
    out_indices: Sequence[int] | None = None,
    out_norm: bool = True,
    **options: Any,
) -> ViT:
    """Build the backbone that a checkpoint holds, or that a config describes.

    What a checkpoint gave is logged: the file, its layout, which network, how many tensors. A missing one is an error.

    Args:
        checkpoint_or_config: a checkpoint: of a pretraining with mmrel, of ``tools/export_backbone.py`` or
            ``tools/convert_checkpoint.py``, or as DINO, iBOT, SERE, SelfPatch, SiT, RelViT, MAE, MoCo v3, timm, DINOv2
            or mmpretrain save theirs. Nothing stored in it is executed. Or a pretraining's config, as a file or loaded:
            then the weights are freshly drawn, by torch's random generator.
        network: ``'teacher'`` or ``'student'``, of a checkpoint that holds both; ``None``: the one that the method's
            authors evaluate.
        out_indices: numbers of the blocks whose features :func:`mmrel.apis.extract_features` takes of this backbone,
            where nothing else is said there; negative ones count from the end. ``None``: the last one.
        out_norm: whether those features pass the final norm, if the network has one.
        **options: of a checkpoint, where it does not tell them: ``num_heads``, ``img_size``, ``mean`` and ``std``; what
            to change: ``patch_size`` (14 to 16) and ``in_channels``; and others of
            :func:`mmrel.checkpoints.read_backbone_file`.

    Returns:
        The backbone in evaluation mode, on the CPU, every tensor of it from the checkpoint; ``normalization`` is the
        mean and deviation of its images, ``None`` where nothing tells them (a warning then says so). Its ``eval()`` and
        ``train()`` return nothing, as those of all of mmpretrain's backbones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown network, no such blocks, or a file that cannot be read, lacks tensors, holds no plain
            ViT, or does not tell its number of attention heads.
    """
    backbone = _build(checkpoint_or_config, network, options)
    if out_indices is not None:
        backbone.out_indices = check_blocks(out_indices, len(backbone.layers))
    backbone.out_norm = out_norm
    backbone.eval()
    return backbone


def _build(source: str | Path | Config, network: str | None, options: dict[str, Any]) -> ViT:
    if network not in (None, *NETWORKS):
        raise ValueError(
            f"network is {network!r}; choose {' or '.join(map(repr, NETWORKS))}, or None"
        )
    numbers = given_normalization(options.get("mean"), options.get("std"))
    given = as_normalization(numbers.get("mean"), numbers.get("std"))
    if isinstance(source, Config):
        return _random_backbone(source, network, given)
    path = Path(source).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"'{path}' {what} (looked for {path.absolute()}); give a checkpoint or a pretraining's config"
        )
    if path.suffix in CONFIG_SUFFIXES:
        return _random_backbone(load_config(str(path)), network, given)
    return _pretrained_backbone(read_backbone_file(path, network=network, **options), str(path))


def _random_backbone(config: Config, network: str | None, given: Normalization | None) -> ViT:
    model = config.get("model") or {}
    settings = model.get("base", model).get("backbone")
    backbone = None if settings is None else MODELS.build(dict(settings))
    if not isinstance(backbone, ViT):
        found = "none" if settings is None else settings.get("type")
        raise ValueError(
            f"the config's backbone is {found}; wanted mmrel.ViT. Give the config of a pretraining"
        )
    with brief_log():
        backbone.init_weights()
    if given is not None:
        check_normalization(given, backbone.in_channels)
    known = find_normalization(model, config.get("data_preprocessor"))
    backbone.normalization = given or known
    return backbone if network == "student" else backbone.teacher_copy()


def _pretrained_backbone(found: Backbone, source: str) -> ViT:
    meta = found.meta
    size = meta["img_size"]
    backbone = ViT(
        arch={name: meta[name] for name in SIZES},
        img_size=size if isinstance(size, int) else tuple(size),
        patch_size=meta["patch_size"],
        in_channels=meta["in_channels"],
        num_registers=meta["num_registers"],
        with_cls_token=meta["with_cls_token"],
        final_norm=meta["final_norm"],
        use_pos_embed=meta["use_pos_embed"],
        # Only mmpretrain's own files do not tell, and mmpretrain resizes by size.
        pos_interpolation=meta["pos_interpolation"] or "size",
        layer_scale_init_value=1.0 if meta["layer_scale"] else 0.0,
    )
    backbone.provenance = _provenance(found, source)
    for line in (backbone.provenance, *(f"{source}: {change}" for change in found.changes)):
        print_log(line, "current")
    load_fitted(backbone, found.state, meta, source)
    backbone.normalization = as_normalization(meta["mean"], meta["std"])
    if backbone.normalization is None:
        print_log(
            f"{source} does not tell the mean and deviation of its images; features are computed with ImageNet's. "
            "Give mean and std (R, G, B on the 0-255 scale) if it was trained with others",
            "current",
            logging.WARNING,
        )
    return backbone


def _provenance(found: Backbone, source: str) -> str:
    meta = found.meta
    size = (
        meta["img_size"]
        if isinstance(meta["img_size"], int)
        else "x".join(map(str, meta["img_size"]))
    )
    network = meta["network"] or "its only network"
    parts = [
        f"{source}: {network} in the layout of {found.layout}, {len(found.state)} tensors",
        f"{meta['num_layers']} blocks of {meta['embed_dims']} channels and {meta['num_heads']} heads",
        f"patches of {meta['patch_size']} pixels, positions for {size}",
    ]
    if found.left_out:
        groups = [f"{len(names)} of {group}" for group, names in found.left_out.items()]
        parts.append(f"left out: {listed(groups)}")
    return "; ".join(parts)


@contextmanager
def brief_log() -> Iterator[None]:
    """Keep MMEngine from logging how each single tensor was initialised."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
