"""ImageNet-S as mmseg measures it, and its masks for the server that holds the labels of the test set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmrel.datasets.transforms.imagenet_s import IGNORED, encode_labels
from mmrel.registry import METRICS
from mmrel.utils.files import write_atomically


@METRICS.register_module()
class ImageNetSMetric(IoUMetric):
    """mmseg's ``IoUMetric`` with the ignored label 1000, which writes masks in two channels.

    The mean is over all classes with the background, as the data set's own evaluation takes it: one that is neither in
    the masks nor predicted counts as 0 (``nan_to_num``). With ``output_dir``, each predicted mask is written as
    ``output_dir/<folder of the photo>/<its name>.png``, class = R + 256 G, which is what the server takes in a zip;
    mmseg's class would write one byte per pixel.

    Args:
        ignore_index: label that does not count.
        nan_to_num: what a class without any pixel counts as; ``None``: it does not count.
        output_dir: folder for the masks; ``None``: none is written.
        **kwargs: arguments of ``IoUMetric``, for instance ``format_only=True`` for the test set.
    """

    def __init__(
        self,
        ignore_index: int = IGNORED,
        nan_to_num: int | None = 0,
        output_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_index=ignore_index, nan_to_num=nan_to_num, **kwargs)
        if self.format_only and output_dir is None:
            raise ValueError(
                "format_only=True without output_dir writes nothing; give the folder for the masks."
            )
        self.folder = None if output_dir is None else Path(output_dir)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch, and write its masks."""
        super().process(data_batch, data_samples)
        for sample in data_samples if self.folder else ():
            labels = sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy()
            self._write(labels, Path(sample["img_path"]))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """MIoU and accuracies in per cent; nothing with ``format_only``."""
        return {} if self.format_only else super().compute_metrics(results)

    def _write(self, labels: np.ndarray, photo: Path) -> None:
        assert self.folder is not None
        mask = Image.fromarray(encode_labels(labels))
        target = self.folder / photo.parent.name / f"{photo.stem}.png"
        write_atomically(target, lambda file: mask.save(file, format="PNG"))
