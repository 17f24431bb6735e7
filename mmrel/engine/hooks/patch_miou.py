"""What ``masks`` of ``KNNHook`` asks for: whether patch tokens tell what they show, while they are trained."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmrel.evaluation.mask_layouts import open_segmentation
from mmrel.evaluation.masks import LabelledImages
from mmrel.evaluation.patch_knn import patch_knn_segmentation
from mmrel.evaluation.patch_tokens import TokenSettings, image_tokens
from mmrel.models.backbones import ViT
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.utils.errors import UsageError

LEAVE_OUT = "default_hooks.knn.masks=None leaves the k-NN over patches out"


class PatchMIoU:
    """k-NN over the patch tokens of a model that is being trained, on a few images with masks.

    The protocol is that of :func:`mmrel.evaluation.patch_knn.patch_knn_segmentation`. Every process computes all of it,
    which takes no longer and lets a sharded network gather its parts.

    Args:
        root: a folder as :func:`mmrel.evaluation.mask_layouts.open_segmentation` takes it.
        max_train: at most so many images in the bank, spread evenly over the training images.
        max_val: at most so many images that are segmented, likewise.
        size: short side of all images in pixels, rounded to whole patches; ``None``: their own.
        k: neighbours.
        optional: where ``root`` is no folder, leave the figure out with a warning, instead of an error.
        classes: see ``open_segmentation``.
        ignore_index: the same.
        reduce_zero_label: the same.

    Raises:
        UsageError: ``max_train``, ``max_val`` or ``k`` is below 1.
    """

    def __init__(
        self,
        root: str | Path,
        max_train: int = 64,
        max_val: int = 32,
        size: int | None = None,
        k: int = 20,
        optional: bool = False,
        classes: Sequence[str] | None = None,
        ignore_index: int | None = None,
        reduce_zero_label: bool = False,
    ) -> None:
        if min(max_train, max_val, k) < 1:
            raise UsageError(
                f"KNNHook's masks have max_train={max_train}, max_val={max_val} and k={k}; all are numbers above 0, "
                f"64, 32 and 20 if left out. {LEAVE_OUT}"
            )
        # By name alone, so that messages show a short path; several roots of images have no masks beside them.
        self.root = Path(os.path.normpath(root)) if isinstance(root, str | Path) else None
        self.max_train, self.max_val = max_train, max_val
        self.size, self.k = size, k
        self.layout = classes, ignore_index, reduce_zero_label
        self.left_out = optional and (self.root is None or not self.root.is_dir())
        self._named = root
        self._images: tuple[LabelledImages, LabelledImages] | None = None

    def prepare(self, model: Any, network: str) -> None:
        """Open the images and take the tokens of the first, so that what is wrong shows before the training.

        Raises:
            UsageError: there are no masks, or the network has no patches of its own to compare.
            ValueError: an image does not fit.
        """
        if self.left_out:
            print_log(
                f"k-NN over patches is left out: there is no folder {self.root or self._named}. "
                "default_hooks.knn.masks.root=FOLDER names one with masks",
                "current",
                logging.WARNING,
            )
            return
        train, _ = self._opened()
        next(image_tokens(_backbone(model, network), train.subset(1), TokenSettings(self.size)))

    def evaluate(self, model: Any, network: str) -> dict[str, float]:
        """``patch_miou`` in per cent, or nothing where it is left out.

        Args:
            model: a self-supervised model without a wrapper.
            network: whose backbone is judged.
        """
        if self.left_out:
            return {}
        train, val = self._opened()
        backbone = _backbone(model, network)
        result = patch_knn_segmentation(backbone, train, val, k=self.k, size=self.size)
        return {"patch_miou": result.miou}

    def _opened(self) -> Sequence[LabelledImages]:
        if self._images is None:
            if self.root is None:
                raise UsageError(
                    f"KNNHook's masks.root is {self._named!r}; give one folder. {LEAVE_OUT}"
                )
            try:
                train, val = open_segmentation(self.root, *self.layout)
            except (FileNotFoundError, ValueError) as error:
                raise UsageError(f"KNNHook's masks: {error}. {LEAVE_OUT}") from error
            self._images = train.subset(self.max_train), val.subset(self.max_val)
        return self._images


def _backbone(model: Any, network: str) -> ViT:
    """The network's backbone, which knows how its images are normalised."""
    backbone = model.select_network(network).backbone
    if not isinstance(backbone, ViT):
        raise UsageError(
            f"KNNHook's masks need the patch tokens of an mmrel.ViT, but the backbone is {type(backbone).__name__}. "
            f"{LEAVE_OUT}"
        )
    if backbone.normalization is None and isinstance(model.data_preprocessor, ViewPreprocessor):
        backbone.normalization = model.data_preprocessor.normalization
    return backbone
