"""The tensors that travel along the one data flow: what each field holds, and its shape.

Letters: B images per process, V global and L local views, C channels, N = rows * cols patches.
View order is view-major everywhere: view 0 of all images, then view 1 of all images, ...
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

FEATURES = ("cls", "avg", "cls+avg")
"""What may stand for an image, see :meth:`TokenViews.feature`."""


class SampleKey(NamedTuple):
    """What identifies one draw of one sample; every augmentation is a pure function of it."""

    seed: int
    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index


@dataclass(frozen=True)
class Geometry:
    """Where each view was cut from.

    Attributes:
        boxes: float32 ``(B, V+L, 5)``: ``(x, y, w, h, flip)`` in pixels of the decoded image; the
            views in order, the global ones first; flip is 0 or 1.
        num_global: V.
    """

    boxes: Tensor
    num_global: int

    def view(self, index: int) -> Tensor:
        """Boxes ``(B, 5)`` of one view."""
        return self.boxes[:, index]


@dataclass(frozen=True)
class ViewBatch:
    """What the data preprocessor gives to an algorithm.

    Attributes:
        global_crops: float ``(V*B, 3, H, W)``, normalised, view-major.
        local_crops: float ``(L*B, 3, h, w)`` or ``None`` if L = 0.
        geometry: the crops' boxes, or ``None`` if the pipeline recorded none.
        masks: bool ``(V*B, N)``, true where the student's patch is hidden, or ``None``.
        mask_indices: long ``(M,)``, the flat positions of the true entries of ``masks``. It is computed on
            the host, so that nobody on the device has to wait for a count.
        mask_weights: float ``(M,)``: 1 / max(hidden patches of that crop, 1), for each entry.
        num_global: V.
        num_local: L.
        sample_indices: positions of the B images in the data set (on the host), for error messages.
        corrupted_crops: float ``(V*B, 3, H, W)``, what the student sees in place of ``global_crops`` where a
            method corrupts pixels (SiT), or ``None``.
        corruption: bool ``(V*B, H, W)``, true where ``corrupted_crops`` was overwritten, or ``None``.
        patch_order: long ``(V*B, N)``: where a method permutes patches (RelViT), slot i of a crop shows the patch
            ``patch_order[i]`` of the grid; or ``None``.
    """

    global_crops: Tensor
    local_crops: Tensor | None
    geometry: Geometry | None
    masks: Tensor | None
    num_global: int
    num_local: int
    mask_indices: Tensor | None = None
    mask_weights: Tensor | None = None
    sample_indices: tuple[int, ...] = ()
    corrupted_crops: Tensor | None = None
    corruption: Tensor | None = None
    patch_order: Tensor | None = None

    @property
    def student_crops(self) -> Tensor:
        """The global crops ``(V*B, 3, H, W)`` as the student sees them."""
        return self.global_crops if self.corrupted_crops is None else self.corrupted_crops

    @property
    def batch_size(self) -> int:
        """B, the number of images."""
        return self.global_crops.shape[0] // self.num_global


@dataclass(frozen=True)
class TokenViews:
    """What the backbone gives for one group of n same-size crops.

    Attributes:
        cls: ``(n, C)``, class token after the final norm; ``None`` if the backbone has none.
        patches: ``(n, N, C)``, patch tokens after the final norm, row-major.
        prenorm_patches: ``(n, N, C)``, patch tokens after the last block, before the final norm; a backbone
            without final norm gives the same tokens twice.
        grid: ``(rows, cols)``, with rows * cols = N.
    """

    cls: Tensor | None
    patches: Tensor
    prenorm_patches: Tensor
    grid: tuple[int, int]
    # functools.cached_property takes a lock, which torch.compile does not trace.
    _copies: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def prenorm_maps(self) -> Tensor:
        """``prenorm_patches`` as maps ``(n, C, rows, cols)``, channels last in memory; one copy for all who read it."""
        differentiable = self.prenorm_patches.requires_grad and torch.is_grad_enabled()
        # A copy that was made without gradients must not serve somebody who wants them.
        if not self._copies or (differentiable and not self._copies[-1].requires_grad):
            tokens = self.prenorm_patches.contiguous()
            self._copies.append(tokens.transpose(1, 2).unflatten(2, self.grid))
        return self._copies[-1]

    @property
    def class_token(self) -> Tensor:
        """The class token ``(n, C)``.

        Raises:
            ValueError: the backbone has none.
        """
        if self.cls is None:
            raise ValueError(
                "a class token is needed, but the backbone has none; build it with with_cls_token=True, or "
                "use what reads patch tokens (feature='avg' for k-NN)"
            )
        return self.cls

    def feature(self, kind: str) -> Tensor:
        """One vector per crop, ``(n, C)`` or ``(n, 2C)``.

        Args:
            kind: ``"cls"``: class token; ``"avg"``: mean patch token; ``"cls+avg"``: both, one after the other; all
                after the final norm.

        Raises:
            ValueError: another kind, or there is no class token.
        """
        if kind not in FEATURES:
            raise ValueError(f"feature must be one of {FEATURES}, but is {kind!r}; choose 'cls'.")
        if kind == "avg":
            return self.patches.mean(dim=1)
        if kind == "cls":
            return self.class_token
        return torch.cat([self.class_token, self.patches.mean(dim=1)], dim=1)

    @property
    def image_feature(self) -> Tensor:
        """One vector ``(n, C)`` per crop: the class token or, without one, the mean patch token."""
        return self.feature("avg" if self.cls is None else "cls")


@dataclass(frozen=True)
class NetworkTokens:
    """The tokens of one network (student or teacher) for a whole batch.

    Attributes:
        global_crops: tokens of the V*B global crops.
        local_crops: tokens of the L*B local crops, or ``None`` if there are none or this network skips them.
        early: with the teacher's, tokens of the global crops from an early state of it, where a head needs them.
    """

    global_crops: TokenViews
    local_crops: TokenViews | None = None
    early: TokenViews | None = None


def cross_pairs(num_views: int) -> list[tuple[int, int]]:
    """All (q, v) with q != v."""
    return [(q, v) for q in range(num_views) for v in range(num_views) if q != v]


__all__ = [
    "FEATURES",
    "Geometry",
    "NetworkTokens",
    "SampleKey",
    "TokenViews",
    "ViewBatch",
    "cross_pairs",
]
