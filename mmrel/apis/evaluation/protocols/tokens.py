"""Statistics of patch tokens as a protocol."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome
from mmrel.apis.evaluation.protocols.classification import input_size
from mmrel.apis.evaluation.protocols.photos import spread_photos
from mmrel.evaluation.images import fit_to_patches, normalised_images, read_image
from mmrel.evaluation.loading import evaluation_mode
from mmrel.evaluation.token_statistics import TokenSums
from mmrel.models.backbones import ViT


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """Figures of the patch tokens after the last block and the final norm, if there is one."""
    assert backbone is not None, "tokens are those of a network"
    files = spread_photos(data, settings["max_images"])
    size = input_size(backbone, settings["image_size"])
    sums = TokenSums(backbone.embed_dims)
    with evaluation_mode(backbone), torch.inference_mode():
        for number, file in enumerate(files):
            image = fit_to_patches(read_image(file), backbone.patch_size, size)
            tokens = backbone(normalised_images([image], backbone).to(backbone.pos_embed.dtype))
            sums.add(tokens.patches[0].float())
            desk.advance(number + 1, len(files))
    counts = {"images": sums.images, "patches": sums.patches}
    if sums.images < 2:
        return Outcome(counts=counts, notes=("One image has no variance between images.",))
    return Outcome(dict(asdict(sums.statistics())), counts)
