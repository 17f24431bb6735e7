"""Crops, batch, loaders and precision, from the photos and the machine. Each rule stands in its docstring."""

from dataclasses import dataclass
from typing import Any

from mmrel.apis.choices import Choice
from mmrel.apis.pretraining.machine import GIB, Machine
from mmrel.apis.pretraining.survey import Survey
from mmrel.apis.pretraining.wishes import Wishes
from mmrel.utils.errors import UsageError
from mmrel.utils.text import counted

CONTRASTIVE = ("mocov3", "sit")
"""Methods whose negatives are the other images of a batch."""

MAX_BATCH_GPU, MAX_BATCH_CPU, MIN_BATCH, LEAST_BATCH = 256, 16, 8, 2
CROP_CPU, LOCAL_CPU = 96, 4
"""Side of global crops in pixels, and number of local crops, on a CPU."""

STEPS_PER_EPOCH = 16
"""So many batches at least in an epoch, where the photos allow it: fewer are fewer updates for the same work."""

USABLE = 0.85
"""Share of the free memory that a plan may fill: the model of the need is no measurement."""

BAD_SHARE = 0.2
"""A larger share of unreadable files is a mistake of the folder, not an odd file in it."""


@dataclass(frozen=True)
class Crops:
    """Kinds of crops of a photo: numbers, and sides in pixels."""

    num_global: int
    size: int
    num_local: int
    local_size: int

    @property
    def kinds(self) -> list[tuple[int, int]]:
        """Number and side of each kind."""
        kinds = [(self.num_global, self.size), (self.num_local, self.local_size)]
        return [kind for kind in kinds if kind[0]]

    @classmethod
    def of(cls, config: Any) -> "Crops":
        """Those of a configuration."""
        crop = multi_crop(config)[1]
        names = ("num_global", "global_size", "num_local", "local_size")
        defaults = dict(num_global=2, global_size=224, num_local=10, local_size=96)
        return cls(*(crop.get(name, defaults[name]) for name in names))

    def __str__(self) -> str:
        return " + ".join(f"{number} of {side}" for number, side in self.kinds) + " pixels"


def multi_crop(config: Any) -> tuple[int, Any]:
    """Where in the pipeline of a configuration the crops are cut, and the settings of that step."""
    pipeline = config.train_dataloader.dataset.pipeline
    return next((i, step) for i, step in enumerate(pipeline) if step.type == "mmrel.MultiCrop")


def choose_network(wishes: Wishes, machine: Machine, of_weights: str | None) -> Choice:
    """The network: the one asked for, that of the weights, or ViT-S on a GPU and ViT-Ti on a CPU.

    A forward pass of ViT-S has 4.3 times the operations of ViT-Ti's, which on a CPU is the difference between an
    evening and days.

    Args:
        wishes: the command line.
        machine: what there is.
        of_weights: the network of the weights to go on from.
    """
    if wishes.network:
        return Choice("network", wishes.network, "as asked for")
    if of_weights:
        return Choice("network", of_weights, f"the one of {wishes.weights}")
    if machine.gpu:
        return Choice("network", "vit-small", "the usual one on a GPU; --network takes another")
    reason = "on a CPU: a quarter of vit-small's operations; --network takes another"
    return Choice("network", "vit-tiny", reason)


