"""Draw what a SiT checkpoint restores: input, corrupted crop, reconstruction; as one PNG.

Example::

    python tools/visualize_reconstruction.py configs/sit/sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py \
        work_dirs/sit/epoch_800.pth reconstruction.png --cfg-options data_root=data/imagenet/train

Images, crops, colours and corruption are those of the configuration's training pipeline. Nothing stored in the
checkpoint is executed.
"""

import argparse
from pathlib import Path
from typing import Any

from mmrel.launch.arguments import ConfigOptions
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.config import load_config, merge_options


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw what a SiT checkpoint restores")
    parser.add_argument("config", help="the configuration file of the pretraining")
    parser.add_argument("checkpoint", help="a checkpoint of that pretraining")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--images", type=int, default=6, help="how many, spread over the data set")
    parser.add_argument("--folder", help="other images than those that the configuration names")
    parser.add_argument("--seed", type=int, default=0, help="of crops and corruption")
    parser.add_argument(
        "--cfg-options", nargs="+", action=ConfigOptions, help="settings to override"
    )
    return parser.parse_args()


def load_batch(config: Any, count: int, folder: str | None, seed: int) -> Any:
    """Some images of the training data set after its pipeline, collated.

    Raises:
        UsageError: fewer than 1 or more images than there are were asked for.
    """
    import numpy as np
    from mmengine.registry import DATASETS
    from torch.utils.data import default_collate

    from mmrel.structures import SampleKey

    settings = dict(config.train_dataloader.dataset)
    dataset = DATASETS.build({**settings, "data_root": folder} if folder else settings)
    if not 1 <= count <= len(dataset):
        raise UsageError(f"--images is {count}; the data set has {len(dataset)}, give 1 to that.")
    places = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
    return default_collate([dataset[SampleKey(seed, 0, place)] for place in places])


@reports_usage_errors
def main() -> None:
    """Restore, draw, and print the error."""
    args = parse_args()
    from mmengine.registry import init_default_scope

    from mmrel.apis.pretrained_model import load_pretraining
    from mmrel.launch.safe_loading import load_safely
    from mmrel.visualization.reconstruction import draw_reconstructions, reconstruct

    load_safely()
    config = load_config(args.config, args.cfg_options)
    merge_options(config, args.cfg_options)
    if config.model.type != "mmrel.SiT":
        raise UsageError(
            f"{args.config} is a configuration of {config.model.type}; only mmrel.SiT restores pixels."
        )
    init_default_scope(config.get("default_scope", "mmpretrain"))
    model: Any = load_pretraining(config, args.checkpoint)
    batch = load_batch(config, args.images, args.folder, args.seed)
    found = reconstruct(model, model.data_preprocessor(batch, True)["inputs"])
    draw_reconstructions(found, args.out)
    print(
        f"{args.out}: mean absolute error of corrupted values {found.error:.4f}, "
        f"of the mean colour {found.baseline:.4f}"
    )


if __name__ == "__main__":
    main()
