"""What ``compile`` may say in a configuration."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from mmrel.utils.errors import UsageError
from mmrel.utils.text import listed

SCOPES = ("parts", "whole")
MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Of inductor, which takes seconds to import and be asked."""


@dataclass(frozen=True)
class CompileOptions:
    """The options of ``compile=dict(...)``. All but the first two are those of ``torch.compile``.

    Attributes:
        enabled: ``True``: compile, and where that cannot work, stop with the reason. ``"auto"``: compile on a GPU if
            torch can, otherwise go on without and tell why. ``False``: do not compile.
        scope: ``"parts"``: each transformer block, which share code, and all that follows the backbones: necks and
            heads. ``"whole"``: the loss as one graph, networks included.
        backend: name of a backend that torch knows.
        mode: of inductor: ``"default"``, ``"max-autotune-no-cudagraphs"``; with CUDA graphs, for which the scope must
            be the whole: ``"reduce-overhead"``, ``"max-autotune"``.
        dynamic: ``None`` compiles for the sizes that occur and generalises those that change; ``True`` and ``False``
            do so from the start and never.
        fullgraph: whether a part must be one graph. Only then is it known that nothing was computed when compiling
            fails, so that the part can run uncompiled.
        options: further settings of inductor.
    """

    enabled: bool | str = "auto"
    scope: str = "parts"
    backend: str = "inductor"
    mode: str | None = None
    dynamic: bool | None = None
    fullgraph: bool = True
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _choose("enabled", self.enabled, (True, False, "auto"))
        _choose("scope", self.scope, SCOPES)
        _choose("dynamic", self.dynamic, (None, True, False))
        _choose("fullgraph", self.fullgraph, (True, False))
        if self.enabled is False:
            return
        if self.backend != "inductor":  # the list imports the compiler, which takes seconds
            _choose("backend", self.backend, torch._dynamo.list_backends(exclude_tags=()))
        self._check_inductor()

    @property
    def uses_cuda_graphs(self) -> bool:
        """Whether inductor records CUDA graphs, whose results the next step overwrites."""
        return self.mode in ("reduce-overhead", "max-autotune") or bool(
            (self.options or {}).get("triton.cudagraphs")
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """Of ``torch.compile``."""
        names = ("backend", "mode", "dynamic", "fullgraph")
        options = None if self.options is None else dict(self.options)
        return {**{name: getattr(self, name) for name in names}, "options": options}

    def check_accumulation(self, micro_batches: int) -> None:
        """Raise ``UsageError`` if gradients are to be added up in memory that the next replay of a graph overwrites."""
        if self.enabled is not False and self.uses_cuda_graphs and micro_batches > 1:
            raise UsageError(
                f"compile.mode={self.mode!r} records CUDA graphs, whose gradients the next micro-batch overwrites, but "
                f"optim_wrapper.accumulative_counts is {micro_batches}. Leave one of them out."
            )

    def _check_inductor(self) -> None:
        given = {k: v for k, v in (("mode", self.mode), ("options", self.options)) if v is not None}
        if given and self.backend != "inductor":
            raise UsageError(
                f"compile has {' and '.join(given)}, which inductor alone understands, and backend={self.backend!r}. "
                "Leave one of them out."
            )
        if len(given) == 2:
            raise UsageError(
                "compile has both mode and options, of which torch.compile takes one: a mode is a set of options. "
                "torch._inductor.list_mode_options() says which."
            )
        if self.mode is not None:
            _choose("mode", self.mode, MODES)
        if self.uses_cuda_graphs and self.scope != "whole":
            raise UsageError(
                f"compile.mode={self.mode!r} records CUDA graphs, which takes the step as one graph. Set "
                "compile.scope='whole', or compile.mode='max-autotune-no-cudagraphs'."
            )
        for name in self.options or ():
            known = torch._inductor.list_options()
            if name.replace("-", "_") not in known:
                raise UsageError(
                    f"compile.options has {name!r}, which inductor does not know{_meant(name, known)}. "
                    "torch._inductor.list_options() lists what it knows."
                )


def read_options(value: Any, **defaults: Any) -> CompileOptions:
    """What a configuration says.

    Args:
        value: ``None`` (or no such key): as ``"auto"``; ``True`` or ``False``; or a dict of :class:`CompileOptions`'
            attributes, in which ``enabled`` is ``True`` unless it says otherwise.
        **defaults: of the model.

    Raises:
        UsageError: another type, an unknown option or a value that an option does not have.
    """
    if value is None:
        return CompileOptions(**defaults)
    if isinstance(value, bool):
        return CompileOptions(**{**defaults, "enabled": value})
    if not isinstance(value, Mapping):
        raise UsageError(
            f"compile is {value!r}; it must be True, False, None (on a GPU, if torch can compile) or a dict of the "
            f"options {', '.join(_names())}."
        )
    for name in value:
        if name not in _names():
            raise UsageError(
                f"compile has the option {name!r}, which does not exist{_meant(name, _names())}. Its options are "
                f"{', '.join(_names())}."
            )
    if {"backend", "options"} & set(value) or value.get("scope") == "parts":
        defaults.pop("mode", None)  # which goes together with none of them
    return CompileOptions(**{**defaults, "enabled": True, **value})


def refuse_own_options(value: Any, model: str) -> None:
    """Raise ``UsageError`` if ``compile`` of a model of other packages has an option that is mmrel's."""
    own = [name for name in ("enabled", "scope") if isinstance(value, Mapping) and name in value]
    if own:
        raise UsageError(
            f"compile has {' and '.join(own)}, which mmrel's pretraining algorithms understand, but the model is a "
            f"{model}: for it compile is MMEngine's, which hands train_step and the dict to torch.compile. Leave "
            f"{' and '.join(own)} out, or set compile=False."
        )


def _names() -> list[str]:
    return [field.name for field in fields(CompileOptions)]


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (is {close[0]!r} meant?)" if close else ""


def _choose(name: str, value: Any, allowed: Collection[Any]) -> None:
    # 1 == True, but compile=dict(dynamic=1) is no boolean.
    if not any(value == known and type(value) is type(known) for known in allowed):
        shown = listed([repr(known) for known in allowed], 30)
        raise UsageError(f"compile.{name} is {value!r}; allowed are {shown}.")
