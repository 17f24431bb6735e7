"""Correspondence of two crops of an image as a protocol."""

from collections.abc import Mapping
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome
from mmrel.apis.evaluation.protocols.photos import spread_photos
from mmrel.apis.evaluation.protocols.strips import shown_size
from mmrel.evaluation.images import read_image
from mmrel.models.backbones import ViT
from mmrel.visualization.correspondence import CropMatches, crop_matches, draw_crop_matches

NAME = "Matches of two crops"


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """Accuracy in per cent over all shared patches of all images; the matches of the first one as a picture."""
    assert backbone is not None, "patch tokens are those of a network"
    files = spread_photos(data, settings["max_images"])
    found: list[CropMatches] = []
    for number, file in enumerate(files):
        picture = read_image(file)
        size = shown_size([picture])
        found.append(
            crop_matches(backbone, picture, seed=number, radius=settings["radius"], size=size)
        )
        desk.advance(number + 1, len(files))
    shared = sum(one.shared for one in found)
    right = sum(one.accuracy * one.shared for one in found)
    path, shot = desk.shot(NAME, "Right matches are green, wrong ones red.")
    draw_crop_matches(read_image(files[0]), {"first image": found[0]}, path)
    counts = {"images": len(files), "patches": shared}
    return Outcome({"accuracy": right / shared if shared else None}, counts, (shot,))
