"""Labels of checkpoints that tell them apart."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmrel.utils.errors import UsageError

METHODS = {
    "sere": "SERE",
    "selfpatch": "SelfPatch",
    "sit": "SiT",
    "relvit": "RelViT",
    "dino": "DINO",
    "dinov2": "DINOv2",
    "hf-dinov2": "DINOv2",
    "ibot": "iBOT",
    "mocov3": "MoCo v3",
    "mae": "MAE",
    "timm": "timm",
}
"""How the methods write their names."""


def choose_labels(
    files: Sequence[Path], methods: Sequence[str], given: Sequence[str] | None = None
) -> list[str]:
    """A label for each file.

    Args:
        files: different from each other.
        methods: what each was trained with; ``''`` where that is unknown.
        given: labels that the user chose.

    Returns:
        The given ones; or the method where it occurs once, and otherwise with it the end of the path that tells the
        files apart.

    Raises:
        UsageError: another number of given labels than files, an empty one, or one twice.
    """
    if given is not None:
        return _checked(given, len(files))
    names = [METHODS.get(method, method) for method in methods]
    tails = _distinct_tails([path.absolute().with_suffix("") for path in files])
    counts = Counter(names)
    return [
        name if name and counts[name] == 1 else f"{name} {tail}".strip()
        for name, tail in zip(names, tails, strict=True)
    ]


def _checked(given: Sequence[str], count: int) -> list[str]:
    twice = [label for label, number in Counter(given).items() if number > 1]
    if len(given) != count or twice or not all(label.strip() for label in given):
        raise UsageError(
            f"the labels are {list(given)} for {count} checkpoint(s); give one label each, not empty, no two alike"
        )
    return list(given)


def _distinct_tails(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths, as many parts for all, that are all different."""
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        tails = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(tails)) == len(tails):
            return tails
    # Files that differ in their ending alone.
    return [f"{path.name} {number}" for number, path in enumerate(paths, start=1)]
