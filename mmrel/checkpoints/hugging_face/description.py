"""The meta of weights with a config beside them: what the tensors show, and what the config adds."""

from collections.abc import Mapping
from typing import Any

from mmrel.checkpoints.describe import ImgSize, describe_official
from mmrel.checkpoints.hugging_face.settings import USUAL_EPS, Settings, read_settings
from mmrel.checkpoints.layouts import Layout
from mmrel.checkpoints.rules import State
from mmrel.utils.weights_folder import CONFIG


def describe_beside(
    beside: Mapping[str, Any], state: State, layout: Layout, num_heads: int | None, size: ImgSize
) -> dict[str, Any]:
    """The meta of an official backbone: of its tensors, and of a config beside them, which wins over a guess.

    Raises:
        ValueError: config and tensors, or config and the number of heads that is given, disagree; otherwise as
            :func:`mmrel.checkpoints.describe.describe_official`.
    """
    told = read_settings(beside)
    if told is None:
        return describe_official(state, layout, num_heads, size)
    if None not in (told.num_heads, num_heads) and told.num_heads != num_heads:
        raise ValueError(
            f"num_heads is {num_heads}, but {CONFIG} beside the weights says {told.num_heads}. Leave it out."
        )
    meta = describe_official(state, layout, told.num_heads or num_heads, size or told.img_size)
    _check_sizes(told, meta)
    if told.normalization is not None:
        meta |= dict(zip(("mean", "std"), map(list, told.normalization), strict=True))
    if told.norm_eps not in (None, USUAL_EPS):
        meta["norm_eps"] = told.norm_eps
    return meta


def _check_sizes(told: Settings, meta: Mapping[str, Any]) -> None:
    wrong = [
        f"{name} {value} (the tensors: {meta[name]})"
        for name, value in told.sizes.items()
        if meta[name] != value
    ]
    if wrong:
        raise ValueError(
            f"{CONFIG} beside the weights describes another network, with {', '.join(wrong)}. Fetch the folder again, "
            "or move the weights away from a config that is not theirs."
        )
