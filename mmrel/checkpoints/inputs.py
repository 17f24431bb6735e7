"""Weights for another input than they were trained on: patches of another size, images of other channels."""

from typing import Any

from mmrel.checkpoints.config_text import as_normalization
from mmrel.checkpoints.describe import PROJECTION
from mmrel.checkpoints.rules import State
from mmrel.ops.patch_kernel import fit_patch_kernel
from mmrel.utils.normalization import Normalization


def fit_input(
    state: State,
    meta: dict[str, Any],
    patch_size: int | None,
    in_channels: int | None,
) -> tuple[State, dict[str, Any], list[str]]:
    """A backbone for another size of patches, on the same grid, and another number of channels.

    Args:
        state: tensors under mmpretrain's names, without prefix.
        meta: what the network must be built with.
        patch_size: side in pixels; ``None`` leaves it.
        in_channels: channels of the images; ``None`` leaves them.

    Returns:
        The tensors, the meta (``patch_size``, ``img_size``, ``in_channels``, ``mean`` and ``std``), and a sentence on
        each change.

    Raises:
        ValueError: a size or a number below 1, or channels that the kernel cannot be changed to.
    """
    given, own = meta["patch_size"], meta["in_channels"]
    size = given if patch_size is None else patch_size
    channels = own if in_channels is None else in_channels
    if min(size, channels) < 1:
        raise ValueError(
            f"patch_size is {patch_size} and in_channels is {in_channels}; give 1 or more, or None to leave them"
        )
    kernel, remarks = fit_patch_kernel(state[PROJECTION], (size, size), channels)
    return (
        {**state, PROJECTION: kernel},
        meta | _sizes(meta, size) | _normalization(meta, channels),
        remarks,
    )


def _sizes(meta: dict[str, Any], size: int) -> dict[str, Any]:
    """The grid of the positions stays, so that the image grows or shrinks with its patches."""
    given, image = meta["patch_size"], meta["img_size"]
    if isinstance(image, int):
        image = image // given * size
    elif image is not None:
        image = [side // given * size for side in image]
    return {"patch_size": size, "img_size": image}


def _normalization(meta: dict[str, Any], channels: int) -> dict[str, Any]:
    known = as_normalization(meta["mean"], meta["std"])
    if channels == meta["in_channels"] or known is None:
        return {"in_channels": channels}
    numbers = {
        name: list(values) for name, values in known.for_channels(channels)._asdict().items()
    }
    return {"in_channels": channels, **numbers}


def check_normalization(given: Normalization, channels: int) -> None:
    """Raise ``ValueError`` unless mean and deviation, which somebody gave, have a number for each channel."""
    if len(given.mean) != channels:
        raise ValueError(
            f"mean is {given.mean} and std is {given.std}, but the network is for images of {channels} channel(s); "
            "give one number for each."
        )
