"""The keys ``network``, ``crop_size``, ``patch_size`` and ``precision`` of a configuration, and what follows from them.

A configuration that has these keys at its top level says ``"auto"`` wherever a number follows from them, so that one
of them can be changed alone: ``--cfg-options network=vit-tiny crop_size=96``. :func:`settle_network` fills them in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mmrel.utils.errors import UsageError

AUTO = "auto"
KEYS = ("network", "crop_size", "patch_size", "precision")
PRECISIONS = ("fp32", "fp16", "bf16")
HEAD_WIDTH = 64
"""Channels of an attention head, of SelfPatch's class attention and of SERE's groups, on every ViT here."""

LEAST_GRID = 3
"""Patches per side of a local crop: SelfPatch looks at all eight neighbours."""


@dataclass(frozen=True)
class Network:
    """A vision transformer by its name.

    Attributes:
        arch: mmpretrain's name of it.
        width: channels of a token.
        most_prototypes: more would outweigh the network itself.
    """

    arch: str
    width: int
    most_prototypes: int = 65536


NETWORKS = {
    "vit-tiny": Network("deit-tiny", 192, most_prototypes=8192),
    "vit-small": Network("deit-small", 384),
    "vit-base": Network("deit-base", 768),
}
MOCOV3_SMALL = dict(embed_dims=384, num_layers=12, num_heads=12, feedforward_channels=1536)


@dataclass(frozen=True)
class Shape:
    """The values of the keys, checked.

    Attributes:
        network: what ``network`` names.
        crop_size: side of a global crop in pixels.
        patch_size: side of a patch in pixels.
        precision: of the training.
        prototypes: what the recipe has at most.
    """

    network: Network
    crop_size: int
    patch_size: int
    precision: str
    prototypes: int

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """Read them from a configuration.

        Raises:
            UsageError: a value that is not allowed.
        """
        name, crop, patch, precision = (config.get(key) for key in KEYS)
        _choose("network", name, NETWORKS)
        _choose("precision", precision, PRECISIONS)
        if not isinstance(patch, int) or isinstance(patch, bool) or patch < 1:
            raise UsageError(
                f"patch_size is {patch!r}; give a number of pixels, such as 16, 14 or 8."
            )
        if not isinstance(crop, int) or isinstance(crop, bool) or crop % patch or crop < 3 * patch:
            near = (
                max(3, round(crop / patch)) * patch if isinstance(crop, int | float) else 14 * patch
            )
            raise UsageError(
                f"crop_size is {crop!r}; it must be a whole number of patches of {patch} pixels, at least three: "
                f"give crop_size={near}, or another patch_size."
            )
        prototypes = (config.get("recipe") or {}).get("prototypes", 0)
        return cls(NETWORKS[name], crop, patch, precision, prototypes)

    @property
    def grid(self) -> int:
        """Patches per side of a global crop."""
        return self.crop_size // self.patch_size

    @property
    def local_grid(self) -> int:
        """Patches per side of a local crop: 6 of 14, as 96 pixels are of 224."""
        return max(LEAST_GRID, round(self.grid * 96 / 224))


def _arch(shape: Shape, part: dict[str, Any]) -> Any:
    mocov3 = str(part.get("type", "")).endswith("MoCoV3ViT") and shape.network.width == 384
    return dict(MOCOV3_SMALL) if mocov3 else shape.network.arch


RULES: dict[str, Callable[[Shape, dict[str, Any]], Any]] = {
    "arch": _arch,
    "img_size": lambda shape, _: shape.crop_size,
    "global_size": lambda shape, _: shape.crop_size,
    "local_size": lambda shape, _: shape.local_grid * shape.patch_size,
    "patch_size": lambda shape, _: shape.patch_size,
    "in_channels": lambda shape, _: shape.network.width,
    "num_heads": lambda shape, _: shape.network.width // HEAD_WIDTH,
    "out_channels": lambda shape, _: min(shape.prototypes, shape.network.most_prototypes),
    "overlap_side": lambda shape, _: max(2, shape.grid - 1),
    "local_overlap_side": lambda shape, _: shape.local_grid,
    "precision": lambda shape, _: shape.precision,
}
"""What a key that says ``"auto"`` becomes."""


def settle_network(config: Any, options: dict[str, Any] | None = None) -> None:
    """Put in the numbers that follow from ``network``, ``crop_size``, ``patch_size`` and ``precision``.

    Args:
        config (mmengine.Config): changed in place; without these keys it stays as it is.
        options (dict, optional): what ``--cfg-options`` gave; of the four keys, its values are taken.

    Raises:
        UsageError: a value that is not allowed, or one for a configuration whose numbers do not follow from the keys.
    """
    given = {key: value for key, value in (options or {}).items() if key in KEYS}
    open_places = [
        (part, key) for part, key, value in _entries(config) if value == AUTO and key in RULES
    ]
    if given and not (open_places and "network" in config):
        _refuse(config, given)
    if not open_places or "network" not in config:
        return
    for key, value in given.items():
        config[key] = value
    shape = Shape.of(config)
    for part, key in open_places:
        part[key] = RULES[key](shape, part)


def _refuse(config: Any, given: dict[str, Any]) -> None:
    option = ", ".join(f"{key}={value}" for key, value in given.items())
    if "network" in config:
        raise UsageError(
            f"{option} was given, but {config.filename} is the configuration of a run: its widths and sizes are "
            "numbers already. Give the recipe that the run was started with, and another --work-dir."
        )
    raise UsageError(
        f"{option} was given, but {config.filename} has no such key: its widths and sizes are those of a paper. The "
        "recipes configs/*/*_custom.py have the keys network, crop_size, patch_size and precision; here set "
        "model.backbone.arch and every in_channels, num_heads and out_channels that goes with it, or "
        "optim_wrapper.precision."
    )


def _choose(key: str, value: Any, allowed: Any) -> None:
    if value not in tuple(allowed):
        raise UsageError(f"{key} is {value!r}; choose one of {', '.join(allowed)}.")


def _entries(config: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Every key below the top level, with the dict that holds it."""
    nodes = [config[name] for name in config]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            yield from ((node, key, value) for key, value in list(node.items()))
            nodes.extend(node.values())
        elif isinstance(node, list | tuple):
            nodes.extend(node)
