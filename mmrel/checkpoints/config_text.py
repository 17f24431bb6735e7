"""The backbone's settings in the text of a configuration, which is parsed and never executed."""

import ast
from typing import Any

MAX_TEXT = 300_000
"""Characters; the parser's memory is some hundred times as much."""


def backbone_config(text: str) -> dict[str, Any]:
    """The first ``backbone`` in ``model`` of a config's text; empty if there is none."""
    return _find_backbone(_model(text)) or {}


def method_name(text: str) -> str | None:
    """Type of ``model`` in a config's text, without scope and in lower case: ``'sere'``."""
    kind = _model(text).get("type")
    return kind.rpartition(".")[2].lower() if isinstance(kind, str) else None


def _model(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        return {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "model":
                value = _evaluate(node.value)
                return value if isinstance(value, dict) else {}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass  # a text that is no configuration tells nothing
    return {}


def _evaluate(node: ast.expr) -> Any:
    """Literals and ``dict(...)`` calls; anything else becomes ``None``."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        return {item.arg: _evaluate(item.value) for item in node.keywords if item.arg}
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        return dict(zip(keys, map(_evaluate, node.values), strict=True))
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _find_backbone(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("backbone"), dict):
        return value["backbone"]
    found = (_find_backbone(item) for item in value.values())
    return next((item for item in found if item is not None), None)
