"""Files of the safetensors format, by the library of that name: tensors and texts, nothing that could be executed.

mmrel's own files hold their meta as JSON among the texts, so that they tell as much as a ``.pth`` file does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from torch import Tensor

from mmrel.utils.files import save_atomically, write_atomically
from mmrel.utils.json_file import parse_json

SUFFIX = ".safetensors"
META = "mmrel"
"""Under which name a file's texts hold the meta."""
FORMAT = {"format": "pt"}
"""What transformers asks of the texts: that the tensors are torch's."""


def read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a file, by name, on the CPU; of a file that mmrel wrote with a meta, as it would be in a ``.pth``.

    Args:
        path: the file.

    Returns:
        ``{name: tensor}``, or ``{'state_dict': {name: tensor}, 'meta': {...}}``.

    Raises:
        ValueError: the file is damaged, or the package safetensors is not installed.
    """
    library = _library(path, "read")
    try:
        with library.safe_open(path, framework="pt", device="cpu") as file:
            texts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except FileNotFoundError:
        raise
    except Exception as error:  # of the library, whatever a damaged or crafted file provokes
        raise ValueError(
            f"'{path}' cannot be read as safetensors ({' '.join(str(error).split())[:300]}). It is damaged or of "
            "another format; fetch it again."
        ) from error
    if META not in texts:
        return state
    return {"state_dict": state, "meta": parse_json(texts[META], f"the meta in '{path}'")}


def write_safetensors(
    state: Mapping[str, Tensor], path: Path, meta: Mapping[str, Any] | None = None
) -> None:
    """Write tensors and, if there is one, their meta; the file appears complete or not at all.

    Raises:
        ValueError: the package safetensors is not installed.
    """
    library = _library(path, "written")
    texts = FORMAT | ({} if meta is None else {META: json.dumps(meta)})
    own = {name: value.detach().cpu().contiguous() for name, value in state.items()}

    def write(file: IO[bytes]) -> None:
        file.write(library.torch.save(own, metadata=texts))

    write_atomically(path, write)


def save_weights(state: dict[str, Tensor], path: Path, meta: dict[str, Any] | None = None) -> None:
    """Write tensors, with their meta where there is one, in the format that the name of the file asks for."""
    if path.suffix == SUFFIX:
        write_safetensors(state, path, meta)
    else:
        save_atomically(state if meta is None else {"state_dict": state, "meta": meta}, path)


def _library(path: Path, verb: str) -> ModuleType:
    try:
        import safetensors
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise ValueError(
            f"'{path}' needs the package safetensors to be {verb}. Install it with `pip install safetensors` "
            "(mmrel's extra of that name), or use a .pth or .bin file."
        ) from error
    return safetensors
