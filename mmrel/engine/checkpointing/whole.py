"""The state of a sharded run in the layout of any other run, and back.

FSDP2 leaves the names of parameters and the order of the optimizer's as they are, so that whole tensors in the place
of the parts are all that it takes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from mmrel.utils.device import unwrap_model
from mmrel.utils.sharding import is_sharded, shard_like, whole_tensor


def whole_state_of(runner: Runner, with_optimizer: bool = True) -> AbstractContextManager[None]:
    """:func:`whole_state` of a runner's model and, if it saves them too, its optimizers."""
    wrapper: Any = runner.optim_wrapper
    wrappers = wrapper.values() if hasattr(wrapper, "values") else [wrapper]
    optimizers = [each.optimizer for each in wrappers] if with_optimizer else []
    return whole_state(unwrap_model(runner), optimizers)


@contextmanager
def whole_state(model: nn.Module, optimizers: Iterable[Optimizer]) -> Iterator[None]:
    """Inside, the main process's state dicts of a sharded model and its optimizers hold whole tensors, on the CPU.

    All processes call this. A model that is not sharded is left alone.
    """
    if not any(map(is_sharded, model.parameters())):
        yield
        return
    weights = _gathered(model.state_dict())
    handles = [model.register_state_dict_post_hook(_replacing(weights))]
    for optimizer in optimizers:
        moments = _gathered(optimizer.state_dict()["state"])
        handles.append(optimizer.register_state_dict_post_hook(_with_moments(moments)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def shared_out(moments: Mapping[int, dict[str, Any]], optimizer: Optimizer) -> dict[int, Any]:
    """The whole moments of a checkpoint as the optimizer's parameters are shared out.

    Args:
        moments: by the parameters' numbers, as in ``optimizer.state_dict()["state"]``.
        optimizer: the one that is to load them.
    """
    parameters = list(chain.from_iterable(group["params"] for group in optimizer.param_groups))

    def fitted(value: Any, parameter: Tensor) -> Any:
        fits = isinstance(value, Tensor) and value.shape == parameter.shape
        return shard_like(value, parameter) if fits else value

    return {
        number: {
            key: fitted(value, parameters[number]) if number < len(parameters) else value
            for key, value in state.items()
        }
        for number, state in moments.items()
    }


def _gathered(tree: Any) -> Any:
    """The same structure with whole tensors on the main process, and nothing in the place of tensors elsewhere."""
    if isinstance(tree, Mapping):
        return {key: _gathered(value) for key, value in tree.items()}
    if not is_sharded(tree):
        return tree
    whole = whole_tensor(tree)  # one at a time: the device never holds two of them
    return whole.cpu() if is_main_process() else None


def _replacing(weights: dict[str, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: Any) -> None:
        state_dict.update(weights)

    return hook


def _with_moments(moments: dict[int, Any]) -> Callable[..., dict[str, Any]]:
    def hook(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        return {**state_dict, "state": moments}

    return hook
