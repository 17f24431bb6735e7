"""Label propagation along the similarities of patch tokens (section 4.2.2 of DINO, arXiv 2104.14294).

A token of the present frame takes the labels of the tokens nearest to it in the first frame and in a queue of the
frames before::

    affinity = exp(<context, token> / temperature)     both of length 1; only within a square of positions
    keep each token's k largest affinities over all contexts together, and what equals the k-th; divide by their sum
    label = sum of affinity * context's label

The affinity of all tokens with all tokens is never held. A tile of tokens meets only the windows around it: about a
tenth of the products at 480p with patches of 8, and a memory that does not grow with the frame.
"""

from collections import deque
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8
"""Tokens along a tile's side: at 8, windows and tiles still lie in a core's cache, and the windows overlap little."""


class Context(NamedTuple):
    """One frame whose labels are known.

    Attributes:
        tokens: ``(h, w, C)``, of length 1.
        labels: ``(h, w, K)``, as propagated.
    """

    tokens: Tensor
    labels: Tensor


class LabelPropagation:
    """Carries the labels of a first frame on, one frame after the other.

    It keeps the first frame and ``num_last_frames`` others, so a video of any length takes the same memory.

    Args:
        features: patch features of the first frame, ``(C, h, w)``, of any length.
        labels: its labels, ``(K, h, w)``, usually one-hot.
        num_last_frames: how many of the frames before are looked at, besides the first.
        neighbourhood: largest distance of rows and of columns, in tokens, at which tokens may be compared; 0: any.
        topk: affinities that a token keeps.
        temperature: of the affinities.
        tile: tokens along the side of the squares that are computed at once; 0: the frame as a whole. It changes time
            and memory, not the result.

    Raises:
        ValueError: shapes that do not fit, features that are not finite, settings out of range.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        num_last_frames: int = 7,
        neighbourhood: int = 12,
        topk: int = 5,
        temperature: float = 0.1,
        tile: int = TILE,
    ) -> None:
        _check_shapes(features, labels)
        _check_settings(num_last_frames, neighbourhood, topk, temperature, tile)
        self.neighbourhood, self.topk, self.temperature = neighbourhood, topk, temperature
        self.tile = tile
        tokens = _unit_tokens(features)
        self.first = Context(tokens, labels.permute(1, 2, 0).to(tokens))
        self.queue: deque[Context] = deque(maxlen=num_last_frames)

    def step(self, features: Tensor) -> Tensor:
        """Soft labels ``(K, h, w)`` of the next frame, float32 or float64.

        Args:
            features: of that frame, ``(C, h, w)``.

        Raises:
            ValueError: another shape than the first frame's, or features that are not finite.
        """
        rows, cols, channels = self.first.tokens.shape
        if features.shape != (channels, rows, cols):
            raise ValueError(
                f"the frame's features are {tuple(features.shape)}; wanted those of the first frame, (C, h, w) = "
                f"{(channels, rows, cols)}"
            )
        tokens = _unit_tokens(features)
        labels = self._labels(tokens)
        # Un-normalised in both senses of the protocol: soft labels as they are, and tokens whose length is made 1
        # wherever they are compared, which once is as good as each time.
        self.queue.append(Context(tokens, labels))
        return labels.permute(2, 0, 1)

    def _labels(self, tokens: Tensor) -> Tensor:
        """Soft labels ``(h, w, K)``, tile by tile."""
        rows, cols = tokens.shape[:2]
        side = self.tile or max(rows, cols)
        strips = []
        for top in range(0, rows, side):
            tiles = [
                self._tile(tokens, _span(top, side, rows), _span(left, side, cols))
                for left in range(0, cols, side)
            ]
            strips.append(torch.cat(tiles, dim=1))
        return torch.cat(strips)

    def _tile(self, tokens: Tensor, rows: range, cols: range) -> Tensor:
        """Soft labels ``(rows, cols, K)`` of a rectangle of tokens."""
        near_rows, near_cols = (
            _widened(span, self.neighbourhood, size)
            for span, size in zip((rows, cols), tokens.shape[:2], strict=True)
        )
        contexts = [
            (known[_cut(near_rows, near_cols)].flatten(0, 1) for known in context)
            for context in (self.first, *self.queue)
        ]
        keys, labels = (torch.cat(parts) for parts in zip(*contexts, strict=True))
        similarity = tokens[_cut(rows, cols)].flatten(0, 1) @ keys.T
        if self.neighbourhood:
            far = self._far(rows, near_rows, cols, near_cols, keys.device)
            by_frame = similarity.unflatten(1, (-1, far.shape[1]))
            similarity = by_frame.masked_fill(far[:, None], -torch.inf).flatten(1)
        found = _weighted_nearest(similarity, labels, self.topk, self.temperature)
        return found.unflatten(0, (len(rows), len(cols)))

    def _far(
        self, rows: range, near_rows: range, cols: range, near_cols: range, device: torch.device
    ) -> Tensor:
        """Which tokens may not be compared, bool ``(tokens, tokens near)``, by Chebyshev's distance."""
        down, across = (
            (_positions(own, device)[:, None] - _positions(near, device)).abs() > self.neighbourhood
            for own, near in ((rows, near_rows), (cols, near_cols))
        )
        return (down[:, None, :, None] | across[None, :, None, :]).flatten(2).flatten(0, 1)


