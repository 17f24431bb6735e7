"""What a run may use: the device, its memory and the cores."""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """The computer.

    Attributes:
        gpu: name of the graphics processor; empty: there is none.
        memory: of the GPU in GiB.
        cores: that this process may use.
    """

    gpu: str
    memory: float
    cores: int

    @property
    def device(self) -> str:
        """In words."""
        return f"{self.gpu}, {self.memory:.0f} GiB" if self.gpu else f"CPU, {self.cores} cores"


def this_machine() -> Machine:
    """The computer that this runs on, as MMEngine will use it."""
    import torch

    from mmrel.utils.device import on_cpu, usable_cores

    if on_cpu() or not torch.cuda.is_available():
        return Machine("", 0.0, usable_cores())
    properties = torch.cuda.get_device_properties(0)
    return Machine(properties.name, properties.total_memory / GIB, usable_cores())
