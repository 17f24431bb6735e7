"""MMEngine's readers of YAML and pickle files, replaced by ones that build plain values alone.

MMEngine reads YAML, for configurations and annotations, with a loader that calls what the file names
(``!!python/object/apply``), and ``.pkl`` annotations with ``pickle``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from mmengine.fileio.handlers.json_handler import JsonHandler
from mmengine.fileio.handlers.pickle_handler import PickleHandler
from mmengine.fileio.handlers.registry_utils import file_handlers
from mmengine.fileio.handlers.yaml_handler import YamlHandler

from mmrel.utils.plain_pickle import BoundedReader, load_pickle
from mmrel.utils.plain_tree import MAX_DEPTH, check_plain

MAX_ANNOTATIONS = 100_000_000
"""Operations in a pickle of annotations, which is as long as a data set is large."""


class PlainYamlHandler(YamlHandler):
    """YAML without Python's tags."""

    def load_from_fileobj(self, file: Any, **_: Any) -> Any:
        """Read the file.

        Raises:
            ValueError: it is no YAML, names Python objects, or is too deep or repeats itself too often.
        """
        try:
            return check_plain(yaml.load(file, Loader=yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError) as error:
            detail = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the YAML file {_name(file)} cannot be read: {detail}. It may hold plain values alone, at most "
                f"{MAX_DEPTH} deep; correct it there."
            ) from error


class PlainJsonHandler(JsonHandler):
    """JSON whose depth is bounded."""

    def load_from_fileobj(self, file: Any) -> Any:
        """Read the file.

        Raises:
            ValueError: it is no JSON, or too deep.
        """
        try:
            return super().load_from_fileobj(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"the JSON file {_name(file)} cannot be read: {error}. Correct it, or fetch it again."
            ) from error


class PlainPickleHandler(PickleHandler):
    """Pickles of plain values and NumPy's numbers."""

    def load_from_fileobj(self, file: Any, **_: Any) -> Any:
        """Read the file.

        Raises:
            ValueError: it is damaged, or names anything else.
        """
        from mmrel.utils.plain_names import TABLE  # imports torch

        size = file.seek(0, 2)
        file.seek(0)
        try:
            return load_pickle(BoundedReader(file, size, MAX_ANNOTATIONS), TABLE)
        except Exception as error:  # whatever a damaged or crafted file provokes
            raise ValueError(
                f"the pickle {_name(file)} cannot be read as plain values ({error}); nothing in it was executed. "
                "Save it as JSON, or with lists, dicts and arrays of numbers alone."
            ) from error


HANDLERS = {
    "yaml": PlainYamlHandler(),
    "yml": PlainYamlHandler(),
    "json": PlainJsonHandler(),
    "pickle": PlainPickleHandler(),
    "pkl": PlainPickleHandler(),
}


def install_handlers() -> dict[str, Any]:
    """Let MMEngine read files with these handlers; returns the ones before."""
    before = dict(file_handlers)
    file_handlers.update(HANDLERS)
    return before


@contextmanager
def plain_files() -> Iterator[None]:
    """Let MMEngine read files with these handlers for a while."""
    before = install_handlers()
    try:
        yield
    finally:
        file_handlers.update(before)


def _name(file: Any) -> str:
    name = getattr(file, "name", "")
    return repr(Path(name).name) if isinstance(name, str) else ""
