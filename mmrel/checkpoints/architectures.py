"""Sizes of the vision transformers that have names, as mmpretrain names them.

They stand here too, so that a checkpoint can be described without importing mmpretrain; a test compares the two.
"""

from collections.abc import Iterable

SIZES = ("embed_dims", "num_layers", "num_heads", "feedforward_channels")


def _named(names: Iterable[str], *numbers: int) -> dict[str, dict[str, int]]:
    sizes = dict(zip(SIZES, numbers, strict=True))
    return {name: sizes for name in names}


ARCHITECTURES = {
    **_named(("deit-t", "deit-tiny"), 192, 12, 3, 768),
    **_named(("deit-s", "deit-small", "dinov2-s", "dinov2-small"), 384, 12, 6, 1536),
    **_named(("mocov3-small",), 384, 12, 12, 1536),
    **_named(("s", "small"), 768, 8, 8, 2304),
    **_named(("b", "base", "deit-b", "deit-base"), 768, 12, 12, 3072),
    **_named(("l", "large"), 1024, 24, 16, 4096),
    **_named(("h", "huge"), 1280, 32, 16, 5120),
    **_named(("eva-g", "eva-giant"), 1408, 40, 16, 6144),
    **_named(("dinov2-g", "dinov2-giant"), 1536, 40, 24, 6144),
}
