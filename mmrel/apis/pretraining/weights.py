"""Which network released weights belong to, told from the file."""

from dataclasses import dataclass
from typing import Any

from mmrel.apis.pretraining.wishes import NETWORKS, Wishes
from mmrel.checkpoints import read_backbone_file
from mmrel.utils.errors import UsageError

USUAL_BLOCKS = 12


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
    path = wishes.weights
    if path is None:
        return None
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
