"""The pseudo-inverse resize of FlexiViT (arXiv 2212.08013, eq. 1), with the whole matrix of a patch's resize."""

import torch
from torch import Tensor


def bilinear(patch: Tensor, size: tuple[int, int]) -> Tensor:
    """``(h, w)`` to ``size``: each output is a weighted mean of the up to four inputs around its place."""
    resized = torch.zeros(size, dtype=patch.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            for row, share in taps(i, patch.shape[0], size[0]):
                for col, part in taps(j, patch.shape[1], size[1]):
                    resized[i, j] += share * part * patch[row, col]
    return resized


def taps(index: int, given: int, wanted: int) -> list[tuple[int, float]]:
    """Inputs, and their weights, of one output of an axis: half-pixel centres, the border's value beyond the border."""
    place = min(max((index + 0.5) * given / wanted - 0.5, 0.0), given - 1.0)
    low = int(place)
    return [(low, 1 - (place - low)), (min(low + 1, given - 1), place - low)]


def resize_matrix(given: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """B, ``(wanted pixels, given pixels)`` in float64."""
    pixels = given[0] * given[1]
    impulses = torch.eye(pixels, dtype=torch.float64).unflatten(1, given)
    return torch.stack([bilinear(impulse, wanted).flatten() for impulse in impulses], dim=1)


def resize_kernel(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B^T)^+ w`` of each channel and output of ``(C, channels, h, w)``."""
    inverse = torch.linalg.pinv(resize_matrix(tuple(kernel.shape[2:]), size).T)
    return (kernel.double().flatten(2) @ inverse.T).unflatten(2, size)
