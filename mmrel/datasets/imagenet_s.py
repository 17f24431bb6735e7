"""ImageNet-S (arXiv 2106.03149): semantic segmentation of ImageNet's photos into 50, 300 or 919 classes.

The layout is that of the data set's own preparation script: ``ImageNetS919/train-semi/n01440764/*.JPEG``,
``train-semi-segmentation/n01440764/*.png``, ``validation``, ``validation-segmentation``, ``test``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset

from mmrel.datasets.transforms.imagenet_s import IGNORED
from mmrel.registry import DATASETS

SUBSETS = (50, 300, 919)
OTHERS = "other"


@DATASETS.register_module()
class ImageNetSDataset(BaseSegDataset):
    """mmseg's data set for ImageNet-S: class 0 is everything else, the others are synsets in alphabetical order.

    The names of the classes are those of the folders of ``train-semi``, or of ``validation`` where that is absent,
    since both hold one folder per synset; or the lines of ``categories``.

    Args:
        subset: number of classes without the background: 50, 300 or 919.
        data_root: the folder ``ImageNetS50``, ``ImageNetS300`` or ``ImageNetS919``.
        categories: file with one synset per line, such as the data set's own ``ImageNetS_categories_im919.txt``;
            ``None``: the folders tell.
        data_prefix: folders of photos and masks below ``data_root``; ``seg_map_path=None`` for the test set, whose
            masks are not published.
        metainfo: further information; ``classes`` given here is taken as it is.
        img_suffix: ending of the photos.
        seg_map_suffix: ending of the masks.
        ignore_index: label that does not count.
        **kwargs: arguments of mmseg's ``BaseSegDataset``.

    Raises:
        ValueError: an unknown subset, or the names found are not as many as its classes.
        FileNotFoundError: nothing names the classes.
    """

    def __init__(
        self,
        subset: int = 919,
        data_root: str = "",
        categories: str | None = None,
        data_prefix: Mapping[str, str | None] | None = None,
        metainfo: dict[str, Any] | None = None,
        img_suffix: str = ".JPEG",
        seg_map_suffix: str = ".png",
        ignore_index: int = IGNORED,
        **kwargs: Any,
    ) -> None:
        if subset not in SUBSETS:
            raise ValueError(
                f"ImageNet-S has no subset of {subset} classes; allowed: {', '.join(map(str, SUBSETS))}."
            )
        metainfo = dict(metainfo or {})
        if "classes" not in metainfo:
            metainfo["classes"] = (OTHERS, *synsets(data_root, subset, categories))
        super().__init__(
            data_root=data_root,
            data_prefix={k: v for k, v in (data_prefix or {}).items() if v is not None},
            metainfo=metainfo,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            ignore_index=ignore_index,
            **kwargs,
        )

    @property
    def _photos(self) -> str:
        return self.data_prefix.get("img_path", self.data_root)

    def load_data_list(self) -> list[dict]:
        """Paths of photos and masks, and the number of classes that the masks may have.

        Raises:
            FileNotFoundError: the split has no photo.
        """
        found = super().load_data_list() if Path(self._photos).is_dir() else []
        if not found:
            raise FileNotFoundError(
                f"There is no photo *{self.img_suffix} in {self._photos!r}. Prepare ImageNet-S with "
                "the data set's own script and give its folder as data_root, for instance "
                "data/imagenet-s/ImageNetS919."
            )
        num_classes = len(self.metainfo["classes"])
        return [dict(entry, num_classes=num_classes) for entry in found]


def synsets(data_root: str, subset: int, categories: str | None = None) -> list[str]:
    """The synsets of a subset in the order of their classes, which is alphabetical.

    Args:
        data_root: the subset's folder.
        subset: how many there must be.
        categories: a file that names them; ``None``: the folders of the splits do.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: another number was found.
    """
    names, source = _listed_in(Path(categories)) if categories else _folders(Path(data_root))
    if len(names) != subset:
        raise ValueError(
            f"{source} names {len(names)} classes; the subset has {subset}. Give the folder ImageNetS{subset} as "
            f"data_root and subset={subset}, or the list ImageNetS_categories_im{subset}.txt as categories."
        )
    return names


def _listed_in(path: Path) -> tuple[list[str], str]:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no list of classes at {str(path)!r}; the data set's own is ImageNetS_categories_im919.txt. "
            "Give its path as categories, or leave it out to read the names of the folders."
        )
    return sorted(set(path.read_text(encoding="utf-8").split())), f"The file {str(path)!r}"


def _folders(
    root: Path, splits: Sequence[str] = ("train-semi", "validation")
) -> tuple[list[str], str]:
    for split in splits:
        if (root / split).is_dir():
            names = sorted(entry.name for entry in (root / split).iterdir() if entry.is_dir())
            return names, f"The folder {str(root / split)!r}"
    raise FileNotFoundError(
        f"Neither {' nor '.join(splits)} is in {str(root)!r}, so nothing tells the classes of ImageNet-S. Give the "
        "folder of the subset as data_root (for instance data/imagenet-s/ImageNetS919), or the data set's own list "
        "of synsets as categories."
    )