def choose_crop_size(
    recipe: int, survey: Survey, machine: Machine, patch: int = 16
) -> tuple[int, str]:
    """Side of a global crop: the recipe's, no larger than the photos, and on a CPU 96 pixels.

    A crop of 224 pixels has 196 patches and costs five to six times one of 96, which has 36: enough for relations
    between parts of an image, and the only way to take many steps on a CPU. The network takes other sizes afterwards.
    At least 4 x 4 patches, which the smallest photos are magnified to.

    Args:
        recipe: the method's on a GPU.
        survey: of the photos.
        machine: what there is.
        patch: side of a patch in pixels.

    Returns:
        Pixels, a multiple of the patch; and the reason.
    """
    side, reason = recipe, "as in the paper"
    if machine.gpu is None:
        side = min(side, CROP_CPU)
        reason = "on a CPU: larger ones take several times as long"
    if survey.short_side < side:
        side = survey.short_side
        reason = f"no larger than the photos (short side {survey.short_side} pixels)"
        if side < 4 * patch:
            reason = f"the smallest that work; photos of {survey.short_side} pixels are magnified"
    return max(side // patch, 4) * patch, reason


def choose_batch(wishes: Wishes, survey: Survey, machine: Machine, fits: int) -> Choice:
    """Images per step: a power of two that fits the memory, with at least 16 steps in an epoch where possible.

    A batch is never larger than the folder. Up to 256 on a GPU, 16 on a CPU, where more images make a longer step and
    no better use of the cores.

    Args:
        wishes: the command line.
        survey: of the photos.
        machine: what there is.
        fits: images that the memory holds.

    Raises:
        UsageError: a batch of one image is asked for.
    """
    images = survey.num_images
    if wishes.batch is not None:
        if wishes.batch < LEAST_BATCH:
            raise UsageError(
                f"--batch is {wishes.batch}; a step compares at least {LEAST_BATCH} images (batch normalisation, "
                "contrast)."
            )
        if wishes.batch > images:
            return Choice(
                "batch",
                str(images),
                f"all photos: {wishes.batch} was asked for, there are {images}",
            )
        return Choice("batch", str(wishes.batch), "as asked for")
    most = MAX_BATCH_CPU if machine.gpu is None else MAX_BATCH_GPU
    by_photos = max(power_of_two(images // STEPS_PER_EPOCH), MIN_BATCH)
    batch = min(most, by_photos, power_of_two(fits), images)
    if batch == images:
        reason = "all photos: there are no more"
    elif batch < min(most, by_photos):
        reason = "the largest that fits the memory"
    elif by_photos < most:
        reason = f"{max(images // batch, 1)} steps from {images} photos in each epoch"
    else:
        reason = (
            "the usual one on a GPU" if machine.gpu else "on a CPU: more steps in the same time"
        )
    if wishes.method in CONTRASTIVE and batch < 64:
        reason += "; few for a method that contrasts the images of a batch (sere or ibot does not)"
    return Choice("batch", str(batch), reason)


def power_of_two(number: int) -> int:
    """The largest power of two that is not larger; 1 for less."""
    return 1 << (max(number, 1).bit_length() - 1)


def images_that_fit(fixed: int, per_image: int, machine: Machine) -> int:
    """Images of a step that the memory holds beside the weights, 0 if not one."""
    return max(0, int(USABLE * machine.free - fixed) // max(per_image, 1))


def check_memory(need: int, batch: int, wishes: Wishes, machine: Machine, fits: int) -> None:
    """Refuse a step that cannot fit.

    Raises:
        UsageError: with what it needs, what there is, and what to change.
    """
    if LEAST_BATCH <= batch <= fits:
        return
    smaller = (
        f"Give --batch {power_of_two(fits)}" if fits >= 2 else "Give a smaller --network (vit-tiny)"
    )
    where = machine.gpu or "this machine"
    other = ", or --preset cpu" if machine.gpu else ""
    raise UsageError(
        f"A step of {counted(batch, 'image')} needs some {need / GIB:.1f} GiB (modelled), but {where} has "
        f"{machine.free / GIB:.1f} GiB free. {smaller}{other}, or end what else uses the memory."
    )


def choose_precision(machine: Machine) -> Choice:
    """bfloat16 where the GPU has it, otherwise float16 with loss scaling; float32 on a CPU."""
    if machine.gpu is None:
        return Choice("precision", "fp32", "on a CPU")
    if machine.bf16:
        return Choice("precision", "bf16", "the GPU has it: half the memory, no overflows")
    return Choice("precision", "fp16", "the GPU has no bfloat16")


def choose_workers(machine: Machine) -> Choice:
    """Processes that read photos: on a GPU machine all cores but one, at most 12; on a CPU one for four cores.

    On a CPU the step takes the cores, and is so slow that one process reads faster.
    """
    if machine.gpu is None:
        workers = min(max(machine.cores // 4, 1), 4)
        return Choice("workers", str(workers), "reading is quick beside a step on the CPU")
    workers = min(max(machine.cores - 1, 1), 12)
    return Choice("workers", str(workers), f"of {machine.cores} cores, to keep the GPU busy")


def allowed_bad(survey: Survey) -> tuple[float, int]:
    """``max_bad_fraction`` and ``min_bad_allowed`` of the data set: what the sample shows, twice over.

    Raises:
        UsageError: so many files cannot be read that something is wrong with the folder.
    """
    share = survey.unreadable_share
    if share > BAD_SHARE:
        name, why = next(iter(survey.unreadable.items()))
        raise UsageError(
            f"{len(survey.unreadable)} of {survey.sampled} images of {survey.root} that were looked at cannot be read, "
            f"for instance {name} ({why}). Repair or remove them, or give another folder."
        )
    return max(0.001, round(2 * share, 4)), max(1, 2 * len(survey.unreadable))
