"""A few real steps of a recipe, to know what it takes: seconds, and memory. Nothing of them is kept."""

import gc
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn
from torch.utils.data import default_collate

from mmrel.apis.backbone import brief_log
from mmrel.engine.loops.memory_groups import KEPT, recompute_of
from mmrel.structures import SampleKey

DECODED = 8
"""Images that are read to time the loading; a larger batch repeats them."""

MAX_STEPS, MAX_SECONDS = 3, 4.0
"""The measurement ends after so many steps, or with the step that is running after so many seconds."""

PER_PARAMETER = 20
"""Bytes in training: float32 weight, gradient, two moments of Adam, and the teacher's weight."""

CONTEXT = 2**30
"""What CUDA and the allocator's gaps take, roughly."""


@dataclass(frozen=True)
class Pace:
    """What was measured.

    Attributes:
        step: seconds of an optimizer step, without loading.
        loading: seconds that one process takes to read and crop an image.
        batch_size: images of the step.
    """

    step: float
    loading: float
    batch_size: int

    def seconds_per_step(self, workers: int, shares_cores: bool) -> float:
        """Seconds of a step in a run.

        Args:
            workers: loading processes, which work beside the step.
            shares_cores: they take the cores that the step computes on.
        """
        load = self.loading * self.batch_size
        return self.step + load if shares_cores else max(self.step, load / max(workers, 1))


class Trial:
    """The model, optimizer and data set of a configuration, for measurements alone.

    Args:
        config: a pretraining configuration, resolved.
        images: paths below its folder to take the batch from; empty: the folder is listed.
    """

    def __init__(self, config: Any, images: Sequence[str] = ()) -> None:
        self.images = images
        init_default_scope(config.get("default_scope", "mmpretrain"))
        settings = dict(config.model)
        settings.setdefault("data_preprocessor", config.get("data_preprocessor"))
        self.device = get_device()
        self.config = config
        self.model: Any = MODELS.build(settings)
        self.parameters = _count(self.model)
        self._backbone = _count(self.model.backbone)

    @property
    def backbone_parameters(self) -> int:
        """Parameters of the network that gets exported."""
        return self._backbone

    def memory(self, batch_size: int, crops: list[tuple[int, int]], precision: str) -> int:
        """Bytes that a training step is modelled to take.

        Weights, gradients, moments and the teacher are counted; what the backward pass keeps of the blocks is taken
        from their sizes, and twice the logits of the prototypes are added.

        Args:
            batch_size: images.
            crops: number and side in pixels of each kind of crop.
            precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``.
        """
        backbone = self.model.backbone
        each = KEPT[precision][recompute_of(self.model) or "none"]
        width, blocks = backbone.embed_dims, len(backbone.layers)
        tokens = sum(count * ((side // backbone.patch_size) ** 2 + 1) for count, side in crops)
        logits = sum(count for count, _ in crops) * _prototypes(self.model) * 4 * 2
        fixed = self.parameters * PER_PARAMETER + (0 if self.device == "cpu" else CONTEXT)
        return fixed + batch_size * (tokens * width * blocks * each + logits)

    def pace(self, batch_size: int) -> Pace:
        """Time the loading of some images, and some steps after one that does not count."""
        batch, loading = self._batch(batch_size)
        model = self.model.to(self.device).train()
        with brief_log():
            model.init_weights()
        optim_wrapper = build_optim_wrapper(model, self.config.optim_wrapper)
        optim_wrapper.initialize_count_status(model, 0, MAX_STEPS + 1)
        _step(model, optim_wrapper, batch)
        times: list[float] = []
        while len(times) < MAX_STEPS and sum(times) < MAX_SECONDS:
            times.append(_step(model, optim_wrapper, batch))
        return Pace(min(times), loading, batch_size)

    def _batch(self, batch_size: int) -> tuple[Any, float]:
        """A batch as the loader gives it, and the seconds that one image took."""
        dataset = self._dataset()
        count = min(DECODED, batch_size, len(dataset))
        keys = [SampleKey(0, 0, i * len(dataset) // count) for i in range(count)]
        samples = [dataset[keys[0]]]  # the first call builds what the others find
        start = time.perf_counter()
        samples += [dataset[key] for key in keys[1:]]
        seconds = (time.perf_counter() - start) / max(count - 1, 1)
        return default_collate([samples[i % count] for i in range(batch_size)]), seconds

    def _dataset(self) -> Any:
        settings = dict(self.config.train_dataloader.dataset)
        if not self.images:
            return DATASETS.build(settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "images.txt"
            path.write_text("".join(f"{name}\n" for name in self.images), encoding="utf-8")
            dataset = DATASETS.build(settings | dict(ann_file=str(path)))
            len(dataset)  # lists the images now, while the file is there
            return dataset

    def close(self) -> None:
        """Give the memory back."""
        self.model = None
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()


def _step(model: Any, optim_wrapper: Any, batch: Any) -> float:
    """One step as the loop makes it; its seconds."""
    start = time.perf_counter()
    model.train_step(batch, optim_wrapper)
    if hasattr(model, "commit"):
        model.commit(0.99, ok=optim_wrapper.step_ok)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _count(module: nn.Module) -> int:
    """Parameters that are trained; of a teacher's there are as many again, which ``PER_PARAMETER`` has."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _prototypes(model: Any) -> int:
    """Logits per crop: the widest of the heads' outputs."""
    return max((int(getattr(head, "out_channels", 0)) for head in model.head.values()), default=0)
