"""What the benchmarks share: time, memory, the check that both forms agree, and where results are written."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmrel.utils.files import write_text_atomically
from mmrel.utils.machine import processor

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 2e-5

Run = Callable[[], tuple[Tensor, ...]]
"""One forward and backward; gives the loss and the gradients."""


def clock() -> float:
    """Seconds: processor time if torch uses one CPU thread and no GPU, otherwise wall time."""
    if torch.get_num_threads() == 1 and not torch.cuda.is_initialized():
        return time.process_time()
    return time.perf_counter()


def wait(device: str) -> None:
    """Wait for the GPU, if it is one."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def best_seconds(runs: Sequence[Run], device: str, repeats: int) -> list[float]:
    """Best time of each run, measured in turns after a first turn."""
    best = [float("inf")] * len(runs)
    for turn in range(repeats + 1):
        for i, run in enumerate(runs):
            wait(device)
            start = clock()
            run()
            wait(device)
            best[i] = min(best[i], clock() - start) if turn else best[i]
    return best


def peak_mebibytes(run: Run, device: str) -> float:
    """Peak of the memory that a run allocates above what is held before."""
    if torch.device(device).type == "cuda":
        wait(device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak / 2**20


def check_equal(name: str, fast: tuple[Tensor, ...], direct: tuple[Tensor, ...]) -> float:
    """Largest relative difference of the loss and the gradients; raises if it is not rounding."""
    differences = [((a - b).norm() / b.norm()).item() for a, b in zip(fast, direct, strict=True)]
    if not max(differences) <= TOLERANCE:
        raise RuntimeError(
            f"{name} differs from its direct form: loss and gradients by {differences}"
        )
    return max(differences)


def compare(name: str, fast: Run, direct: Run, device: str, repeats: int) -> dict[str, float]:
    """Times, peaks and ratios of both forms, which must agree."""
    difference = check_equal(name, fast(), direct())
    times = best_seconds([fast, direct], device, repeats)
    peaks = peak_mebibytes(fast, device), peak_mebibytes(direct, device)
    return {
        "seconds": times[0],
        "direct_seconds": times[1],
        "speedup": times[1] / times[0],
        "peak_mib": peaks[0],
        "direct_peak_mib": peaks[1],
        "memory_ratio": peaks[0] / peaks[1],
        "relative_difference": difference,
    }


def print_table(rows: dict[str, dict[str, float]], title: str) -> None:
    """One line per comparison, as :func:`compare` returns them."""
    width = max(map(len, (title, *rows)))
    print(
        f"{title:{width}} {'direct':>10} {'mmrel':>10} {'speed':>7} {'direct':>11} {'mmrel':>11} {'memory':>7}"
    )
    for name, row in rows.items():
        print(
            f"{name:{width}} {row['direct_seconds'] * 1e3:7.1f} ms {row['seconds'] * 1e3:7.1f} ms "
            f"{row['speedup']:6.2f}x {row['direct_peak_mib']:7.1f} MiB {row['peak_mib']:7.1f} MiB "
            f"{row['memory_ratio']:6.2f}x"
        )


def save_results(name: str, device: str, results: dict[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>_<device>.json`` with what the figures were measured on."""
    kind = torch.device(device).type
    machine = torch.cuda.get_device_name() if kind == "cuda" else processor()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{kind}.json"
    environment = {
        "device": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit(),
    }
    write_text_atomically(path, json.dumps({**environment, **results}, indent=2) + "\n")
    print(f"written to {path}")
    return path


def commit() -> str:
    """The commit of this checkout, with ``-dirty`` where files differ from it."""
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
