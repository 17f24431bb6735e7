"""What necks hand to heads: projected tokens, and the shapes of their fields.

Necks give the fields behind ``cls`` by name: torch.compile before 2.14 miscounts them beside keyword-only ones.
"""

from dataclasses import dataclass, field

from torch import Tensor

from mmrel.ops.precision import upcast


@dataclass(frozen=True)
class ClassLogits:
    """Logits of one vector per crop over prototypes.

    Attributes:
        cls: ``(n, K)``, the network's crops, view-major.
        cls_mean: float32 ``(1, K)``, the mean that the centre follows where it counts more crops than ``cls``
            holds (teacher only), or ``None``.
        mean_rows: how many crops that mean counts, or ``None``.
    """

    cls: Tensor
    cls_mean: Tensor | None = field(default=None, kw_only=True)
    mean_rows: int | None = field(default=None, kw_only=True)

    @property
    def mean(self) -> Tensor:
        """The mean logits ``(1, K)`` that the centre follows."""
        return (
            upcast(self.cls).mean(dim=0, keepdim=True) if self.cls_mean is None else self.cls_mean
        )

    @property
    def rows(self) -> int:
        """How many crops ``mean`` counts."""
        return len(self.cls) if self.mean_rows is None else self.mean_rows


@dataclass(frozen=True)
class ProjectedTokens(ClassLogits):
    """Logits over prototypes.

    Attributes:
        cls: ``(n, K)``, class tokens of the network's crops, view-major.
        patches: ``(M, K2)``, the patches at ``ViewBatch.mask_indices``, or ``None``.
        patch_mean: float32 ``(1, K2)``, mean over all patches of all crops (teacher only), or ``None``.
        patch_rows: how many patches that mean counts.
    """

    patches: Tensor | None = None
    patch_mean: Tensor | None = None
    patch_rows: int = 1


@dataclass(frozen=True)
class PatchLogits:
    """Logits ``features @ prototypes^T`` of all patches of all crops, as their factors.

    Attributes:
        features: ``(M, D)``: view-major, then image, then row-major in the crop.
        prototypes: ``(K2, D)``.
        counts: patches per crop, for each of the V + L views.
    """

    features: Tensor
    prototypes: Tensor
    counts: tuple[int, ...]


@dataclass(frozen=True)
class AggregatedTokens(ClassLogits):
    """Logits over prototypes.

    Attributes:
        cls: ``(n, K)``, image tokens: the student's of all crops, the teacher's of the global ones; view-major.
        patches: the student's patches, or what the teacher made of their neighbours.
    """

    patches: PatchLogits


@dataclass(frozen=True)
class RelationTokens:
    """Tokens whose self-relations are compared.

    Attributes:
        global_tokens: ``(V*B, N, C)``, view-major.
        global_grid: ``(rows, cols)`` of them.
        local_tokens: ``(L*B, n, C)``, view-major, or ``None``.
        local_grid: ``(rows, cols)`` of them, or ``None``.
    """

    global_tokens: Tensor
    global_grid: tuple[int, int]
    local_tokens: Tensor | None = None
    local_grid: tuple[int, int] | None = None