def propagate(
    features: Tensor,
    first_labels: Tensor,
    num_last_frames: int = 7,
    neighbourhood: int = 12,
    topk: int = 5,
    temperature: float = 0.1,
) -> Tensor:
    """Propagate the labels of the first frame through a video, see :class:`LabelPropagation`.

    Args:
        features: patch features of T frames, ``(T, C, h, w)``, of any length.
        first_labels: labels of the first frame, ``(K, h, w)``, usually one-hot.
        num_last_frames: how many of the frames before are looked at, besides the first.
        neighbourhood: largest distance of rows and of columns, in tokens; 0: any.
        topk: affinities that a token keeps; more where others equal the last of them.
        temperature: of the affinities.

    Returns:
        Soft labels ``(T, K, h, w)``, float64 for float64 features, else float32; frame 0 as given.

    Raises:
        ValueError: shapes that do not fit, features that are not finite, settings out of range.
    """
    if features.ndim != 4 or not len(features):
        raise ValueError(f"features are {tuple(features.shape)}; wanted (T, C, h, w), T at least 1")
    propagation = LabelPropagation(
        features[0], first_labels, num_last_frames, neighbourhood, topk, temperature
    )
    first = propagation.first.labels.permute(2, 0, 1)
    return torch.stack([first, *map(propagation.step, features[1:])])


def _weighted_nearest(similarity: Tensor, labels: Tensor, topk: int, temperature: float) -> Tensor:
    """Labels of the most similar contexts, weighted.

    Args:
        similarity: ``(tokens, contexts)``.
        labels: ``(contexts, K)``.
        topk: contexts that count, and others that are as similar as the last of these.
        temperature: of the weights.

    Returns:
        ``(tokens, K)``.
    """
    best = similarity.topk(min(topk, similarity.shape[1])).values
    token, context = (similarity >= best[:, -1:]).nonzero(as_tuple=True)
    # The largest exponent becomes 0: the quotient is the same, and no temperature overflows.
    weights = ((similarity[token, context] - best[token, 0]) / temperature).exp()[:, None]
    sums = torch.zeros(len(similarity), 1 + labels.shape[1]).to(labels)
    sums = sums.index_add(0, token, torch.cat([weights, weights * labels[context]], dim=1))
    return sums[:, 1:] / sums[:, :1]


def _unit_tokens(features: Tensor) -> Tensor:
    """Tokens of length 1, ``(h, w, C)``, in float32 at least."""
    tokens = features.permute(1, 2, 0)
    tokens = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    if not tokens.isfinite().all():
        raise ValueError(
            f"the features {tuple(features.shape)} of a frame are not all finite; look at the checkpoint, which may "
            "have diverged, or compute in float32"
        )
    return F.normalize(tokens, dim=-1).contiguous()


def _span(start: int, length: int, size: int) -> range:
    return range(start, min(start + length, size))


def _positions(span: range, device: torch.device) -> Tensor:
    return torch.arange(span.start, span.stop, device=device)


def _widened(span: range, by: int, size: int) -> range:
    """The span and what lies at most so far from it; by 0: everything."""
    return range(max(span.start - by, 0), min(span.stop + by, size)) if by else range(size)


def _cut(rows: range, cols: range) -> tuple[slice, slice]:
    return slice(rows.start, rows.stop), slice(cols.start, cols.stop)


def _check_shapes(features: Tensor, labels: Tensor) -> None:
    if features.ndim != 3 or not features.is_floating_point():
        raise ValueError(
            f"a frame's features are {tuple(features.shape)} of {features.dtype}; wanted (C, h, w) of a float type"
        )
    if labels.ndim != 3 or not len(labels) or labels.shape[1:] != features.shape[1:]:
        raise ValueError(
            f"first_labels are {tuple(labels.shape)}; wanted (K, h, w), K at least 1, with the features' (h, w) = "
            f"{tuple(features.shape[1:])}"
        )


def _check_settings(
    num_last_frames: int, neighbourhood: int, topk: int, temperature: float, tile: int
) -> None:
    least = {
        "num_last_frames": (num_last_frames, 0),
        "neighbourhood": (neighbourhood, 0),
        "topk": (topk, 1),
        "tile": (tile, 0),
    }
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise ValueError(f"{name} is {value}; give {minimum} or more")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; give a number above 0, usually 0.1")
