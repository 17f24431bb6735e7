"""Where a configuration's model holds its backbone: add-ons such as SERE have it in their ``base``."""

from collections.abc import Iterator, Mapping
from typing import Any


def with_bases(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The model's settings, those of its ``base``, and so on."""
    found: Any = model
    while isinstance(found, Mapping):
        yield found
        found = found.get("base")


def algorithm_of(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that have no further base: the algorithm that add-ons are around."""
    *_, innermost = with_bases(model)
    return innermost


def algorithm_path(model: Mapping[str, Any], start: str = "model") -> str:
    """Where they are: ``model``, ``model.base``, ``model.base.base``."""
    return ".".join([start, *["base"] * (len(list(with_bases(model))) - 1)])
