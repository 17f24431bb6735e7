"""Who may import whom: top to bottom only, and in no circle."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    {"tools"},
    {"quickstart", "launch"},
    {"apis"},
    {"visualization"},
    {"checkpoints", "engine", "evaluation"},
    {"models", "datasets"},
    {"compat", "utils", "ops", "structures", "registry", "version"},
)
"""Rooms from top to bottom. A room may import from its own floor and from those below."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted([*(ROOT / "mmrel").rglob("*.py"), *(ROOT / "tools").glob("*.py")])


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(path: Path) -> Iterator[str]:
    """The modules of mmrel that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in whole]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "mmrel")


def room_of(module: str) -> str:
    first, _, rest = module.partition(".")
    return rest.split(".")[0] if first == "mmrel" else first


@pytest.mark.parametrize("module", [m for m in MODULES if m != "mmrel"])
def test_imports__go_down_only(module: str) -> None:
    own = room_of(module)
    assert own in FLOOR_OF, f"the room {own} has no floor; the design names them all"
    upward = [
        name
        for name in imported(MODULES[module])
        if name != "mmrel" and FLOOR_OF[room_of(name)] < FLOOR_OF[own]
    ]
    assert not upward, f"{module} imports {upward} from floors above its own"


def test_imports__no_circle_of_rooms_or_modules() -> None:
    """``TopologicalSorter.prepare`` raises ``CycleError`` with the circle."""
    modules = {m: {n for n in imported(path) if n != m} for m, path in MODULES.items()}
    rooms: dict[str, set[str]] = {}
    for module, names in modules.items():
        if module != "mmrel":
            own = room_of(module)
            rooms.setdefault(own, set()).update({room_of(n) for n in names if n != "mmrel"} - {own})
    TopologicalSorter(rooms).prepare()
    TopologicalSorter(modules).prepare()


def test_ops__import_torch_and_numpy_alone() -> None:
    for path in (ROOT / "mmrel" / "ops").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                first = str(node.module).split(".")
                if first[0] == "mmrel":
                    assert first[:2] == ["mmrel", "ops"], f"{path.name} imports {node.module}"
                else:
                    assert first[0] in {"torch", "numpy", *sys.stdlib_module_names}
