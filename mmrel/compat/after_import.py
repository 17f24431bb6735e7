"""Bridges that are built when a host's module is imported, and cost nothing before."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

Bridge = Callable[[ModuleType], None]


def after_import(name: str, bridge: Bridge) -> None:
    """Call ``bridge(module)`` once: as soon as the module is imported, or now if it is already.

    Args:
        name (str): The module's full name.
        bridge (Callable): Changes the module; the next call with the same one does nothing.
    """
    waiting = [finder for finder in sys.meta_path if isinstance(finder, _Watcher)]
    if any((finder.name, finder.bridge) == (name, bridge) for finder in waiting):
        return
    if name in sys.modules:
        _build(bridge, sys.modules[name])
    else:
        sys.meta_path.insert(0, _Watcher(name, bridge))


def _build(bridge: Bridge, module: ModuleType) -> None:
    built: set[Bridge] = module.__dict__.setdefault("_mmrel_bridges", set())
    if bridge not in built:
        built.add(bridge)
        bridge(module)


class _Watcher(MetaPathFinder):
    """Waits for one module, then leaves."""

    def __init__(self, name: str, bridge: Bridge) -> None:
        self.name = name
        self.bridge = bridge

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _BridgingLoader(spec.loader, self)
        return spec


class _BridgingLoader(Loader):
    """The module's own loader, and the bridge after it."""

    def __init__(self, loader: Loader, watcher: _Watcher) -> None:
        self._loader = loader
        self._watcher = watcher

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if self._watcher in sys.meta_path:
            sys.meta_path.remove(self._watcher)
        _build(self._watcher.bridge, module)

    def __getattr__(self, name: str) -> object:
        """Whatever else is asked of a loader, such as the source for a traceback."""
        return getattr(self._loader, name)
