"""Cores, threads and memory of the processes that train."""

import os

KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""For glibc, in bytes; other C libraries do not read them."""

MAX_CORES = 16


def process_environment(threads: int) -> dict[str, str]:
    """Environment variables for a training process of so many threads.

    Threads that wait for each other sleep instead of spinning: spinning threads made a training step several
    times slower wherever another process wanted the same cores. And glibc keeps the memory of freed tensors; by
    default it hands much of it back and fetches it again, page by page, in every step.
    """
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**counts, "OMP_WAIT_POLICY": "PASSIVE", **KEPT_MEMORY}


def usable_cores() -> int:
    """Processor cores that this process may use, at most 16."""
    if hasattr(os, "sched_getaffinity"):
        return min(MAX_CORES, len(os.sched_getaffinity(0)))
    return min(MAX_CORES, os.cpu_count() or 1)
