"""What a run has to work with: the device, its memory, and the processor's cores."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmrel.utils.device import emulates, usable_cores
from mmrel.utils.errors import UsageError
from mmrel.utils.machine import processor
from mmrel.utils.text import counted

GIB = 2**30
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Machine:
    """A computer as a run sees it.

    Attributes:
        gpu: name of the GPU; ``None``: the run is on the CPU.
        num_gpus: how many there are; a run of one process takes one.
        gpu_memory: bytes of the GPU that are free; 0 on the CPU.
        bf16: whether the GPU computes in bfloat16.
        cores: that this process may use.
        memory: bytes of main memory that are free.
        cpu: name of the processor.
    """

    gpu: str | None
    num_gpus: int
    gpu_memory: int
    bf16: bool
    cores: int
    memory: int
    cpu: str = "CPU"

    @property
    def name(self) -> str:
        """For the table."""
        if self.gpu is None:
            return f"{self.cpu}, {counted(self.cores, 'core')}"
        more = f" (1 of {self.num_gpus})" if self.num_gpus > 1 else ""
        return f"{self.gpu}{more}, {self.gpu_memory / GIB:.0f} GiB free, {self.cores} cores"

    @property
    def free(self) -> int:
        """Bytes that a training step may take on the device."""
        return self.memory if self.gpu is None else self.gpu_memory


def hide_gpus(preset: str) -> None:
    """Keep a run off the GPUs for ``--preset cpu``; before torch is imported."""
    if preset == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def look_at_machine(preset: str = "auto") -> Machine:
    """This computer.

    Args:
        preset: ``'cpu'``, ``'gpu'``, or ``'auto'`` for a GPU if there is one.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    import torch

    found = torch.cuda.is_available() and preset != "cpu"
    if preset == "gpu" and not found:
        raise UsageError(
            "--preset gpu was given, but torch sees no GPU (torch.cuda.is_available() is False). Leave --preset out to "
            "train on the CPU, or install a torch that fits the GPU's driver."
        )
    return Machine(
        gpu=torch.cuda.get_device_name() if found else None,
        num_gpus=torch.cuda.device_count() if found else 0,
        gpu_memory=torch.cuda.mem_get_info()[0] if found else 0,
        bf16=found and not emulates("bf16", torch.device("cuda")),
        cores=usable_cores(),
        memory=_free_memory(),
        cpu=processor(),
    )


def _free_memory() -> int:
    """Bytes that the system has available, no more than a container may take."""
    known = [_available()]
    for path in map(Path, CGROUP_LIMITS):
        with suppress(OSError, ValueError):  # "max": no limit
            known.append(int(path.read_text()))
    return min(known)


def _available() -> int:
    info = Path("/proc/meminfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
