"""Cores, threads and memory of the processes that train."""

KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""For glibc, in bytes; other C libraries do not read them."""


def process_environment(threads: int) -> dict[str, str]:
    """Environment variables for a training process of so many threads.

    Threads that wait for each other sleep instead of spinning: spinning threads made a training step several
    times slower wherever another process wanted the same cores. And glibc keeps the memory of freed tensors; by
    default it hands much of it back and fetches it again, page by page, in every step.
    """
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**counts, "OMP_WAIT_POLICY": "PASSIVE", **KEPT_MEMORY}
