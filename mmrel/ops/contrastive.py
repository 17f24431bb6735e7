"""InfoNCE between the student's queries and the teacher's keys (MoCo v3, arXiv 2104.02057, eq. 1 and alg. 1).

MoCo v3 and SiT (arXiv 2104.03602) share it, with the factor 2 tau of MoCo v3's public code, which keeps the gradient's
size independent of the temperature. All arithmetic is in float32 or better, also under autocast. No gradient
reaches the keys.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrel.ops.distillation import check_temperature
from mmrel.ops.precision import upcast, without_autocast


def info_nce(query: Tensor, key: Tensor, temperature: float, offset: int = 0) -> Tensor:
    """One direction of the contrastive loss: each query must find its own key among all keys.

    With q and k L2-normalised rows::

        2 tau * mean over i of  - log softmax_j(<q_i, k_j> / tau)[i + offset]

    Args:
        query: ``(B, D)``, the student's features of one view.
        key: ``(M, D)``, the teacher's features of another view; the keys of the same images stand at rows
            ``offset`` to ``offset + B - 1``, all other rows are negatives.
        temperature: tau, greater than 0.
        offset: where the queries' own keys begin: B times the rank if keys of all processes were gathered.

    Returns:
        Scalar in float32, or float64 for float64 queries. With all features equal it is ``2 tau ln M``.

    Raises:
        ValueError: shapes that do not fit, an offset outside the keys, or a temperature that is not positive.
    """
    check_temperature(temperature, "temperature")
    _check(query, key, offset)
    with without_autocast(query):
        logits = _similarities(query, key.detach()) / temperature
        # The factor 2 tau keeps the gradient's size for any temperature (public code of MoCo v3).
        return 2 * temperature * F.cross_entropy(logits, _own_keys(query, offset))


@torch.no_grad()
def retrieval_accuracy(query: Tensor, key: Tensor, offset: int = 0) -> Tensor:
    """Share of the queries whose most similar key is their own, in [0, 1]; 1 / M or so means a collapse.

    Args:
        query: ``(B, D)``, as in :func:`info_nce`.
        key: ``(M, D)``, as in :func:`info_nce`.
        offset: as in :func:`info_nce`.

    Returns:
        Scalar in float32.

    Raises:
        ValueError: shapes that do not fit, or an offset outside the keys.
    """
    _check(query, key, offset)
    with without_autocast(query):
        nearest = _similarities(query, key).argmax(dim=1)
        return (nearest == _own_keys(query, offset)).float().mean()


def _similarities(query: Tensor, key: Tensor) -> Tensor:
    """Cosines ``(B, M)``."""
    unit = F.normalize(upcast(query), dim=1)
    return unit @ F.normalize(key.to(unit.dtype), dim=1).T


def _own_keys(query: Tensor, offset: int) -> Tensor:
    return torch.arange(offset, offset + len(query), device=query.device)


def _check(query: Tensor, key: Tensor, offset: int) -> None:
    if query.ndim != 2 or key.ndim != 2 or query.shape[1] != key.shape[1] or not len(query):
        raise ValueError(
            f"query has shape {tuple(query.shape)} and key {tuple(key.shape)}; they must be (B, D) and (M, D) with "
            "the same D and B of at least 1"
        )
    if len(key) < len(query):
        raise ValueError(
            f"there are {len(query)} queries, but only {len(key)} keys; give each query a key of its own"
        )
    if not 0 <= offset <= len(key) - len(query):
        raise ValueError(
            f"offset is {offset}, but the own keys of {len(query)} queries among {len(key)} begin at a row from 0 to "
            f"{len(key) - len(query)}; for keys gathered from all processes it is B times the rank"
        )
