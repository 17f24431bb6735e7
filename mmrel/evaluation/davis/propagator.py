"""Objects of a first mask, followed from frame to frame by a frozen backbone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmrel.datasets.transforms.pixel_values import ByteImage
from mmrel.evaluation.davis.frames import (
    SHORT_SIDE,
    frame_normalization,
    frame_size,
    resize_frame,
)
from mmrel.evaluation.davis.layout import object_count
from mmrel.evaluation.davis.masks import Mask, first_labels, label_mask
from mmrel.evaluation.davis.propagation import LabelPropagation
from mmrel.evaluation.images import OneImage, device_of, read_image
from mmrel.evaluation.loading import evaluation_mode
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.utils.normalization import Normalization


@dataclass(frozen=True)
class VideoProtocol:
    """How masks are propagated; the defaults are DINO's (arXiv 2104.14294), which iBOT and SelfPatch share.

    Attributes:
        size: short side of the frames in pixels; smaller for small clips, see
            :func:`mmrel.evaluation.davis.frames.frame_size`.
        block: whose patch tokens are compared, after the final norm if there is one; negative ones count from the end.
        num_last_frames: how many of the frames before are looked at, besides the first.
        neighbourhood: largest distance of tokens that are compared, in tokens; 0: any.
        topk: affinities that a token keeps.
        temperature: of the affinities.
        normalization: mean and deviation of the frames; ``None``: the protocol's, unless the weights were trained with
            others than ImageNet's.
    """

    size: int = SHORT_SIDE
    block: int = -1
    num_last_frames: int = 7
    neighbourhood: int = 12
    topk: int = 5
    temperature: float = 0.1
    normalization: Normalization | None = None


class MaskPropagator:
    """Follows the objects of a first mask from frame to frame, in a memory that does not grow with the video.

    Args:
        backbone: as ``get_backbone`` gives it, on the device that shall compute.
        frame: the first frame.
        mask: its object numbers, uint8 ``(H, W)``, 0 is background.
        protocol: how.

    Raises:
        ValueError: the mask has another size than the frame or no object, or the frame is smaller than a patch.
    """

    @torch.inference_mode()
    def __init__(
        self, backbone: ViT, frame: OneImage, mask: Mask, protocol: VideoProtocol | None = None
    ) -> None:
        self.backbone, self.protocol = backbone, protocol or VideoProtocol()
        self.patch_size = int(backbone.patch_size)
        normalization = self.protocol.normalization or frame_normalization(backbone.normalization)
        self.preprocess = ViewPreprocessor(*normalization).to(device_of(backbone))
        image = read_image(frame)
        self.frame_size = image.shape[0], image.shape[1]
        _check_first_mask(mask, self.frame_size)
        features = self.features(image)
        labels = first_labels(mask, (features.shape[1], features.shape[2]))
        self.propagation = LabelPropagation(
            features,
            labels,
            self.protocol.num_last_frames,
            self.protocol.neighbourhood,
            self.protocol.topk,
            self.protocol.temperature,
        )

    @torch.inference_mode()
    def step(self, frame: OneImage) -> Mask:
        """Object numbers, uint8 ``(H, W)``, of the next frame.

        Raises:
            ValueError: it has another size than the first frame.
        """
        image = read_image(frame)
        if image.shape[:2] != self.frame_size:
            raise ValueError(
                f"{_frame_name(frame)} is {by_pixels(image.shape)} pixels and the first frame "
                f"{by_pixels(self.frame_size)}; the frames of a video must have one size"
            )
        labels = self.propagation.step(self.features(image))
        return label_mask(labels, self.patch_size, self.frame_size)

    def features(self, image: ByteImage) -> Tensor:
        """Patch features ``(C, h, w)`` of a frame, uint8 ``(H, W, 3)``."""
        size = frame_size(image.shape[0], image.shape[1], self.patch_size, self.protocol.size)
        pixels = torch.from_numpy(np.array(resize_frame(image, size))).permute(2, 0, 1)
        batch = self.preprocess({"inputs": [pixels]}, False)["inputs"]
        with evaluation_mode(self.backbone):
            batch = batch.to(self.backbone.pos_embed.dtype)
            [tokens] = intermediate_tokens(self.backbone, batch, (self.protocol.block,))
        return tokens.patches[0].T.unflatten(1, tokens.grid)


def propagate_masks(
    backbone: ViT,
    frames: Iterable[OneImage],
    first_mask: Mask,
    protocol: VideoProtocol | None = None,
) -> Iterator[Mask]:
    """The masks of a video's frames one by one, uint8 ``(H, W)``: the first as given, the others propagated.

    Args:
        backbone: as for :class:`MaskPropagator`, as are the errors.
        frames: paths, Pillow images or uint8 arrays ``(H, W, 3)``, in order.
        first_mask: object numbers of the first frame.
        protocol: how.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise ValueError("there are no frames; give at least the one of the first mask")
    propagator = MaskPropagator(backbone, first, first_mask, protocol)
    yield first_mask
    for frame in remaining:
        yield propagator.step(frame)


def _check_first_mask(mask: Mask, size: tuple[int, ...]) -> None:
    if mask.ndim != 2 or mask.dtype != np.uint8 or mask.shape != size:
        raise ValueError(
            f"the first mask is {mask.dtype} of {by_pixels(mask.shape)} pixels and the first frame {by_pixels(size)}; "
            "give uint8 object numbers of the frame's size"
        )
    if not object_count(mask):
        raise ValueError(
            "the first mask holds no object, only background; mark the objects with 1, 2, ..."
        )


def _frame_name(frame: OneImage) -> str:
    return str(frame) if isinstance(frame, str | Path) else "a frame"


def by_pixels(shape: tuple[int, ...]) -> str:
    """Height and width as messages write them."""
    return "x".join(map(str, shape[:2]))
