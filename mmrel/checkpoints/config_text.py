"""Settings of backbone and images in the text of a configuration, which is parsed and never executed."""

import ast
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from mmrel.utils.normalization import IMAGENET, Normalization

OUR_PREPROCESSORS = (
    "ViewPreprocessor",
    "CorruptingViewPreprocessor",
    "PatchAugmentingPreprocessor",
)
"""The data preprocessors of mmrel's pretraining; a test compares them."""
MAX_TEXT = 300_000
"""Characters; the parser's memory is some hundred times as much."""


def backbone_config(text: str) -> dict[str, Any]:
    """The first ``backbone`` in ``model`` of a config's text; empty if there is none."""
    return _find_backbone(_model(text)) or {}


def normalization(text: str) -> Normalization | None:
    """Mean and deviation of R, G and B in a config's text; ``None`` if it does not tell them."""
    return find_normalization(_model(text), _assigned(text, "data_preprocessor"))


def find_normalization(model: Mapping[str, Any], beside: Any) -> Normalization | None:
    """The same from the settings of the model, and of the data preprocessor that stand beside them."""
    base = model.get("base")
    places = [model, base if isinstance(base, Mapping) else {}]
    found = next((p["data_preprocessor"] for p in places if p.get("data_preprocessor")), beside)
    if not found and str(model.get("type")).startswith("mmrel."):
        return IMAGENET  # what its models have without further words
    return read_normalization(found)


def read_normalization(settings: Any) -> Normalization | None:
    """Mean and deviation in a data preprocessor's settings.

    mmrel's own have ImageNet's unless they say otherwise. Another one's are those of R, G and B only if it turns BGR
    images round.
    """
    if not isinstance(settings, Mapping):
        return None
    name = str(settings.get("type", "")).rpartition(".")[2]
    ours = name in OUR_PREPROCESSORS
    if not ours and not (settings.get("to_rgb") or settings.get("bgr_to_rgb")):
        return None
    default = IMAGENET if ours else (None, None)
    return as_normalization(settings.get("mean", default[0]), settings.get("std", default[1]))


def as_normalization(mean: Any, std: Any) -> Normalization | None:
    """A number for each channel, deviations above 0; ``None`` for anything else."""
    try:
        pair = Normalization(tuple(map(float, mean)), tuple(map(float, std)))
    except (TypeError, ValueError):
        return None
    fits = 0 < len(pair.mean) == len(pair.std) and all(map(isfinite, pair.mean + pair.std))
    return pair if fits and min(pair.std) > 0 else None


def given_normalization(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> dict[str, list[float]]:
    """Mean and deviation as a meta holds them; empty if they are not given.

    Raises:
        ValueError: one is given alone, or they are not one number for each channel, deviations above 0.
    """
    if mean is None and std is None:
        return {}
    known = as_normalization(mean, std)
    if known is None:
        raise ValueError(
            f"mean is {mean} and std is {std}; give both, one number for each channel (R, G, B on the 0-255 scale), "
            "std above 0."
        )
    return {"mean": list(known.mean), "std": list(known.std)}


def method_name(text: str) -> str | None:
    """Type of ``model`` in a config's text, without scope and in lower case: ``'sere'``."""
    kind = _model(text).get("type")
    return kind.rpartition(".")[2].lower() if isinstance(kind, str) else None


def _model(text: str) -> dict[str, Any]:
    return _assigned(text, "model")


def _assigned(text: str, name: str) -> dict[str, Any]:
    """The dict that a config's text gives a name; empty if there is none."""
    if len(text) > MAX_TEXT:
        return {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
                value = _evaluate(node.value)
                return value if isinstance(value, dict) else {}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass  # a text that is no configuration tells nothing
    return {}


def _evaluate(node: ast.expr) -> Any:
    """Literals and ``dict(...)`` calls; anything else becomes ``None``."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        return {item.arg: _evaluate(item.value) for item in node.keywords if item.arg}
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        return dict(zip(keys, map(_evaluate, node.values), strict=True))
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _find_backbone(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("backbone"), dict):
        return value["backbone"]
    found = (_find_backbone(item) for item in value.values())
    return next((item for item in found if item is not None), None)
