"""Feature pyramid from the single-stride maps of a plain ViT.

The operator of BEiT, iBOT (arXiv 2111.07832) and SelfPatch for COCO and ADE20K: each of four maps
is brought to its own stride by transposed convolutions or max-pooling. mmseg has the same operator
as ``Feature2Pyramid``, mmdet has none; with this one both use the same checkpoint layout.
"""

from collections import OrderedDict
from collections.abc import Sequence

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrel.models.layers import build_norm
from mmrel.registry import MODELS

MODES = ("per-level", "last", "none")
SCALES = (4, 2, 1, 0.5, 0.25)


@MODELS.register_module()
class ViTPyramid(BaseModule):
    """Rescale maps of one stride to a pyramid.

    Scale 4 is deconvolution, norm, activation, deconvolution; 2 a deconvolution; 1 the identity;
    0.5 and 0.25 a max-pooling of that size. Weights keep PyTorch's default initialisation.

    Args:
        in_channels: channels of each map, or one number for all. With ``mode='last'`` only the last map counts, of
            however many the backbone gives.
        scales: size of each output relative to the map. Patch 16: ``(4, 2, 1, 0.5)``, patch 8:
            ``(2, 1, 0.5, 0.25)``; both give strides 4, 8, 16, 32.
        norm_cfg: norm between the two deconvolutions of scale 4.
        act_cfg: activation between the two deconvolutions of scale 4.
        mode: ``'per-level'``: map i gives level i; ``'last'``: every level comes from the last map, the simple
            feature pyramid of ViTDet (arXiv 2203.16527) but for its convolutions after each level, which an FPN or
            ``out_channels`` replaces; ``'none'``: the maps are passed on unchanged (SelfPatch's published
            segmentation).
        out_channels: channels after a final 1x1 convolution on each level; ``None``: no such
            convolution.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        scales: Sequence[float] = (4, 2, 1, 0.5),
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        mode: str = "per-level",
        out_channels: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = _channels(in_channels, len(scales), mode)
        self.scales = tuple(scales)
        self.mode = mode
        norm_cfg = norm_cfg or dict(type="SyncBN", requires_grad=True)
        act_cfg = act_cfg or dict(type="GELU")
        widths = [self.in_channels[-1]] * len(scales) if mode == "last" else self.in_channels
        self.levels = nn.ModuleList()
        if mode != "none":
            self.levels.extend(
                _level(width, scale, norm_cfg, act_cfg, out_channels)
                for width, scale in zip(widths, scales, strict=True)
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Build the pyramid.

        Args:
            inputs: maps ``(B, C_i, H, W)`` of equal size.

        Returns:
            One map ``(B, C_i, scale_i * H, scale_i * W)`` per scale, finest first if the scales
            are.

        Raises:
            ValueError: another number of maps than in_channels, or maps of different sizes.
        """
        if self.mode == "last":
            return tuple(level(inputs[-1]) for level in self.levels)
        sizes = [tuple(x.shape[-2:]) for x in inputs]
        if len(sizes) != len(self.in_channels) or len(set(sizes)) > 1:
            raise ValueError(
                f"ViTPyramid got {len(sizes)} map(s) of sizes {sizes}; wanted "
                f"{len(self.in_channels)} map(s) of equal size. Match the backbone's out_indices "
                "with the neck's in_channels."
            )
        if self.mode == "none":
            return tuple(inputs)
        return tuple(level(x) for level, x in zip(self.levels, inputs, strict=True))


def _channels(in_channels: int | Sequence[int], num_scales: int, mode: str) -> list[int]:
    if mode not in MODES:
        raise ValueError(
            f"ViTPyramid's mode is {mode!r}; allowed: {', '.join(MODES)}. Choose one in the config."
        )
    channels = [in_channels] * num_scales if isinstance(in_channels, int) else list(in_channels)
    if not channels or (mode == "per-level" and len(channels) != num_scales):
        raise ValueError(
            f"ViTPyramid has in_channels {channels} for {num_scales} scale(s); give one number of "
            "channels, or one per scale (mode='last' and 'none' take any number of maps)."
        )
    return channels


def _level(
    width: int, scale: float, norm_cfg: dict, act_cfg: dict, out_channels: int | None
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if scale == 4:
        layers["up1"] = nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
        layers["norm"] = build_norm(norm_cfg, width)
        layers["act"] = build_activation_layer(act_cfg)
        layers["up2"] = nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
    elif scale == 2:
        layers["up"] = nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
    elif scale in (0.5, 0.25):
        layers["pool"] = nn.MaxPool2d(kernel_size=round(1 / scale), stride=round(1 / scale))
    elif scale != 1:
        raise ValueError(
            f"ViTPyramid cannot rescale by {scale}; allowed: {', '.join(map(str, SCALES))}. "
            "Patch 16 uses (4, 2, 1, 0.5), patch 8 (2, 1, 0.5, 0.25)."
        )
    if out_channels is not None:
        layers["project"] = nn.Conv2d(width, out_channels, kernel_size=1)
    return nn.Sequential(layers)
