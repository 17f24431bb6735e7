"""DAVIS' label propagation as a protocol."""

from collections.abc import Mapping
from typing import Any

from mmrel.apis.evaluation.data import EvaluationData
from mmrel.apis.evaluation.protocol import Desk, Outcome, Shot
from mmrel.evaluation.images import read_image
from mmrel.models.backbones import ViT

SIZE = 480
"""Short side of the published protocol, in pixels. Where no size is set, frames are enlarged twofold at most."""

NAME = "Masks carried through a video"
FIGURES = ("jf_mean", "j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")


def run(
    backbone: ViT | None, data: EvaluationData, settings: Mapping[str, Any], desk: Desk
) -> Outcome:
    """J, F, recall and decay in per cent; the first sequence as a strip."""
    from mmrel.apis.video import VideoProtocol, evaluate_sequences, propagate_masks
    from mmrel.evaluation.davis import read_split
    from mmrel.visualization.video import draw_strip

    assert backbone is not None, "patch tokens are those of a network"
    network = backbone
    sequences = read_split(data.path("davis"), settings["split"])[: settings["max_sequences"]]
    size = settings["size"] or min(SIZE, *(2 * _short_side(one) for one in sequences))
    protocol = VideoProtocol(size=size)
    shots: list[Shot] = []

    def draw(sequence: Any, masks: Any) -> None:
        if shots:
            return
        first, own = desk.shot(NAME, common=f"annotation of {sequence.name}"), desk.shot(NAME)
        draw_strip(sequence.frames, {"annotation": sequence.masks}, first[0])
        draw_strip(sequence.frames, {"propagated": masks}, own[0])
        shots.extend((first[1], own[1]))

    found = evaluate_sequences(
        sequences,
        lambda sequence, mask: propagate_masks(network, sequence.frames, mask, protocol),
        progress=desk.advance,
        on_sequence=draw,
    )
    figures = {name: 100 * getattr(found, name) for name in FIGURES}
    frames = sum(len(sequence.frames) for sequence in sequences)
    counts = dict(sequences=len(sequences), frames=frames, objects=len(found.per_object))
    notes = [] if size == SIZE else [f"Frames at {size} pixels, not {SIZE}."]
    return Outcome(dict(figures), counts, tuple(shots), notes=tuple(notes))


def _short_side(sequence: Any) -> int:
    return int(min(read_image(sequence.frames[0]).shape[:2]))
