"""A backbone as one module from images to tensors, which torch.jit.trace, torch.export and ONNX accept."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmrel.apis.backbone import get_backbone
from mmrel.apis.features import check_feature
from mmrel.models.backbones import ViT
from mmrel.models.backbones.dense_vit import check_blocks
from mmrel.ops.resize_matrices import resized_positions
from mmrel.structures import FEATURES
from mmrel.utils.normalization import IMAGENET

MAP = "map"
EXPORTED_FEATURES = (*FEATURES, MAP)
"""What a feature extractor gives: the vectors of ``extract_features``, and the patch tokens as a map."""
WHITE = 255.0


class FeatureExtractor(nn.Module):
    """Images in, features out; built by :func:`feature_extractor`.

    Attributes:
        features: what it returns, in this order.
        blocks: numbers of the blocks whose features are joined.
        patch_size: of which the sides of an image must be multiples.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: ViT,
        features: tuple[str, ...],
        blocks: tuple[int, ...],
        norm: bool,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.features = features
        self.blocks = blocks
        self.norm = norm and backbone.final_norm
        self.normalise = normalise
        self.patch_size = int(backbone.patch_size)
        known = backbone.normalization or IMAGENET.for_channels(backbone.in_channels)
        for name, values in zip(("mean", "std"), known, strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features of images.

        Args:
            images: ``(B, 3, H, W)``, RGB, H and W multiples of the patch size: uint8 from 0 to 255, or floats from 0 to
                1. Of an extractor with ``normalise=False``: floats, already normalised.

        Returns:
            For each of ``features``: float32 ``(B, C)`` for ``'cls'`` and ``'avg'``, ``(B, 2C)`` for ``'cls+avg'``,
            ``(B, C, H / patch, W / patch)`` for ``'map'``; C times the number of blocks. One alone is no tuple.

        Raises:
            ValueError: another number of dimensions, or sides that are no multiples. An exported graph does not check.
        """
        if not (torch.jit.is_tracing() or torch.compiler.is_compiling()):
            self._check(images)
        outputs = self._tokens(self._prepared(images))
        found = tuple(
            torch.cat([self._feature(kind, *output) for output in outputs], dim=1)
            for kind in self.features
        )
        return found if len(found) > 1 else found[0]

    def _prepared(self, images: Tensor) -> Tensor:
        if self.normalise:
            pixels = images.float() if images.dtype == torch.uint8 else images.float() * WHITE
            images = (pixels - self.mean) / self.std
        return images.to(self.backbone.pos_embed.dtype)

    def _tokens(self, images: Tensor) -> list[tuple[Tensor | None, Tensor]]:
        """Class token ``(B, C)`` and patch map ``(B, C, rows, cols)`` of each block that is asked for."""
        maps = self.backbone.patch_embed.projection(images)
        rows, cols = maps.shape[-2:]
        tokens, first = self._embedded(maps, rows, cols)
        found = []
        for index, layer in enumerate(self.backbone.layers[: self.blocks[-1] + 1]):
            tokens = layer(tokens)
            if index in self.blocks:
                normed = self.backbone.ln1(tokens) if self.norm else tokens
                cls = None if self.backbone.cls_token is None else normed[:, 0]
                patches = normed[:, first:].transpose(1, 2).unflatten(2, (rows, cols))
                found.append((cls, patches))
        return found

    def _embedded(self, maps: Tensor, rows: int, cols: int) -> tuple[Tensor, int]:
        """What the first block gets, as ``ViT.embed`` computes it, and the number of tokens before the patches."""
        network, cls = self.backbone, self.backbone.cls_token
        tokens, extra = maps.flatten(2).transpose(1, 2), int(network.num_extra_tokens)
        if network.use_pos_embed:
            tokens = tokens + resized_positions(
                network.pos_embed[:, extra:],
                tuple(network.patch_resolution),
                rows,
                cols,
                network.pos_interpolation,
            )
            cls = None if cls is None else cls + network.pos_embed[:, :extra]
        before = [t for t in (cls, getattr(network, "register_tokens", None)) if t is not None]
        expanded = [token.expand(maps.shape[0], -1, -1) for token in before]
        tokens = torch.cat([*expanded, tokens], dim=1) if expanded else tokens
        return network.pre_norm(tokens), sum(token.shape[1] for token in before)

    def _feature(self, kind: str, cls: Tensor | None, patches: Tensor) -> Tensor:
        if kind == MAP:
            return patches.float()
        mean = patches.mean(dim=(2, 3))
        if cls is None or kind == "avg":
            return mean.float()
        return (cls if kind == "cls" else torch.cat([cls, mean], dim=1)).float()

    def _check(self, images: Tensor) -> None:
        sides = images.shape[-2:]
        if images.ndim != 4 or any(side % self.patch_size or not side for side in sides):
            raise ValueError(
                f"images have the shape {tuple(images.shape)}; wanted (B, channels, H, W) with H and W multiples of "
                f"the patch size {self.patch_size}. Resize them before, or use mmrel.apis.extract_features, which does."
            )


def feature_extractor(
    checkpoint: str | Path | Config | ViT,
    feature: str | Sequence[str] | None = None,
    normalise: bool = True,
    network: str | None = "teacher",
    out_indices: Sequence[int] | None = None,
    out_norm: bool | None = None,
    **options: Any,
) -> FeatureExtractor:
    """A frozen module from images to features, for deployment: it can be traced, exported and written as ONNX.

    Its vectors are those of :func:`mmrel.apis.extract_features` for images that are resized and cropped already, to
    rounding; the mean and deviation of the images are inside. Any batch and image size may be free in an exported
    graph, whichever rule the network resizes its positions by.

    Args:
        checkpoint: what ``get_backbone`` takes; or a backbone that it gave, which is copied.
        feature: ``'cls'``: class token; ``'avg'``: mean patch token; ``'cls+avg'``: both, one after the other;
            ``'map'``: patch tokens as a map ``(B, C, rows, cols)``. Several give a tuple in their order. ``None``:
            ``'cls'`` where there is a class token, else ``'avg'``.
        normalise: take raw images, uint8 from 0 to 255 or floats from 0 to 1 (as torchvision's ``ToTensor`` gives
            them), and normalise them inside. ``False``: the images come normalised.
        network: as for ``get_backbone``.
        out_indices: numbers of blocks, ascending; negative ones count from the end. Their features follow one another.
            ``None``: those of the backbone, usually the last one.
        out_norm: whether the tokens of each block pass the final norm; ``None``: as the backbone says, usually true.
        **options: of ``get_backbone``: ``num_heads``, ``mean`` and ``std``, ...

    Returns:
        The module in evaluation mode, its parameters without gradients, on the checkpoint's device (CPU for a file).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown feature, one that the backbone cannot give, no such blocks; or as for ``get_backbone``.
    """
    if isinstance(checkpoint, ViT):
        backbone = checkpoint.teacher_copy()
        backbone.normalization = copy.copy(checkpoint.normalization)
    else:
        backbone = get_backbone(checkpoint, network, **options)
    backbone.eval()
    wanted = [feature] if feature is None or isinstance(feature, str) else list(feature)
    features = tuple(MAP if kind == MAP else check_feature(backbone, kind) for kind in wanted)
    if not features:
        raise ValueError(f"feature is empty; choose from {', '.join(EXPORTED_FEATURES)}")
    indices = backbone.out_indices if out_indices is None else out_indices
    blocks = tuple(check_blocks(indices, len(backbone.layers)))
    norm = backbone.out_norm if out_norm is None else out_norm
    extractor = FeatureExtractor(backbone, features, blocks, norm, normalise)
    extractor.train(False)
    return extractor.requires_grad_(False)
