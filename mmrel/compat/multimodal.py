"""mmpretrain's multimodal models beside transformers 5, of which they know only version 4.

mmpretrain imports them wherever transformers is installed, and transformers 5 lacks names that they take from it: then
the whole of mmpretrain cannot be imported.
"""

from importlib.metadata import version
from types import ModuleType

from packaging.version import Version

FIRST_UNKNOWN = Version("5.0.dev0")
"""From here on mmpretrain's multimodal models cannot be imported."""


def leave_out_multimodal(module: ModuleType) -> None:
    """Let mmpretrain go on without its multimodal models, as it does where transformers is not installed.

    Args:
        module (ModuleType): ``mmpretrain.utils.dependency``.
    """
    if module.WITH_MULTIMODAL and Version(version("transformers")) >= FIRST_UNKNOWN:
        module.WITH_MULTIMODAL = False
