"""Patch kernels of other sizes and channels: a slow reference, and tokens that stay the same."""

import pytest
import torch
from reference.patch_kernel import resize_kernel, resize_matrix
from torch.nn import functional as F

from mmrel.ops.patch_kernel import fit_kernel_channels, resize_patch_kernel

SIZES = [
    ((14, 14), (16, 16)),
    ((4, 4), (8, 8)),
    ((8, 8), (6, 6)),
    ((3, 5), (7, 4)),
    ((6, 6), (2, 3)),
]


@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_resize__equals_the_whole_pseudo_inverse(
    given: tuple[int, int], wanted: tuple[int, int]
) -> None:
    kernel = torch.randn(2, 3, *given, dtype=torch.float64)
    expected = resize_kernel(kernel, wanted)
    torch.testing.assert_close(
        resize_patch_kernel(kernel, wanted), expected, rtol=1e-10, atol=1e-10
    )
    single = resize_patch_kernel(kernel.float(), wanted)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "wanted"), [((14, 14), (16, 16)), ((8, 8), (16, 16)), ((3, 5), (7, 6))]
)
def test_resize__enlarging_keeps_every_token(
    given: tuple[int, int], wanted: tuple[int, int]
) -> None:
    """``<w', B x> = <w, x>`` for any patch, with torch's own bilinear resize as B."""
    kernel = torch.randn(4, 3, *given, dtype=torch.float64)
    patches = torch.rand(5, 3, *given, dtype=torch.float64)
    enlarged = F.interpolate(patches, size=wanted, mode="bilinear", align_corners=False)
    tokens = F.conv2d(enlarged, resize_patch_kernel(kernel, wanted))
    torch.testing.assert_close(tokens, F.conv2d(patches, kernel), rtol=1e-10, atol=1e-10)


def test_resize__shrinking_has_the_least_squared_error() -> None:
    """Over patches of white noise: no other kernel is nearer, as the gradient of ``|B^T w' - w|^2`` is 0."""
    kernel = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    matrix = resize_matrix((8, 8), (5, 5))
    small = resize_patch_kernel(kernel, (5, 5)).flatten(2)
    gradient = (small @ matrix - kernel.flatten(2)) @ matrix.T
    assert gradient.abs().max() < 1e-10


def test_resize__same_size_returns_the_input_and_has_gradients() -> None:
    kernel = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert resize_patch_kernel(kernel, (3, 3)) is kernel
    assert torch.autograd.gradcheck(lambda k: resize_patch_kernel(k, (4, 5)), kernel)
    for wrong, size in ((torch.zeros(3, 3), (4, 4)), (kernel, (0, 4))):
        with pytest.raises(ValueError, match="sides of at least 1 pixel"):
            resize_patch_kernel(wrong, size)


def test_channels__a_grey_image_has_the_tokens_of_its_rgb_copy() -> None:
    kernel, grey = torch.randn(4, 3, 2, 2).double(), torch.rand(2, 1, 6, 6).double()
    wanted = F.conv2d(grey.expand(-1, 3, -1, -1), kernel, stride=2)
    found = F.conv2d(grey, fit_kernel_channels(kernel, 1), stride=2)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("given", "channels"), [(3, 6), (1, 4), (3, 9)])
def test_channels__repeated_channels_have_the_same_tokens(given: int, channels: int) -> None:
    kernel, image = torch.randn(4, given, 2, 2).double(), torch.rand(2, given, 6, 6).double()
    many = image.repeat(1, channels // given, 1, 1)
    found = F.conv2d(many, fit_kernel_channels(kernel, channels), stride=2)
    torch.testing.assert_close(found, F.conv2d(image, kernel, stride=2), rtol=1e-12, atol=1e-12)


def test_channels__five_get_red_green_blue_red_green_at_three_fifths() -> None:
    kernel = torch.arange(3.0).view(1, 3, 1, 1) + 1
    assert torch.equal(
        fit_kernel_channels(kernel, 5).flatten(), torch.tensor([1.0, 2, 3, 1, 2]) * (3 / 5)
    )
    assert fit_kernel_channels(kernel, 3) is kernel
    with pytest.raises(
        ValueError, match="trained on images of 4 channels, which do not tell what 3 would"
    ):
        fit_kernel_channels(torch.zeros(1, 4, 2, 2), 3)
    with pytest.raises(ValueError, match="at least 1 channel"):
        fit_kernel_channels(kernel, 0)
