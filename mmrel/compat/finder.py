"""Where Python looks for ``mmcv._ext``: the compiled operators if there are any, else torchvision.

The finder answers for that one module name and nothing else. It is asked when something imports
``mmcv.ops``, so that ``import mmrel`` costs nothing. Three cases:

- compiled operators exist and load: they are used, mmrel stays out of the way;
- there are none (a plain ``pip install onedl-mmcv``): :mod:`mmrel.compat.mmcv_ops` is served;
- they exist but do not load: an ImportError says which file and what to do. There is no silent
  fallback, because whoever compiled them wants them; pretraining never asks for them.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

EXTENSION = "mmcv._ext"


class ExtensionFinder(MetaPathFinder):
    """Finds ``mmcv._ext``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the compiled operators, or of their stand-in."""
        if fullname != EXTENSION:
            return None
        # PathFinder, not importlib.util.find_spec: the latter would ask this finder again.
        compiled = PathFinder.find_spec(fullname, path)
        if compiled is None or compiled.loader is None:
            return ModuleSpec(fullname, StandInLoader())
        compiled.loader = CompiledLoader(compiled.loader)
        return compiled


class StandInLoader(Loader):
    """Fills ``mmcv._ext`` from :mod:`mmrel.compat.mmcv_ops`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the creation to Python."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Copy the operators, and the answer for all others, into the module."""
        from mmrel.compat import mmcv_ops

        for name in (*mmcv_ops.SERVED, "__getattr__", "__doc__"):
            setattr(module, name, getattr(mmcv_ops, name))


class CompiledLoader(Loader):
    """Loads the compiled operators; tells what to do where they do not load."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Load the shared library; torch comes first because the library links to it."""
        import torch

        try:
            return self._loader.create_module(spec)
        except ImportError as error:
            raise ImportError(_unloadable(spec.origin, torch.__version__, error)) from error

    def exec_module(self, module: ModuleType) -> None:
        """Initialise the loaded library."""
        self._loader.exec_module(module)


def install_mmcv_ops() -> None:
    """Put the finder in front of Python's own; a second call does nothing."""
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtensionFinder())


def _unloadable(origin: str | None, torch_version: str, error: ImportError) -> str:
    return (
        f"The compiled mmcv operators in {origin} do not load with torch {torch_version}: {error}. "
        "They were built for another torch; pip's wheel cache can hand out such a build. Either "
        "reinstall mmcv without them, `pip install --no-cache-dir --force-reinstall --no-deps "
        "onedl-mmcv` (NMS and RoIAlign then come from torchvision), or rebuild them for this "
        "torch, `pip install --no-cache-dir --force-reinstall --no-deps --no-build-isolation "
        "onedl-mmcv` (needs a compiler)."
    )
