"""Which recipes ``benchmarks/step.py`` times, and how a recipe is prepared for it."""

from pathlib import Path
from typing import Any, NamedTuple

from loader import write_images as write_photographs

from mmrel.utils import UsageError
from mmrel.utils.config import load_config, merge_options

CONFIGS = Path(__file__).parents[1] / "configs"
NUM_FILES = 64


class Recipe(NamedTuple):
    """A configuration below ``configs/`` and the images per GPU that it is timed with."""

    config: str
    batch: int


RECIPES = {
    "sere": Recipe("sere/ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k.py", 128),
    "selfpatch": Recipe("selfpatch/selfpatch_vit-small-p16_8xb128-amp-coslr-200e_in1k.py", 128),
    "sit": Recipe("sit/sit_vit-small-p16_4xb64-amp-coslr-800e_in1k.py", 64),
    "relvit": Recipe("relvit/relvit_vit-small-p4_1xb256-100e_cifar10.py", 256),
    "relvit-p32": Recipe("relvit/relvit_vit-small-p32_1xb256-100e_flowers102.py", 256),
    "ibot": Recipe("ibot/ibot_vit-small-p16_8xb128-amp-coslr-100e_in1k.py", 128),
    "dino": Recipe("dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k.py", 64),
    "mocov3": Recipe("mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py", 256),
    "sere-base": Recipe("sere/ibot-sere_vit-base-p16_8xb128-amp-coslr-100e_in1k.py", 128),
}
"""ViT-S/16 unless the name says otherwise; batch sizes are those of the recipes."""
DEFAULT = ("sere", "selfpatch", "sit", "relvit")
TINY = {
    "sere": Recipe("quickstart/ibot-sere_vit-tiny-p8_scenes.py", 8),
    "selfpatch": Recipe("quickstart/selfpatch_vit-tiny-p8_scenes.py", 8),
    "sit": Recipe("quickstart/sit_vit-tiny-p8_scenes.py", 8),
    "relvit": Recipe("quickstart/relvit_vit-tiny-p8_scenes.py", 8),
}
"""The quickstart's small networks: what a CPU can run to check this benchmark itself."""


def choose(names: list[str] | None, tiny: bool) -> dict[str, Recipe]:
    """The recipes of these names; ``None``: the four default ones.

    Raises:
        UsageError: there is no such recipe, or it has no tiny form.
    """
    known = TINY if tiny else RECIPES
    if unknown := [name for name in names or () if name not in known]:
        raise UsageError(
            f"--recipes {' '.join(unknown)}: known{' tiny' if tiny else ''} recipes are {', '.join(known)}."
        )
    return {name: known[name] for name in names or DEFAULT}


def write_images(root: Path, count: int) -> Path:
    """A folder of ``count`` JPEG files of 500 x 375 pixels, as ImageNet's are on average; few of them are distinct."""
    folder = root / "train" / "class"
    folder.mkdir(parents=True)
    photographs = write_photographs(folder, min(count, NUM_FILES))
    for i in range(NUM_FILES, count):
        (folder / f"{i:06d}.jpg").hardlink_to(photographs[i % NUM_FILES])
    return root / "train"


def prepare(
    recipe: Recipe, batch: int, images: Path, work_dir: Path, options: dict[str, Any]
) -> Any:
    """The recipe's configuration with these images, without validation, k-NN and checkpoints.

    Args:
        recipe: what to time.
        batch: images per process.
        images: a folder, see :func:`write_images`.
        work_dir: for the log.
        options: as of ``--cfg-options``; they win.
    """
    config = load_config(str(CONFIGS / recipe.config))
    config.train_dataloader.batch_size = batch
    config.train_dataloader.dataset.data_root = str(images)
    for split in ("val", "test"):
        for part in ("dataloader", "cfg", "evaluator"):
            config.pop(f"{split}_{part}", None)
    config.custom_hooks = []
    for hook in ("checkpoint", "knn"):
        config.default_hooks.pop(hook, None)
    config.default_hooks.logger.interval = 10**6
    config.work_dir, config.log_level = str(work_dir), "ERROR"
    merge_options(config, options)
    return config
