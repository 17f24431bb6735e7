"""One recipe, one setting, timed through the Runner, its hooks and its optimizer wrapper; in a process of its own.

Started by ``benchmarks/step.py``, under ``torch.distributed.run`` for several GPUs.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from step_recipes import RECIPES, TINY, prepare
from torch.utils.flop_counter import FlopCounterMode

from mmrel.engine.loops import ResumableEpochLoop
from mmrel.launch.arguments import ConfigOptions
from mmrel.launch.runner import build_runner
from mmrel.registry import LOOPS

WAIT_STEPS = 3


class Clock:
    """Times between steps: the device's on CUDA, where events cost no wait, otherwise the host's."""

    def __init__(self, cuda: bool) -> None:
        self.cuda = cuda
        self.marks: list[Any] = []

    def mark(self) -> None:
        """The end of one step and the beginning of the next."""
        if not self.cuda:
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def milliseconds(self) -> list[float]:
        """Of each step between two marks."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        if not self.cuda:
            return [1e3 * (end - start) for start, end in pairs]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in pairs]


def bmm_flop(left: torch.Size, right: torch.Size, *dtype: Any, **_: Any) -> int:
    """Operations of a batched product; torch's own formula fails where a dtype is given for the result."""
    return 2 * left.numel() * right[-1]


@LOOPS.register_module()
class TimedLoop(ResumableEpochLoop):
    """Runs the steps to be timed in place of an epoch, and keeps what was measured in ``figures``.

    Args:
        warmup: steps before the measurement; compiling happens in them.
        steps: steps that are timed.
        loader: whether to time steps that the loader feeds, after those on one batch again and again.
        count_flops: whether to count the operations of a step, which only eager code allows.
        **kwargs: of the loop.
    """

    def __init__(
        self, *args: Any, warmup: int, steps: int, loader: bool, count_flops: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.warmup, self.steps = warmup, steps
        self.loader, self.count_flops = loader, count_flops
        self.cuda = next(self.runner.model.parameters()).is_cuda
        self.figures: dict[str, Any] = {}

    def run_epoch(self) -> None:
        """Measure, once."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        batches = self._endless()
        batch = next(batches)
        start = time.perf_counter()
        self.run_iter(0, batch)
        self._wait()
        self.figures["first_step_s"] = time.perf_counter() - start
        self._repeat(self.warmup - 1, batch)
        self._wait()
        self.figures["warmup_s"] = time.perf_counter() - start
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        self.figures["synthetic"] = self._timed(iter(lambda: batch, None))
        if self.cuda:
            self.figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
            self.figures["reserved_gib"] = torch.cuda.max_memory_reserved() / 2**30
            self.figures["host_waits"] = self._host_waits(batch)
        if self.count_flops:
            self.figures["tflop"] = self._flops(batch) / 1e12
        if self.loader:
            self.figures["loader_fed"] = self._timed(batches)
        self._epoch = self._max_epochs

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.dataloader

    def _repeat(self, count: int, batch: Any) -> None:
        for _ in range(count):
            self.run_iter(0, batch)

    def _timed(self, batches: Iterator[Any]) -> dict[str, Any]:
        clock, waited = Clock(self.cuda), 0.0
        clock.mark()
        for _ in range(self.steps):
            start = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - start
            self.run_iter(0, batch)
            clock.mark()
        times = clock.milliseconds()
        low, median, high = np.percentile(times, [25, 50, 75])
        return {
            "ms": float(median),
            "quartiles_ms": [float(low), float(high)],
            "mean_ms": float(np.mean(times)),
            "host_in_loader_ms": 1e3 * waited / self.steps,
        }

    def _host_waits(self, batch: Any) -> float:
        """Waits of the host for the device per step, which torch warns of."""
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                self._repeat(WAIT_STEPS, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in told) / WAIT_STEPS

    def _flops(self, batch: Any) -> int:
        """Of the matrix products, convolutions and attention of one step; a multiply-add is two."""
        products = {torch.ops.aten.bmm: bmm_flop}
        with FlopCounterMode(display=False, custom_mapping=products) as counter:
            self.run_iter(0, batch)
        return counter.get_total_flops()

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Build the recipe's runner with :class:`TimedLoop` and run it."""
    recipe = (TINY if args.tiny else RECIPES)[args.recipe]
    config = prepare(recipe, args.batch, args.images, args.out.parent, args.cfg_options or {})
    config.compile = args.compile == "on"
    config.launcher = "pytorch" if "RANK" in os.environ else "none"
    config.train_cfg.update(
        type="mmrel.TimedLoop",
        warmup=args.warmup,
        steps=args.steps,
        loader=args.loader,
        count_flops=args.compile == "off",
    )
    runner = build_runner(config)
    runner.train()
    return {"batch": args.batch, "gpus": get_world_size(), **runner.train_loop.figures}


def parse_args() -> argparse.Namespace:
    """Read the command line that ``benchmarks/step.py`` wrote."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--compile", choices=["on", "off"], required=True)
    parser.add_argument("--warmup", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--loader", action="store_true")
    parser.add_argument("--cfg-options", nargs="+", action=ConfigOptions)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Measure, and write what was found on rank 0."""
    args = parse_args()
    try:
        figures = measure(args)
    except RuntimeError as error:
        if "ut of memory" not in str(error):
            raise
        figures = {"batch": args.batch, "error": str(error).partition("\n")[0]}
    if get_rank() == 0:
        args.out.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
