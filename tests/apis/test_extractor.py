"""The module from images to features: equal to ``extract_features``, traceable, and what it refuses."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmrel.apis import extract_features, feature_extractor
from mmrel.models.backbones import ViT
from mmrel.utils.normalization import Normalization

ARCH = {"embed_dims": 24, "num_layers": 3, "num_heads": 3, "feedforward_channels": 48}
NORMALIZATION = Normalization((120.0, 110.0, 100.0), (50.0, 60.0, 70.0))


def built(**options: Any) -> ViT:
    backbone = ViT(arch=ARCH, img_size=32, patch_size=8, **options)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    backbone.normalization = NORMALIZATION
    backbone.eval()
    return backbone


def pixels(batch: int = 2, height: int = 32, width: int = 32) -> Tensor:
    drawn = np.random.default_rng(batch).integers(0, 256, (batch, 3, height, width))
    return torch.from_numpy(drawn.astype(np.uint8))


KINDS = [
    ({}, {}),
    ({}, {"feature": "avg"}),
    ({"pos_interpolation": "size"}, {"feature": "cls+avg", "out_indices": (-2, -1)}),
    ({}, {"feature": "cls", "out_indices": (0, 2), "out_norm": False}),
    ({"with_cls_token": False, "final_norm": False}, {}),
    ({"use_pos_embed": False, "layer_scale_init_value": 0.5}, {"feature": "cls+avg"}),
]


@pytest.mark.parametrize(("network", "options"), KINDS)
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_vectors__equal_extract_features(
    network: dict[str, Any], options: dict[str, Any], size: tuple[int, int]
) -> None:
    backbone, images = built(**network), pixels(2, *size)
    arrays = list(images.permute(0, 2, 3, 1).numpy())
    wanted = extract_features(backbone, arrays, crop=size, resize=min(size), **options)
    extractor = feature_extractor(backbone, **options)
    for given in (images, images.float() / 255):
        torch.testing.assert_close(extractor(given), wanted, rtol=1e-5, atol=1e-5)


def test_normalised_images__and_maps() -> None:
    backbone = built()
    images = torch.randn(2, 3, 24, 40)
    extractor = feature_extractor(backbone, ["map", "avg"], normalise=False)
    maps, means = extractor(images)
    assert maps.shape == (2, 24, 3, 5)
    with torch.no_grad():
        patches = backbone(images).patches
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(means, patches.mean(1), rtol=1e-5, atol=1e-5)


def test_backbone__is_copied_and_frozen_in_the_copy_alone() -> None:
    backbone = built()
    backbone.train()
    extractor = feature_extractor(backbone)
    assert not any(p.requires_grad for p in extractor.parameters())
    assert all(p.requires_grad for p in backbone.parameters()) and backbone.training
    assert not any(module.training for module in extractor.modules())
    with torch.no_grad():
        backbone.cls_token.zero_()
    assert extractor.backbone.cls_token.abs().max() > 0


@pytest.mark.parametrize("rule", ["size", "dino"])
def test_trace__takes_any_batch_and_size(rule: str) -> None:
    backbone = built(pos_interpolation=rule)
    extractor = feature_extractor(backbone, ("cls", "map"))
    traced = torch.jit.trace(extractor, torch.rand(2, 3, 24, 40))
    for images in (torch.rand(3, 3, 24, 40), torch.rand(1, 3, 32, 32), torch.rand(2, 3, 64, 16)):
        for found, wanted in zip(traced(images), extractor(images), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        images = torch.rand(2, 3, 32, 32)  # where the rule leaves the positions as they are
        mean, std = (torch.tensor(part)[:, None, None] for part in NORMALIZATION)
        wanted = backbone((images * 255 - mean) / std).cls
    torch.testing.assert_close(traced(images)[0], wanted, rtol=1e-5, atol=1e-5)


def test_refusals() -> None:
    backbone = built(with_cls_token=False)
    with pytest.raises(ValueError, match="has no class token"):
        feature_extractor(backbone, "cls")
    with pytest.raises(ValueError, match="feature is 'patches'"):
        feature_extractor(backbone, "patches")
    with pytest.raises(ValueError, match="feature is empty"):
        feature_extractor(backbone, ())
    with pytest.raises(ValueError, match="blocks"):
        feature_extractor(backbone, out_indices=(3,))
    extractor = feature_extractor(backbone)
    for shape in ((1, 3, 30, 32), (1, 3, 0, 32), (3, 32, 32)):
        with pytest.raises(ValueError, match="multiples of the patch size 8"):
            extractor(torch.rand(shape))
