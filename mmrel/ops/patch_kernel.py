"""The kernel that embeds patches, for patches of another size and images of another number of channels.

Sizes follow the pseudo-inverse resize of FlexiViT (Beyer et al., CVPR 2023, arXiv 2212.08013, section 3.4). A token is
the product ``<w, x>`` of kernel and patch. If patches are resized by a linear map B, the kernel ``(B^T)^+ w`` gives
``<(B^T)^+ w, B x> = <w, x>``: exactly, for every patch, where B enlarges, and with the least squared error over patches
of white noise where it shrinks. B is the bilinear resize with half-pixel centres and without antialiasing, as in the
authors' code (``tf.image.resize``); timm's ``resample_patch_embed`` takes the antialiased bicubic one by default.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

RGB = 3


def fit_patch_kernel(
    kernel: Tensor, size: tuple[int, int], channels: int
) -> tuple[Tensor, list[str]]:
    """A checkpoint's kernel for other patches or channels, with a sentence on each change, for the log.

    Args:
        kernel: ``(C, channels, h, w)``.
        size: ``(height, width)`` of the patches wanted, in pixels.
        channels: of the images.

    Returns:
        The kernel, itself where it fits, and the sentences.

    Raises:
        ValueError: the number of channels cannot be changed so.
    """
    given, sides = kernel.shape[1], tuple(kernel.shape[2:])
    remarks = []
    if given != channels:
        kernel = fit_kernel_channels(kernel, channels)
        done = "summed" if channels == 1 else f"repeated and scaled by {given}/{channels}"
        remarks.append(
            f"The patch kernel for {given} channel(s) was {done} for images of {channels}."
        )
    if sides != tuple(size):
        kernel = resize_patch_kernel(kernel, size)
        remarks.append(
            f"The patch kernel was resized from {_by(sides)} to {_by(size)} pixels by the pseudo-inverse resize "
            "(FlexiViT)."
        )
    return kernel, remarks


def resize_patch_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The kernel for patches of another size.

    B is separable, and so is its pseudo-inverse: one small matrix for each axis, computed in float64.

    Args:
        kernel: ``(C, channels, h, w)``, h and w in pixels.
        size: ``(height, width)`` wanted, in pixels. If it is ``(h, w)`` the input itself is returned.

    Returns:
        ``(C, channels, height, width)`` in the dtype of ``kernel``.

    Raises:
        ValueError: a kernel of another rank, or sides below 1.
    """
    if kernel.ndim != 4 or min(*kernel.shape[2:], *size) < 1:
        raise ValueError(
            f"the kernel has shape {tuple(kernel.shape)} and the size wanted is {tuple(size)}; wanted: (C, channels, "
            "height, width) and two sides of at least 1 pixel"
        )
    if tuple(kernel.shape[2:]) == tuple(size):
        return kernel
    rows, cols = (
        _inverse(given, wanted, kernel.device)
        for given, wanted in zip(kernel.shape[2:], size, strict=True)
    )
    return (rows @ kernel.double() @ cols.T).to(kernel.dtype)


def fit_kernel_channels(kernel: Tensor, channels: int) -> Tensor:
    """The kernel for images of another number of channels.

    - To one channel, the kernels of all channels are summed: an image whose channels are all the same gives the same
      tokens.
    - From one or three channels to n, they are repeated in order and scaled by given / n (as timm and I3D,
      arXiv 1705.07750, do), so that tokens keep their size: channel k gets the kernel of channel k modulo 3. Where n is
      a multiple, an image that repeats its channels gives the same tokens.

    Args:
        kernel: ``(C, given, h, w)``.
        channels: n, the number wanted. If it is the given one the input itself is returned.

    Returns:
        ``(C, n, h, w)`` in the dtype of ``kernel``.

    Raises:
        ValueError: n is below 1, or neither rule says which channel would be which (4 to 3, for instance).
    """
    if kernel.ndim != 4 or channels < 1:
        raise ValueError(
            f"the kernel has shape {tuple(kernel.shape)} and {channels} channel(s) are wanted; wanted: (C, channels, "
            "height, width) and at least 1 channel"
        )
    given = kernel.shape[1]
    if given == channels:
        return kernel
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    if given not in (1, RGB):
        raise ValueError(
            f"the weights were trained on images of {given} channels, which do not tell what {channels} would mean to "
            f"them; only those of 1 or {RGB} channels can be repeated, and any summed for 1. Set the backbone's "
            f"in_channels={given}, or choose another checkpoint"
        )
    order = torch.arange(channels, device=kernel.device) % given
    return kernel.index_select(1, order) * (given / channels)


def _inverse(given: int, wanted: int, device: torch.device) -> Tensor:
    """``(B^T)^+`` of one axis, ``(wanted, given)`` in float64."""
    impulses = torch.eye(given, dtype=torch.float64, device=device)[:, None]
    resize = F.interpolate(impulses, size=wanted, mode="linear", align_corners=False)[:, 0]
    return torch.linalg.pinv(resize)


def _by(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))
