"""Write the backbone of a pretraining checkpoint as plain tensors, for mmdet, mmseg and mmpretrain.

    python tools/export_backbone.py work_dirs/sere/epoch_100.pth sere_vit-small-p16.pth

The file holds ``{'state_dict': {'backbone.*': tensor}, 'meta': {...}}`` and loads everywhere with
``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``. The teacher is taken
unless ``--network student`` is given; the mask token, which only pretraining uses, is left out. Nothing
stored in the checkpoint is executed. Checkpoints of other projects are converted by
``tools/convert_checkpoint.py``.
"""

import argparse
import sys
from pathlib import Path

from mmrel.checkpoints.layouts import NETWORKS


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Write a pretrained backbone as plain tensors 'backbone.*'."
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the pretraining")
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        default="teacher",
        help="which of the two networks (default: teacher, which is generally better)",
    )
    options = parser.parse_args(arguments)
    from mmrel.checkpoints.export import export_backbone

    try:
        meta = export_backbone(options.checkpoint, options.output, options.network)
    except (OSError, ValueError) as error:
        print(f"export_backbone: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.output}: {meta['network']} of {meta['source']}, {meta['num_keys']} tensors; "
        f"arch {meta['arch']} ({meta['embed_dims']} wide, {meta['num_layers']} blocks, "
        f"{meta['num_heads'] or 'unknown number of'} heads, patch {meta['patch_size']}, image "
        f"{meta['img_size'] or 'unknown'})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
