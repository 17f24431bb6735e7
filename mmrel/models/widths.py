"""Whether the parts of a model fit each other, told when it is built and not by a matrix product in the first step."""

from collections.abc import Iterable
from typing import Any


class WidthError(ValueError):
    """Parts of a model whose widths differ; the text names all of them and what to set."""


def check_widths(
    backbone: Any, necks: Iterable[tuple[str, Any]], heads: Iterable[tuple[str, Any]]
) -> None:
    """Compare the widths that the parts state.

    A part of another project that states none is not compared.

    Args:
        backbone: states ``token_channels`` or ``embed_dims``, and ``patch_size``.
        necks: by their names; they state ``in_channels``, ``patch_size`` and ``prototypes``, a number for each kind of
            token that they project.
        heads: by their names; those over prototypes state ``neck``, ``reads``, one of these kinds, and
            ``out_channels``.

    Raises:
        WidthError: some differ.
    """
    by_name: dict[str, Any] = dict(necks)
    width = getattr(backbone, "token_channels", None) or getattr(backbone, "embed_dims", None)
    wrong = [
        f"the backbone's tokens have {width} channels and {_described('neck', name, neck)} has "
        f"in_channels={neck.in_channels}: set in_channels={width} there"
        for name, neck in by_name.items()
        if width is not None and getattr(neck, "in_channels", width) != width
    ]
    patch = getattr(backbone, "patch_size", None)
    wrong += [
        f"the backbone has patch_size={patch} and {_described('neck', name, neck)} has patch_size={neck.patch_size}: "
        f"set patch_size={patch} there"
        for name, neck in by_name.items()
        if patch is not None and getattr(neck, "patch_size", patch) != patch
    ]
    for name, head in heads:
        neck = by_name.get(getattr(head, "neck", ""))
        given = getattr(neck, "prototypes", {}).get(getattr(head, "reads", None))
        if given is not None and head.out_channels != given:
            wrong.append(
                f"{_described('neck', head.neck, neck)} has {given} prototypes for {head.reads} tokens and "
                f"{_described('head', name, head)} has out_channels={head.out_channels}: give both the same number"
            )
    if wrong:
        raise WidthError(
            f"the parts of the model do not fit each other: {'; '.join(wrong)}. In a recipe *_custom.py set the "
            "network by its key alone (network=vit-tiny, vit-small or vit-base), and all of this follows."
        )


def _described(kind: str, name: str, part: Any) -> str:
    return f"{kind} {name!r} ({type(part).__name__})"
