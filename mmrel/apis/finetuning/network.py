"""The backbone of a fine-tuning: its sizes are those of the file, whoever trained it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrel.apis.choices import Choice
from mmrel.checkpoints.architectures import SIZES
from mmrel.checkpoints.conversion import read_backbone_file, write_backbone
from mmrel.utils.errors import UsageError
from mmrel.utils.normalization import IMAGENET

PYRAMIDS = {16: (4, 2, 1, 0.5), 8: (2, 1, 0.5, 0.25)}
"""Patch sizes that reach the strides 4, 8, 16 and 32 of detectors, and by which scales."""

NUM_MAPS = 4


@dataclass(frozen=True)
class Network:
    """A vision transformer with its weights as mmrel writes them.

    Attributes:
        meta: as :func:`mmrel.checkpoints.load_backbone` gives it, after the patches were brought to 8 or 16 pixels.
        source: the file that the user gave.
        note: what was changed.
    """

    meta: dict[str, Any]
    source: Path
    note: str = ""

    @property
    def width(self) -> int:
        """Channels of its tokens."""
        return int(self.meta["embed_dims"])

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.meta["patch_size"])

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return int(self.meta["num_layers"])

    def choice(self) -> Choice:
        """Its line in the table."""
        heads = self.meta["num_heads"]
        reason = f"{self.depth} blocks, {self.width} channels, heads: {heads}; of {self.source}"
        return Choice("network", f"ViT, patch {self.patch}", f"{reason}{self.note}")

    def backbone_config(self, img_size: Any, checkpoint: str | None) -> dict[str, Any]:
        """Settings of ``mmrel.DenseViT``."""
        meta = self.meta
        config = dict(
            _delete_=True,
            type="mmrel.DenseViT",
            arch={name: meta[name] for name in SIZES},
            img_size=img_size,
            patch_size=self.patch,
            out_indices=self.out_indices(),
            out_norm="all" if meta["final_norm"] else "none",
            with_cls_token=meta["with_cls_token"],
            pos_interpolation=meta["pos_interpolation"] or "size",
            drop_path_rate=0.1,
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint, prefix="backbone."),
        )
        if meta.get("num_registers"):
            config["num_registers"] = meta["num_registers"]
        if meta["layer_scale"]:
            config["layer_scale_init_value"] = 1.0
        return config

    def out_indices(self) -> list[int]:
        """Four blocks spread evenly over the depth, or the last of a network of fewer."""
        if self.depth < NUM_MAPS:
            return [self.depth - 1]
        return [self.depth * part // NUM_MAPS - 1 for part in range(1, NUM_MAPS + 1)]

    def pyramid_config(self, norm: dict[str, Any]) -> dict[str, Any]:
        """Settings of ``mmrel.ViTPyramid``."""
        config = dict(
            type="mmrel.ViTPyramid",
            in_channels=self.width,
            scales=PYRAMIDS[self.patch],
            norm_cfg=norm,
        )
        return config if self.depth >= NUM_MAPS else {**config, "mode": "last"}

    def normalization(self) -> dict[str, Any]:
        """Mean and deviation of the images that it was trained on, as data preprocessors take them."""
        mean, std = self.meta["mean"], self.meta["std"]
        if mean is None or std is None:
            mean, std = IMAGENET
        return dict(mean=list(mean), std=list(std))


def read_network(file: Path, output: Path, num_heads: int | None = None) -> Network:
    """Read a checkpoint and write its backbone as mmrel's detectors take it.

    Args:
        file: of any layout that mmrel recognises; of a pretraining, the network that its authors evaluate counts.
        output: file to write.
        num_heads: attention heads, where the file does not tell them.

    Raises:
        UsageError: it is missing, no plain vision transformer, or not made for photos of three channels.
    """
    try:
        found = read_backbone_file(file, num_heads=num_heads)
        patch = int(found.meta["patch_size"])
        wanted = patch if patch in PYRAMIDS else min(PYRAMIDS, key=lambda size: abs(size - patch))
        note = ""
        if wanted != patch:
            found = read_backbone_file(file, num_heads=num_heads, patch_size=wanted)
            note = f"; its patches of {patch} pixels were resized to {wanted} (FlexiViT), for strides of 4 to 32"
    except (OSError, ValueError) as error:
        raise UsageError(f"--backbone {file} cannot be used. {error}") from error
    if found.meta.get("in_channels", 3) != 3:
        raise UsageError(
            f"--backbone {file} takes images of {found.meta['in_channels']} channels; this tool trains on photos "
            "of three."
        )
    write_backbone(found, file, output)
    return Network(found.meta, file, note)
