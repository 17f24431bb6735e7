"""What a figure is worth: the same measurement on random weights, and on the pixels of thumbnails."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmrel.apis.backbone import brief_log
from mmrel.datasets.scenes import thumbnail
from mmrel.evaluation.images import OneImage, read_image
from mmrel.models.backbones import ViT
from mmrel.models.backbones.pretrained import is_pretrained


def random_like(backbone: ViT, seed: int = 0) -> ViT:
    """The same network with freshly drawn weights, as a pretraining would begin.

    It has the same sizes, normalization, blocks to read, and rule for positions; layer scales are 1. No generator is
    changed.

    Args:
        backbone: as ``get_backbone`` gives it.
        seed: of the weights.

    Returns:
        The network in evaluation mode, on the backbone's device.

    Raises:
        RuntimeError: a parameter of the network has no rule to be drawn by.
    """
    device = backbone.pos_embed.device
    twin = copy.deepcopy(backbone).cpu()
    if is_pretrained(twin.init_cfg):
        twin.init_cfg = None
    twin.provenance = None
    # What nothing overwrites must not pass for drawn, least of all as what was trained.
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.fill_(torch.nan)
    with torch.random.fork_rng(devices=[]), brief_log():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        _draw(twin)
    if left := [name for name, values in twin.named_parameters() if values.isnan().any()]:
        raise RuntimeError(f"{type(backbone).__name__} has no rule to draw {', '.join(left)} by")
    twin.eval()
    return twin.to(device)


def _draw(network: ViT) -> None:
    with torch.no_grad():
        for module in network.modules():
            if (
                type(module).__name__ == "LayerScale"
            ):  # mmpretrain's in the one half, mmcv's in the other
                module.weight.fill_(1)
            elif hasattr(module, "reset_parameters"):
                module.reset_parameters()
        if network.mask_token is not None:
            nn.init.zeros_(network.mask_token)
    network._is_init = False  # MMEngine draws once only.
    network.init_weights()


def thumbnail_features(paths: Iterable[OneImage], size: int = 16) -> Tensor:
    """Pixels of the images' thumbnails: what colours and coarse layout alone tell.

    Args:
        paths: of images, read by the rules of ``mmrel.DecodeImage``; or Pillow images, or uint8 arrays
            ``(H, W, 3)``. Sizes may differ.
        size: side of a thumbnail in pixels. Each of its pixels is the mean of the box that it covers, whatever the
            aspect ratio.

    Returns:
        float32 ``(N, size * size * 3)`` in [0, 1].

    Raises:
        ValueError: no images, or a size below 1.
        UnreadableImageError: a file that holds no image, with its path.
    """
    return torch.from_numpy(thumbnail.thumbnail_features(map(read_image, paths), size))
