"""Batched colour operations with one set of parameters per image, on whatever device the batch is.

Every operation equals the one of ``torchvision.transforms.v2.functional`` on the same parameters,
up to the tolerance in its docstring (largest difference of float32 values in [0, 1]). Unlike the
PIL operations of the papers' codes, nothing is rounded to 256 levels in between. No operation waits
for the device: which images an operation concerns is decided on the host, from the table that the
loader drew. On a GPU with Triton, :mod:`mmrel.ops.colors` does the same in one pass per stage.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GRAY_WEIGHTS = (0.2989, 0.587, 0.114)


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]; float passes unchanged. Equal to ``to_dtype`` to 1e-7."""
    return images if images.is_floating_point() else images.to(torch.float32).div_(255)


def flip(images: Tensor, flags: Tensor) -> Tensor:
    """Mirror left-right the images whose flag is true. Equal to ``horizontal_flip``, exactly.

    Args:
        images: ``(n, 3, h, w)`` of any type.
        flags: bool ``(n,)``.

    Returns:
        Images like the input.
    """
    return torch.where(_per_image(flags), images.flip(-1), images)


def blend(images: Tensor, scale: Tensor, mean_weight: Tensor, gray_weight: Tensor) -> Tensor:
    """``clamp(scale * image + mean_weight * mean(gray) + gray_weight * gray, 0, 1)``.

    Brightness, contrast and saturation are all of this form, which lets images that need different
    ones be treated together; ``(1, 0, 0)`` changes nothing, exactly.

    Args:
        images: float ``(n, C, h, w)``, in [0, 1].
        scale: ``(n,)``.
        mean_weight: ``(n,)``, weight of the image's mean grey value.
        gray_weight: ``(n,)``, weight of the pixel's grey value.

    Returns:
        Images like the input.
    """
    gray = luminance(images)
    mean = gray.mean(dim=(1, 2, 3), keepdim=True).mul_(_per_image(mean_weight))
    reference = gray.mul_(_per_image(gray_weight)).add_(mean)
    return (images * _per_image(scale)).add_(reference).clamp_(0, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """``factor * image``, clamped. Equal to torchvision's to 1e-6. Shapes as :func:`blend`."""
    zero = torch.zeros_like(factor)
    return blend(images, factor, zero, zero)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey value. Equal to torchvision's to 2e-6. Shapes as :func:`blend`."""
    return blend(images, factor, 1 - factor, torch.zeros_like(factor))


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image. Equal to torchvision's to 1e-6. Shapes as :func:`blend`."""
    return blend(images, factor, torch.zeros_like(factor), 1 - factor)


def adjust_hue(images: Tensor, shift: Tensor, bounded: bool = True) -> Tensor:
    """Turn the colour circle. Equal to torchvision's to 1e-5.

    With V the largest channel, C its distance to the smallest and H the hue as a share of the
    circle, channel c of the result is ``V - C * (1 - clamp(|6 * frac(H + shift + k_c) - 3| - 1, 0,
    1))`` with k = 1, 2/3, 1/3.

    Args:
        images: float ``(n, 3, h, w)``, in [0, 1].
        shift: ``(n,)`` as a share of the full circle, in [-0.5, 0.5].
        bounded: that the values are in [0, 1]. If false they may be any, and all but a pixel's largest
            channel are limited to [0, 1], as torchvision's operation does.

    Returns:
        Images like the input.
    """
    red, green, blue = (images[:, i : i + 1] for i in range(3))
    high = torch.maximum(torch.maximum(red, green), blue)
    chroma = high - torch.minimum(torch.minimum(red, green), blue)
    hue = _hue(high - images, chroma).add_(_per_image(shift + 1))
    # 1, 2/3, 1/3, made where they are needed: numbers from the host would make it wait.
    offsets = torch.arange(3, 0, -1, dtype=hue.dtype, device=hue.device).div_(3).view(1, 3, 1, 1)
    part = (hue + offsets).frac_().mul_(6).sub_(3).abs_().neg_().add_(2).clamp_(0, 1)
    if bounded:
        return part.mul_(chroma).neg_().add_(high)
    excess = (high - high.clamp(0, 1)) * (1 - part.ceil())
    return part.mul_(chroma).neg_().add_(high).clamp_(0, 1).add_(excess)


def _hue(below: Tensor, chroma: Tensor) -> Tensor:
    """Hue as a share of the circle, in [-1/6, 5/6]: red is 0, green 1/3, blue 2/3; grey gives 0.

    Sums of products with indicators take the place of ``torch.where``, which is many times slower
    on the CPU.

    Args:
        below: ``(n, 3, h, w)``, distance of each channel to the largest one.
        chroma: ``(n, 1, h, w)``, distance of the smallest channel to the largest one.
    """
    share = below / chroma.clamp(min=1e-20)
    red, green, blue = (share[:, i : i + 1] for i in range(3))
    not_red = red.ceil()
    is_blue = not_red * green.ceil()
    is_green = not_red - is_blue
    hue = (blue - green).mul_(1 - not_red)
    hue.add_((red - blue).add_(2).mul_(is_green))
    hue.add_((green - red).add_(4).mul_(is_blue))
    return hue.div_(6)


def luminance(images: Tensor) -> Tensor:
    """Grey values ``(n, 1, h, w)`` of ``(n, 3, h, w)``: 0.2989 R + 0.587 G + 0.114 B; of other channels, their mean."""
    if images.shape[1] != len(GRAY_WEIGHTS):
        return images.mean(dim=1, keepdim=True)
    red, green, blue = (images[:, i : i + 1] for i in range(3))
    r, g, b = GRAY_WEIGHTS
    return (red * r).add_(green, alpha=g).add_(blue, alpha=b)


def to_grayscale(images: Tensor) -> Tensor:
    """Grey images with three channels. Equal to ``rgb_to_grayscale(3)``, to 1e-6."""
    return luminance(images).expand_as(images)


def gaussian_kernels(sigma: Tensor, kernel_size: int) -> Tensor:
    """Normalised Gaussian weights ``(n, kernel_size)`` for sigmas ``(n,)`` in pixels."""
    half = kernel_size // 2
    distance = torch.arange(-half, half + 1, dtype=sigma.dtype, device=sigma.device)
    return torch.softmax(-0.5 * (distance / sigma[:, None]).square(), dim=1)


def fit_kernel_size(kernel_size: int, height: int, width: int) -> int:
    """The largest odd size up to ``kernel_size`` that reflection at the border allows."""
    return min(kernel_size, 2 * min(height, width) - 1)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Gaussian blur with reflected borders. Equal to ``gaussian_blur`` to 1e-6.

    The papers' codes use PIL's ``GaussianBlur(radius=sigma)``, which approximates the same filter
    by three box filters.

    Args:
        images: float ``(n, 3, h, w)``.
        sigma: ``(n,)``, in pixels, > 0.
        kernel_size: odd; 13 covers three standard deviations of the recipes' largest sigma, 2. It
            is lowered to ``2 * min(h, w) - 1`` for tiny images.

    Returns:
        Images like the input.
    """
    n, channels, height, width = images.shape
    size = fit_kernel_size(kernel_size, height, width)
    weights = gaussian_kernels(sigma, size).repeat_interleave(channels, dim=0)
    padded = F.pad(images, (size // 2,) * 4, mode="reflect")
    # Every image has a sigma of its own. As groups of one convolution, all are blurred in two
    # calls.
    stacked = padded.reshape(1, n * channels, *padded.shape[-2:])
    rows = F.conv2d(stacked, weights[:, None, None, :], groups=n * channels)
    blurred = F.conv2d(rows, weights[:, None, :, None], groups=n * channels)
    return blurred.view_as(images)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values at or above the threshold. Equal to torchvision's, exactly.

    Args:
        images: float ``(n, 3, h, w)``, in [0, 1].
        threshold: ``(n,)``, in [0, 1].

    Returns:
        Images like the input.
    """
    return torch.where(images >= _per_image(threshold), 1 - images, images)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(image - mean) / std``, in place. Equal to torchvision's to 1e-6.

    Args:
        images: float ``(n, C, h, w)``.
        mean: ``(C, 1, 1)``, in the images' units.
        std: ``(C, 1, 1)``.

    Returns:
        The same tensor.
    """
    return images.sub_(mean).div_(std)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
