"""One list of classes for two labelled data sets, so that a label means the same in both.

A folder with one class fewer than another numbers its classes otherwise: labels that are positions in each folder's
own list do not compare.
"""

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed


def share_classes(reference: Any, other: Any, reference_name: str, other_name: str) -> None:
    """Number the classes of ``other`` as those of ``reference``, by their names.

    Args:
        reference: the data set that says what a label means: the bank, or the training images.
        other: the one whose labels are compared with it.
        reference_name: what to call the first in a message.
        other_name: the second.

    Raises:
        UsageError: ``other`` has images of a class that ``reference`` has none of, so that they can never be
            classified rightly; or the names differ and ``other`` cannot be renumbered.
    """
    names = class_names(reference)
    if names is None or class_names(other) is None:
        return
    share_class_list(names, other, reference_name, other_name)
    _check_folders(reference, other, reference_name, other_name)
    used, available = used_classes(other), used_classes(reference)
    if used is None or available is None:
        return
    if missing := sorted(used - available):
        raise UsageError(_never_right(missing, reference_name, other_name))
    if unused := sorted(available - used):
        print_log(
            f"the {other_name} has no image of {len(unused)} of the {len(available)} classes of the "
            f"{reference_name}: {listed(unused)}",
            "current",
            logging.WARNING,
        )


def share_class_list(
    names: Sequence[str], other: Any, reference_name: str, other_name: str
) -> None:
    """The same with the names alone, as a checkpoint keeps those of its training images."""
    own = class_names(other)
    if own is None or tuple(own) == tuple(names):
        return
    if missing := sorted((used_classes(other) or set(own)) - set(names)):
        raise UsageError(_never_right(missing, reference_name, other_name))
    if not hasattr(other, "adopt_classes"):
        raise UsageError(
            f"the {reference_name} and the {other_name} list their classes differently "
            f"({listed(sorted(set(own) ^ set(names))) or 'in another order'}), so that their labels do not compare. "
            "Use mmrel.ImageFolder, which numbers classes by their names, or give both the same classes."
        )
    other.adopt_classes(names)


def class_names(dataset: Any) -> tuple[str, ...] | None:
    """What the labels of a data set, or of a wrapper of data sets, stand for; ``None`` if it does not say."""
    names = (getattr(dataset, "metainfo", None) or {}).get("classes")
    return None if names is None else tuple(names)


def used_classes(dataset: Any) -> set[str] | None:
    """The classes of which there are images, where the data set knows."""
    used = getattr(dataset, "used_classes", None)
    return None if used is None else set(used)


def _check_folders(reference: Any, other: Any, reference_name: str, other_name: str) -> None:
    """Where classes were given other names than their folders, the folders must be the same too."""
    folders, others = (getattr(d, "folder_to_idx", None) for d in (reference, other))
    if folders and others and any(folders.get(k, v) != v for k, v in others.items()):
        differing = sorted(folders.keys() ^ others.keys())
        raise UsageError(
            f"the {reference_name} and the {other_name} name their classes alike, but their folders differ "
            f"({listed(differing) or 'in order'}), so that their labels do not compare. Leave `classes` away, then "
            "classes are compared by the names of their folders, or make the folders alike."
        )


def _never_right(missing: Sequence[str], reference_name: str, other_name: str) -> str:
    return (
        f"the {other_name} has images of {len(missing)} class(es) that the {reference_name} has none of, which can "
        f"never be classified rightly: {listed(missing)}. Add such images there, or remove the folders here; "
        "classes are compared by the names of their folders."
    )
