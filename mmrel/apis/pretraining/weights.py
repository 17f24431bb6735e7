"""Which network released weights belong to, told from the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrel.apis.choices import Choice
from mmrel.apis.going_on import going_on_options
from mmrel.apis.pretraining.settings import merged
from mmrel.apis.pretraining.wishes import NETWORKS, Wishes
from mmrel.checkpoints import read_backbone_file
from mmrel.utils.algorithm import with_bases
from mmrel.utils.errors import UsageError
from mmrel.utils.text import counted

USUAL_BLOCKS, CHANNELS_PER_HEAD = 12, 64


@dataclass(frozen=True)
class Weights:
    """Released weights.

    Attributes:
        path: the file.
        origin: who wrote it, as far as it is recognised.
        network: a key of ``NETWORKS``.
        meta: what a model must be built with, as :func:`mmrel.checkpoints.load_backbone` gives it.
    """

    path: str
    origin: str
    network: str
    meta: dict[str, Any]

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.meta["patch_size"])


def look_at_weights(wishes: Wishes) -> Weights | None:
    """The weights to go on from; ``None`` if the run begins at random.

    Raises:
        UsageError: the file is missing, of no known layout, or of another network than the one asked for.
    """
    if wishes.weights is None:
        return None
    path = str(Path(wishes.weights).expanduser().absolute())
    try:
        found = read_backbone_file(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"--from {path}: {error}") from error
    meta = found.meta
    network = network_of(meta)
    described = (
        f"a vision transformer of {meta['num_layers']} blocks, {meta['embed_dims']} wide, with patches of "
        f"{meta['patch_size']} pixels ({found.layout})"
    )
    if network is None:
        raise UsageError(
            f"--from {path} holds {described}; tools/pretrain.py goes on from {', '.join(NETWORKS)} of {USUAL_BLOCKS} "
            "blocks. For others write a configuration: tools/train.py CONFIG --cfg-options load_from=FILE."
        )
    if wishes.network not in (None, network):
        raise UsageError(
            f"--from {path} holds {described}: that is {network}, but --network is {wishes.network}. Leave --network "
            "out, or give weights of that network."
        )
    return Weights(path, found.layout, network, meta)


def network_of(meta: dict[str, Any]) -> str | None:
    """The network of these sizes, or ``None``."""
    width = meta["embed_dims"]
    usual = meta["num_layers"] == USUAL_BLOCKS and meta["feedforward_channels"] == 4 * width
    return next((name for name, wide in NETWORKS.items() if wide == width and usual), None)


def settings_for(weights: Weights, config: Any) -> dict[str, Any]:
    """What a configuration needs to go on from these weights, to be merged into it.

    Beside :func:`mmrel.apis.going_on.going_on_options` these are what the weights were trained with: number of heads,
    layer scales, mean and deviation of the images.

    Args:
        weights: as looked at.
        config: of the pretraining, its widths settled.
    """
    options = going_on_options(config, weights.path)
    models = list(with_bases(config.model))
    backbone = _backbone_settings(weights.meta, models[-1]["backbone"])
    if backbone:
        model: dict[str, Any] = dict(backbone=backbone)
        for _ in models[1:]:
            model = dict(base=model)
        options["model"] = merged(options.get("model", {}), model)
    known = {name: list(weights.meta[name]) for name in ("mean", "std") if weights.meta.get(name)}
    if any(list(config.data_preprocessor.get(name, ())) != value for name, value in known.items()):
        options["data_preprocessor"] = known
    return options


def _backbone_settings(meta: Mapping[str, Any], backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Heads and layer scales, where they are not the method's own."""
    arch, names = (
        backbone["arch"],
        ("embed_dims", "num_layers", "num_heads", "feedforward_channels"),
    )
    usual = meta["embed_dims"] // CHANNELS_PER_HEAD
    own = arch["num_heads"] if isinstance(arch, Mapping) else usual
    settings: dict[str, Any] = {}
    if meta["num_heads"] not in (None, own):
        # A dict in the place of a name needs MMEngine's word for it.
        settings["arch"] = dict(_delete_=True, **{name: meta[name] for name in names})
    if meta["layer_scale"]:
        settings["layer_scale_init_value"] = 1.0
    return settings


def going_on_rows(weights: Weights, config: Any) -> list[Choice]:
    """What the table says of them, from the settled configuration."""
    epochs = config.default_hooks.freeze_backbone.epochs
    rest = counted(epochs, "epoch")
    return [
        Choice(
            "weights", f"{weights.network}, patch {weights.patch}, {weights.origin}", weights.path
        ),
        Choice(
            "backbone rests",
            rest,
            "while fresh necks and heads learn to read it; then at a tenth of the rate",
        ),
    ]
