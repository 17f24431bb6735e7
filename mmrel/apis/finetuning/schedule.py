"""How long to train, on how many images at a time, at which rate: from the number of images."""

import math
from dataclasses import dataclass
from typing import Any

from mmrel.apis.choices import Choice
from mmrel.apis.finetuning.machine import Machine

FULL_RATE_BATCH = 16
"""Images per step that the base learning rates are for; smaller batches take the rate times sqrt(batch / 16)."""

BATCH_NORM_FROM = 8
CPU_STEPS = 2000
MIN_STEPS, MAX_EPOCHS = 300, 300
CPU_PIXELS = 300_000
"""Pixels per step on a CPU, which give some seconds per step with a ViT-S."""


LEAST_WARMUP = 2
"""MMEngine's LinearLR reaches the full rate one step before its end, and with a single step never leaves the first."""


@dataclass(frozen=True)
class Wishes:
    """What the user fixed; ``None``: it is chosen.

    Attributes:
        epochs: passes over the training images.
        iters: training steps.
        batch: images per step.
        pretrained: whether training starts from the backbone's weights.
    """

    epochs: float | None = None
    iters: int | None = None
    batch: int | None = None
    pretrained: bool = True


@dataclass(frozen=True)
class Task:
    """What differs between the two tasks.

    Attributes:
        rate: learning rate for 16 images per step.
        epochs: passes over ``images`` images that published recipes train for.
        images: see ``epochs``.
        gib_per_megapixel: memory of a GPU that a ViT-S with its head needs per million pixels, roughly.
    """

    rate: float
    epochs: float
    images: int
    gib_per_megapixel: float


DETECTION = Task(rate=4e-4, epochs=12, images=100_000, gib_per_megapixel=3.5)
SEGMENTATION = Task(rate=2e-4, epochs=60, images=10_000, gib_per_megapixel=6.0)


@dataclass(frozen=True)
class Schedule:
    """A schedule and the reasons for it.

    Attributes:
        batch: images per step.
        iters: training steps.
        warmup: steps of linear warm-up.
        rate: learning rate at the end of the warm-up.
        layer_decay: factor on the rate from each block to the one below.
        val_interval: steps from one evaluation to the next.
        choices: lines of the table.
    """

    batch: int
    iters: int
    warmup: int
    rate: float
    layer_decay: float
    val_interval: int
    choices: tuple[Choice, ...]

    def norm(self, width: int) -> dict[str, Any]:
        """Norm layers of the head: batch norm is too noisy for the few images of a small batch.

        Args:
            width: channels that the groups of a group norm must divide.
        """
        if self.batch >= BATCH_NORM_FROM:
            return dict(type="SyncBN", requires_grad=True)
        return dict(type="GN", num_groups=max(1, math.gcd(32, width) // 2), requires_grad=True)


def choose_schedule(
    task: Task, num_images: int, pixels: int, width: int, machine: Machine, wishes: Wishes
) -> Schedule:
    """The schedule of a run.

    Args:
        task: detection or segmentation.
        num_images: training images.
        pixels: of an image in training.
        width: channels of the backbone.
        machine: that it runs on.
        wishes: of the user.
    """
    batch, batch_reason = _batch(task, num_images, pixels, width, machine, wishes)
    iters, iters_reason = _iters(task, num_images, batch, machine, wishes)
    warmup = max(LEAST_WARMUP, min(500, iters // 10))
    rate = float(f"{task.rate * math.sqrt(batch / FULL_RATE_BATCH):.1e}")
    decay = 0.75 if wishes.pretrained else 1.0
    evaluations = 10 if machine.gpu else 4
    interval = max(1, -(-iters // evaluations))
    epochs = iters * batch / num_images
    choices = (
        Choice("batch", str(batch), batch_reason),
        Choice(
            "iterations", str(iters), f"{iters_reason}; {epochs:.3g} epochs of {num_images} images"
        ),
        Choice(
            "warm-up",
            f"{warmup} iterations",
            "a tenth of the run, at most 500; then the rate falls to 0 (cosine)",
        ),
        Choice(
            "learning rate",
            f"{rate:g}",
            f"AdamW; {task.rate:g} for {FULL_RATE_BATCH} images, times sqrt(batch / {FULL_RATE_BATCH})",
        ),
        Choice(
            "layer decay",
            f"{decay:g}",
            "lower blocks of a pretrained backbone change less"
            if wishes.pretrained
            else "--init random: all layers have to learn alike",
        ),
        Choice(
            "evaluation",
            f"every {interval}",
            f"about {evaluations} times in the run; the best checkpoint is kept",
        ),
    )
    return Schedule(batch, iters, warmup, rate, decay, interval, choices)


def _batch(
    task: Task, num_images: int, pixels: int, width: int, machine: Machine, wishes: Wishes
) -> tuple[int, str]:
    if wishes.batch is not None:
        return wishes.batch, "as given (--batch)"
    if machine.gpu:
        per_image = task.gib_per_megapixel * pixels / 1e6 * max(width, 192) / 384
        fits = int((0.8 * machine.memory - 2) / per_image)
        most, why = (
            16,
            f"as the recipes; a guess for {machine.memory:.0f} GiB allows {max(fits, 0)}",
        )
    else:
        fits, most, why = CPU_PIXELS // pixels, 8, "so that a step takes seconds on a CPU"
    batch = max(min(fits, most, num_images), 2)
    return batch, why if batch < num_images else "there are no more images"


def _iters(
    task: Task, num_images: int, batch: int, machine: Machine, wishes: Wishes
) -> tuple[int, str]:
    if wishes.iters is not None:
        return wishes.iters, "as given (--iters or --hours)"
    if wishes.epochs is not None:
        return max(1, round(wishes.epochs * num_images / batch)), "as given (--epochs)"
    epochs = min(task.epochs * math.sqrt(task.images / num_images), MAX_EPOCHS)
    iters = max(MIN_STEPS, round(epochs * num_images / batch))
    if not machine.gpu and iters > CPU_STEPS:
        return CPU_STEPS, f"as many as a CPU does in some hours; a GPU would get {iters}"
    rule = f"{task.epochs:g} epochs for {task.images} images, more for fewer (square root)"
    return iters, rule if iters > MIN_STEPS else "the least that new heads need"
