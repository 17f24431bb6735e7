"""Names of a package that are imported on first use, so that a tool which needs none of them starts at once."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_attributes(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` (PEP 562) that finds each public name in the module where it is defined.

    Args:
        package: ``__name__`` of the package.
        homes: the module of each public name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}; it has {', '.join(sorted(homes))}"
            )
        return getattr(import_module(homes[name]), name)

    return find
