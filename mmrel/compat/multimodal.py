"""mmpretrain beside transformers 5: without its multi-modal models, which that release cannot serve.

mmpretrain imports BLIP, OFA and others as soon as any transformers from 4.28 on is installed, and with them all of its
models. transformers 5 no longer has what they build on (``find_pruneable_heads_and_indices``), so that no model of
mmpretrain could be imported, with a ``TypeError`` that names neither. mmrel's own use of Hugging Face folders brings
such environments about.
"""

from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

FIRST_WITHOUT = 5


def leave_out_multimodal(module: ModuleType) -> None:
    """Let mmpretrain take its own way for environments without transformers; asked for, such a model says so.

    Args:
        module (ModuleType): ``mmpretrain.utils.dependency``.
    """
    try:
        major = int(version("transformers").partition(".")[0])
    except (PackageNotFoundError, ValueError):
        return
    if major >= FIRST_WITHOUT:
        vars(module)["WITH_MULTIMODAL"] = False
