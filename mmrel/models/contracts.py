"""What the skeletons in ``mmrel.models.selfsup`` ask of a backbone, a neck and a head, as types.

The types are structural: a part of another project that has these members fits, without a base class of mmrel.
:func:`build_part` checks the members of every part once, when a model is built.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

Part = TypeVar("Part")
Held = TypeVar("Held", covariant=True)

BATCH_NEEDS = {
    "masks": "add mmrel.BlockMask to the pipeline",
    "geometry": "use mmrel.MultiCrop and mmrel.PackViews",
    "corruption": (
        "add mmrel.DrawCorruption to the pipeline and use mmrel.CorruptingViewPreprocessor as data_preprocessor"
    ),
}
"""What a head may need of a batch, by field of :class:`ViewBatch`, and where it comes from."""

TEACHER_NEEDS = frozenset({"teacher_local", "early_teacher"})
"""What a head may need of a model with a teacher: its tokens of the local crops, and those of an early state of it."""

KNOWN_NEEDS = frozenset(BATCH_NEEDS) | TEACHER_NEEDS
"""What a head may name in ``needs``."""


class Backbone(Protocol):
    """Gives the tokens of a group of same-size crops."""

    def __call__(self, crops: Tensor, masks: Tensor | None = None, /) -> TokenViews:
        """Tokens of ``(n, 3, H, W)``; where ``masks (n, N)`` is true, the patch is hidden from the network."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """As of any module."""


class TeachableBackbone(Backbone, Protocol):
    """A backbone of which a teacher can be made."""

    def teacher_copy(self) -> nn.Module:
        """A copy with memory of its own and without what only a student has; a :class:`Backbone` again."""


class ViTBackbone(TeachableBackbone, Protocol):
    """What methods that are made for a vision transformer read beside its tokens."""

    embed_dims: int
    num_heads: int
    final_norm: bool
    cls_token: nn.Parameter | None


class GridBackbone(Backbone, Protocol):
    """A backbone that says beforehand which tokens it gives for images of the size that it was built for."""

    @property
    def token_channels(self) -> int:
        """C, the width of its tokens."""

    @property
    def token_grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of its patch tokens."""


class Neck(Protocol):
    """Projects a network's tokens to what one or several heads read."""

    def student(self, tokens: NetworkTokens, views: ViewBatch, /) -> object:
        """The student's output; see :mod:`mmrel.models.outputs` for those of several fields."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """As of any module."""


class TeachableNeck(Neck, Protocol):
    """A neck of which a teacher can be made."""

    def teacher(self, tokens: NetworkTokens, views: ViewBatch, /) -> object:
        """The teacher's output, called on what :meth:`teacher_copy` gave."""

    def teacher_copy(self) -> nn.Module:
        """A copy with memory of its own and without what only a student has; a :class:`TeachableNeck` again."""


@runtime_checkable
class ImageTokenNeck(Protocol):
    """A neck that makes what stands for an image, where the backbone has no class token."""

    def image_token(self, tokens: TokenViews, /) -> Tensor:
        """``(n, C)``."""


class LossHead(Protocol):
    """Makes named losses of what a neck gave. :class:`mmrel.models.heads.base.Head` is its base class here.

    Attributes:
        neck: name of the neck whose outputs it reads.
        needs: what it needs beside them, of :data:`KNOWN_NEEDS`.
        terms: names of the losses that it returns.
        loss_weight: factor of these losses in the total; the skeleton applies it.
    """

    neck: str
    loss_weight: float

    @property
    def needs(self) -> frozenset[str]:
        """See the class."""

    @property
    def terms(self) -> tuple[str, ...]:
        """See the class."""

    def __call__(self, student: Any, teacher: Any, views: ViewBatch, /) -> dict[str, Tensor]:
        """Losses by ``terms``, not yet weighted, and statistics, whose names must not contain "loss".

        Args:
            student: what the student's neck gave. Its type is between neck and head.
            teacher: what the teacher's neck gave, or ``None`` where there is no teacher.
            views: the batch.
        """


@runtime_checkable
class EpochAware(Protocol):
    """A head whose settings follow the epoch."""

    def set_epoch(self, epoch: int, /) -> None:
        """An epoch begins (counted from 0)."""


@runtime_checkable
class Committing(Protocol):
    """A head with a state that a step moves."""

    def commit(self, ok: Tensor, /) -> None:
        """Move it; where ``ok`` (0-dim bool, on the device) is false, the step was skipped and nothing changes."""


@runtime_checkable
class Accumulating(Protocol):
    """A head that gathers over micro-batches what :meth:`Committing.commit` moves."""

    def settle(self) -> None:
        """Put what the last forward pass gave to the rest, before the next one. Without effect a second time."""


PartOrConfig = dict[str, Any] | nn.Module | Backbone | Neck | LossHead
"""A part of a model: a module, or the config that the registry builds one from."""


class Parts(Protocol[Held]):
    """Named parts: the side of ``ModuleDict`` that the skeletons use."""

    def __getitem__(self, name: str, /) -> Held: ...

    def __contains__(self, name: str, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def items(self) -> Iterable[tuple[str, Held]]:
        """Names and parts."""

    def values(self) -> Iterable[Held]:
        """Parts."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Of all parts."""


class Network(NamedTuple):
    """One network, to evaluate it."""

    backbone: Backbone
    neck: Parts[Neck]


def build_part(part: PartOrConfig, contract: type[Part]) -> Part:
    """A module from its config, or as it is, checked against a contract.

    Raises:
        TypeError: it lacks members of the contract.
    """
    built = part if isinstance(part, nn.Module) else MODELS.build(part)
    check_part(built, contract)
    return built  # type: ignore[return-value]  # that is what was checked


def build_parts(parts: Mapping[str, PartOrConfig], contract: type[Part]) -> dict[str, Part]:
    """:func:`build_part` for each, in their order."""
    return {name: build_part(part, contract) for name, part in parts.items()}


def check_part(part: object, contract: type) -> None:
    """Raise ``TypeError`` if a part lacks members of a contract."""
    if lacking := missing_members(part, contract):
        raise TypeError(
            f"{type(part).__name__} is to be a {contract.__name__}, but has no {', '.join(lacking)}; "
            f"{contract.__module__} says what these are. Give a part of mmrel (mmrel.ViT for a backbone), or add "
            "them to your class"
        )


def missing_members(part: object, contract: type) -> list[str]:
    """Public members of a contract that an object does not have.

    ``isinstance`` cannot tell: from Python 3.12 on it does not see what ``nn.Module`` holds apart from the instance's
    dictionary, such as parameters.
    """
    protocols = [base for base in contract.__mro__ if getattr(base, "_is_protocol", False)]
    names = {name for base in protocols for name in (*vars(base), *base.__annotations__)}
    return sorted(name for name in names if not name.startswith("_") and not hasattr(part, name))
