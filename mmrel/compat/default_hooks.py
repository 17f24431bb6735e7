"""``default_hooks=dict(NAME=None)`` switches off any hook.

MMEngine takes None for the six names of its own and fails with a bare AssertionError for others. With None for these
a recipe, or ``--cfg-options default_hooks.knn=None``, can drop what its bases added.
"""

from types import ModuleType
from typing import Any

from mmrel.utils.hosts import STOCK_HOOKS


def drop_hooks_that_are_none(module: ModuleType) -> None:
    """Let ``Runner.register_default_hooks`` leave out, and name, what is None.

    Args:
        module (ModuleType): ``mmengine.runner.runner``.
    """
    runner_class = module.Runner
    register = runner_class.register_default_hooks

    def register_default_hooks(self: Any, hooks: dict[str, Any] | None = None) -> None:
        off = [
            name for name, hook in (hooks or {}).items() if hook is None and name not in STOCK_HOOKS
        ]
        if off:
            self.logger.info(f"Hooks switched off by default_hooks: {', '.join(off)}.")
        kept = hooks and {name: hook for name, hook in hooks.items() if name not in off}
        register(self, kept)

    runner_class.register_default_hooks = register_default_hooks
