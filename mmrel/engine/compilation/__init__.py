"""``compile`` in a configuration: what it may say, whether torch can, and what is compiled."""

from mmrel.engine.compilation.model import compile_model, explain_compile_error, options_for
from mmrel.engine.compilation.options import CompileOptions, read_options

__all__ = [
    "CompileOptions",
    "compile_model",
    "explain_compile_error",
    "options_for",
    "read_options",
]
