"""Semantic segmentation from a list of images and masks, wherever the files lie and whatever their endings are."""

from pathlib import Path

from mmseg.datasets import BaseSegDataset

from mmrel.datasets.annotations.files import read_json
from mmrel.registry import DATASETS
from mmrel.utils.errors import UsageError


@DATASETS.register_module()
class MaskListDataset(BaseSegDataset):
    """mmseg's data set for a list in OpenMMLab's annotation format.

    ``ann_file`` is JSON: ``{"data_list": [{"img_path": "a/1.jpg", "seg_map_path": "1.png"}, ...]}``, both relative to
    their ``data_prefix`` or absolute. mmseg's own reading of a folder takes one ending for all images, and its two
    families do not agree about names with dots. All arguments are those of ``BaseSegDataset``.

    Raises:
        UsageError: the file is no such list.
    """

    def load_data_list(self) -> list[dict]:
        """One dict per image."""
        content = read_json(Path(self.ann_file))
        entries = content.get("data_list") if isinstance(content, dict) else None
        names = ("img_path", "seg_map_path")
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and all(isinstance(entry.get(n), str) for n in names)
            for entry in entries
        ):
            raise UsageError(
                f"{self.ann_file} is no list of images and masks; wanted "
                '{"data_list": [{"img_path": ..., "seg_map_path": ...}, ...]}.'
            )
        common = dict(
            label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[]
        )
        prefixes = [Path(self.data_prefix.get(name) or "") for name in names]
        paths = [[str(p / e[n]) for p, n in zip(prefixes, names, strict=True)] for e in entries]
        return [dict(zip(names, pair, strict=True)) | common for pair in paths]
