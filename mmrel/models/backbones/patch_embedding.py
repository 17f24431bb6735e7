"""A checkpoint's patch kernel for patches of another size and images of another number of channels, with a word on it."""

from collections.abc import Mapping

from torch import Tensor

from mmrel.ops.patch_kernel import fit_kernel_channels, resize_patch_kernel

KERNEL = "patch_embed.projection.weight"


def fit_patch_embedding(
    state: Mapping[str, Tensor], size: tuple[int, int], channels: int, source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a ViT with its kernel for other patches or channels.

    Args:
        state: tensors under mmpretrain's names, without prefix.
        size: ``(height, width)`` of the patches wanted, in pixels.
        channels: of the images.
        source: what to call the checkpoint in errors.

    Returns:
        The tensors, those that need no change as they are, and a sentence on each change.

    Raises:
        ValueError: the number of channels cannot be changed so.
    """
    kernel = state.get(KERNEL)
    if kernel is None or kernel.ndim != 4:
        return dict(state), []  # it is missing or none, and the check of the shapes names it
    given, sides = kernel.shape[1], tuple(kernel.shape[2:])
    remarks = []
    if given != channels:
        try:
            kernel = fit_kernel_channels(kernel, channels)
        except ValueError as error:
            raise ValueError(
                f"{source!r} was trained on images of {given} channels, the model takes {channels}: {error}. Set the "
                f"backbone's in_channels={given}, or choose another checkpoint."
            ) from error
        remarks.append(_channel_remark(given, channels))
    if sides != tuple(size):
        kernel = resize_patch_kernel(kernel, size)
        remarks.append(
            f"The patch kernel was resized from {_by(sides)} to {_by(size)} pixels by the pseudo-inverse resize "
            f"(FlexiViT); patch_size={sides[0]} would keep it."
        )
    return {**state, KERNEL: kernel}, remarks


def _channel_remark(given: int, channels: int) -> str:
    done = "summed" if channels == 1 else f"repeated and scaled by {given}/{channels}"
    return f"The patch kernel for {given} channel(s) was {done} for images of {channels}."


def _by(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))
