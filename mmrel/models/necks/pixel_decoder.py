"""The light decoder of SiT, from patch tokens back to pixels (arXiv 2104.03602)."""

import copy

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, ViewBatch

RGB = 3


@MODELS.register_module()
class PixelDecoder(BaseModule):
    """Predicts normalised pixels of each patch from its token alone.

    Three times linear layer and GELU, then a transposed convolution whose kernel and stride are the patch size. It
    reads the tokens after the backbone's final norm. Only the student has it; the official code keeps an unused copy
    in the teacher. The transposed convolution keeps torch's own initialisation.

    Args:
        in_channels: C, width of the backbone.
        patch_size: side of a patch in pixels.
        out_channels: channels of the images, the backbone's ``in_channels``.
        init_cfg: MMEngine's initialisation config; without one, linear layers have truncated normal weights of std
            0.02 and biases 0.
    """

    def __init__(
        self,
        in_channels: int,
        patch_size: int = 16,
        out_channels: int = RGB,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type="TruncNormal", layer="Linear", std=0.02))
        layers = [(nn.Linear(in_channels, in_channels), nn.GELU()) for _ in range(3)]
        self.mlp: nn.Module | None = nn.Sequential(*(part for layer in layers for part in layer))
        self.to_pixels: nn.Module | None = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size=patch_size, stride=patch_size
        )

    def student(self, tokens: NetworkTokens, views: ViewBatch) -> Tensor:
        """Predicted crops ``(V*B, out_channels, H, W)``, view-major, in normalised units."""
        assert self.mlp is not None and self.to_pixels is not None, "a teacher has no decoder"
        crops = tokens.global_crops
        maps = self.mlp(crops.patches).transpose(1, 2).unflatten(2, crops.grid)
        return self.to_pixels(maps)

    def teacher(self, tokens: NetworkTokens, views: ViewBatch) -> None:
        """Nothing: the target is the clean crop itself."""

    def teacher_copy(self) -> "PixelDecoder":
        """A copy without any part."""
        teacher = copy.deepcopy(self)
        teacher.mlp = teacher.to_pixels = None
        return teacher
