"""What one process finds, all processes know: none of them waits for another that has given up."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import (
    all_reduce,
    broadcast_object_list,
    get_comm_device,
    get_world_size,
    is_main_process,
)

from mmrel.utils.errors import UsageError


class CheckpointError(UsageError, ValueError):
    """A checkpoint, or the settings that it meets, do not allow what was asked for."""


def decided_by_main(decide: Callable[[], Any]) -> Any:
    """The main process's result, on all of them; a ``CheckpointError`` there is raised everywhere."""
    answer: list[Any] = [None, None]
    if is_main_process():
        try:
            answer[0] = decide()
        except CheckpointError as error:
            answer[1] = str(error)
    if get_world_size() > 1:
        broadcast_object_list(answer)
    if answer[1] is not None:
        raise CheckpointError(answer[1])
    return answer[0]


def true_on_all(flag: bool) -> bool:
    """Whether the flag is true on every process."""
    if get_world_size() == 1:
        return flag
    own = torch.tensor([float(flag)], device=get_comm_device())
    all_reduce(own, op="min")
    return bool(own)


def highest_of_all(number: int) -> int:
    """The largest of the processes' numbers."""
    if get_world_size() == 1:
        return number
    own = torch.tensor([number], device=get_comm_device())
    all_reduce(own, op="max")
    return int(own)
