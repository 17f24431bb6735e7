"""What a checkpoint must hold before its content is used: tensors by name, and a meta of the right types."""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

EXTRA_STATE = "_extra_state"


def check_weights(content: Any, source: str) -> Any:
    """What MMEngine takes for a checkpoint, or an error that says what it is instead.

    A configuration in ``meta['config']``, which old versions of MMEngine saved, is removed: on resume, MMEngine
    executes it as Python to look for ``gpu_ids``.

    Args:
        content: of a file.
        source: what to call the file in errors.

    Raises:
        ValueError: it is no dict of tensors, or of them under ``state_dict``.
    """
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(
            f"No key of '{source}' names a tensor: it holds a {type(state).__name__}, not a dict of tensors by name. "
            "Give a checkpoint, or convert another project's file with tools/convert_checkpoint.py."
        )
    others = [
        key
        for key, value in state.items()
        if not isinstance(value, Tensor) and not key.endswith(EXTRA_STATE)
    ]
    if others and state is not content:
        raise ValueError(
            f"'{source}' holds no tensors under {', '.join(others[:4])} of its state_dict. It is no checkpoint; "
            "give another one."
        )
    meta = content.get("meta")
    if not isinstance(meta, dict | None):
        raise ValueError(f"The meta of '{source}' is a {type(meta).__name__}, not a dict.")
    if meta and meta.pop("config", None) is not None:
        print_log(
            f"{source}: the configuration in its meta was not read, since it is code", "current"
        )
    return content


def _whole(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _small(value: Any) -> bool:
    return type(value) is float and 0 < value < 1


def _size(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(_whole, value))
    return _whole(value) or pair


RULES: dict[str, tuple[Callable[[Any], bool], str]] = (
    dict.fromkeys(
        ("arch", "cfg", "method", "network", "pos_interpolation", "source"),
        (lambda value: isinstance(value, str), "a text"),
    )
    | dict.fromkeys(
        ("embed_dims", "num_layers", "num_heads", "feedforward_channels", "patch_size"),
        (_whole, "a number from 1 on"),
    )
    | dict.fromkeys(("epoch", "iter"), (_count, "a number from 0 on"))
    | dict.fromkeys(
        ("with_cls_token", "use_pos_embed", "final_norm", "layer_scale"),
        (lambda value: isinstance(value, bool), "True or False"),
    )
    | {"norm_eps": (_small, "a number above 0")}
    | {"img_size": (_size, "a number from 1 on, or two of them")}
)


def checked_meta(meta: Any, source: str = "the checkpoint") -> dict[str, Any]:
    """A checkpoint's ``meta`` as a dict, whose entries that mmrel uses have the right types.

    Raises:
        ValueError: one has not.
    """
    if not isinstance(meta, Mapping | None):
        raise ValueError(f"The meta of {source} is a {type(meta).__name__}, not a dict.")
    for key, value in (meta or {}).items():
        right, wanted = RULES.get(key, (None, "")) if isinstance(key, str) else (None, "")
        if value is not None and right is not None and not right(value):
            raise ValueError(
                f"The meta of {source} says {key}={str(value)[:60]!r}; wanted {wanted}. The file is damaged or not "
                "of mmrel; fetch it again, or export it anew."
            )
    return dict(meta or {})
