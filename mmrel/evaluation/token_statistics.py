"""How the patch tokens of a set of images are spread: alike within an image, between images, over dimensions.

Cosine within an image and variance between images tell whether tokens say where they are or only which image they
belong to. The effective rank is RankMe's (Garrido et al., ICML 2023, arXiv 2210.02885; Roy and Vetterli, EUSIPCO 2007):
the exponential of the entropy of the normalised singular values, taken here of centred tokens, since a mean that all
share is no dimension that tells them apart.
"""

from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class TokenStatistics:
    """What they are like.

    Attributes:
        cosine_within_image: mean cosine of two different patches of one image, in [-1, 1].
        share_between_images: per cent of the tokens' variance that is the variance of the images' means.
        effective_rank: dimensions that the centred tokens fill, from 1 to the width.
    """

    cosine_within_image: float
    share_between_images: float
    effective_rank: float


class TokenSums:
    """Sums over images from which the statistics follow, so that the tokens need not be kept.

    Args:
        width: C of the tokens.
    """

    def __init__(self, width: int) -> None:
        self.images = self.patches = 0
        self.cosines = 0.0
        self.total = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)
        self.means = torch.zeros(width, width, dtype=torch.float64)

    def add(self, tokens: Tensor) -> None:
        """Count one image.

        Args:
            tokens: ``(N, C)``, N at least 2.

        Raises:
            ValueError: another shape, or values that are not finite.
        """
        width = len(self.total)
        if tokens.ndim != 2 or tokens.shape[1] != width or len(tokens) < 2:
            raise ValueError(
                f"tokens are {tuple(tokens.shape)}; wanted (N, {width}) with N of 2 or more"
            )
        if not tokens.isfinite().all():
            raise ValueError("tokens are not finite; the network's weights or its input are broken")
        own = tokens.detach().cpu().double()
        count = len(own)
        # The sum over all pairs is the squared length of the sum of unit vectors.
        alike = functional.normalize(own, dim=1).sum(0).square().sum().item()
        self.cosines += (alike - count) / (count * (count - 1))
        self.images += 1
        self.patches += count
        self.total += own.sum(0)
        self.products += own.T @ own
        mean = own.mean(0)
        self.means += count * torch.outer(mean, mean)

    def reduce(self) -> None:
        """Add up what all processes have counted; each of them calls this once, after its last image."""
        counts = torch.tensor([self.images, self.patches, self.cosines], dtype=torch.float64)
        parts = counts, self.total, self.products, self.means
        # A tensor of its own: one that was made in inference mode could not be written to outside of it.
        packed = torch.cat([part.flatten() for part in parts])
        all_reduce(packed, op="sum")
        sizes = [part.numel() for part in parts]
        summed = (
            values.reshape(part.shape)
            for values, part in zip(packed.split(sizes), parts, strict=True)
        )
        counts, self.total, self.products, self.means = summed
        images, patches, self.cosines = counts.tolist()
        self.images, self.patches = round(images), round(patches)

    def statistics(self) -> TokenStatistics:
        """Of all images counted so far.

        Raises:
            ValueError: fewer than two images.
        """
        if self.images < 2:
            raise ValueError(f"{self.images} image(s) were counted; give two or more")
        center = self.total / self.patches
        shared = self.patches * torch.outer(center, center)
        scatter, between = self.products - shared, self.means - shared
        whole = scatter.trace().item()
        share = 100 * between.trace().item() / whole if whole > 0 else 0.0
        return TokenStatistics(self.cosines / self.images, share, effective_rank(scatter))


def effective_rank(scatter: Tensor) -> float:
    """Exponential of the entropy of the singular values of tokens, from their scatter matrix.

    Args:
        scatter: ``(C, C)``, X^T X of tokens X; its eigenvalues are the squared singular values.

    Returns:
        A number in [1, C]; 1 where all tokens are the same.
    """
    values = torch.linalg.eigvalsh(scatter).clamp(min=0).sqrt()
    # Rounding leaves eigenvalues of some 1e-16 of the largest, so singular values of 1e-8.
    values = values[values > 1e-7 * values.max()]
    if not len(values):
        return 1.0
    shares = values / values.sum()
    return float((-(shares * shares.log()).sum()).exp())
