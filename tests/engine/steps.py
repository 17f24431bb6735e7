"""A step of every method on a share of a batch, and what must be the same as in one process with the whole batch."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import tiny
import torch

from mmrel.structures import ViewBatch

MODELS = {
    "dino": tiny.dino(),
    "ibot": tiny.ibot(),
    "sere-ibot": tiny.sere(),
    "sere-dino": tiny.sere(tiny.dino()),
    "mocov3": tiny.mocov3(),
    "sere-mocov3": tiny.sere(tiny.mocov3()),
    "selfpatch": tiny.selfpatch(),
    "sere-selfpatch": tiny.sere(tiny.selfpatch()),
    "sit": tiny.sit(),
    "relvit": tiny.relvit(),
}
CONTRASTIVE = ("mocov3", "sere-mocov3", "sit")
"""A batch norm over class tokens cancels what they have in common, so that some gradients are left with few digits (all
of SiT's, whose initial features differ little): in float32 their errors count relative to the largest gradient. All are
compared in float64 too."""

SHARED_BY_CLASS_TOKENS = ("backbone.cls_token", "backbone.pos_embed")
WITHOUT_CENTER = ("mocov3", "sere-mocov3", "sit", "relvit")
SYNCHRONISED = ("mocov3", "sit", *(name for name in MODELS if name.startswith("sere")))
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}
STEPS = (
    *((name, torch.float32) for name in MODELS),
    *((name, torch.float64) for name in CONTRASTIVE),
)
TRUE = torch.tensor(True)


def synchronised(config: Any) -> Any:
    """The same config with batch norms that share their statistics among the processes."""
    if not isinstance(config, dict):
        return config
    if str(config.get("type")).startswith("BN"):
        return {**config, "type": "SyncBN"}
    return {key: synchronised(value) for key, value in config.items()}


def built(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model with synchronised batch norms, in training mode."""
    return tiny.build(synchronised(MODELS[name])).to(dtype)


def mapped(values: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A batch, or a part of it, with other tensors."""
    if isinstance(values, torch.Tensor):
        return change(values)
    if not is_dataclass(values):
        return values
    parts = {field.name: getattr(values, field.name) for field in fields(values)}
    return replace(values, **{name: mapped(part, change) for name, part in parts.items()})


def in_dtype(views: ViewBatch, dtype: torch.dtype) -> ViewBatch:
    """The batch with floating point numbers of that type."""
    return mapped(views, lambda part: part.to(dtype) if part.is_floating_point() else part)


def whole_batch(model: Any) -> ViewBatch:
    """Eight images; without local crops their global ones have blank pixels, for whoever restores them."""
    views = tiny.view_batch(8, num_local=3 if model.local_crops else 0)
    if model.local_crops:
        return views
    # The same number in each crop: a rank's mean over its blank pixels weighs them by how many it has.
    scores = torch.rand(views.global_crops[:, 0].shape, generator=torch.Generator().manual_seed(3))
    ranked = scores.flatten(1).argsort(dim=1).view_as(scores)
    return with_blanks(views, ranked < 80)


def with_blanks(views: ViewBatch, blank: torch.Tensor) -> ViewBatch:
    """The batch with corrupted crops."""
    return replace(views, corrupted_crops=views.global_crops * ~blank[:, None], corruption=blank)


def share(views: ViewBatch, rank: int, size: int) -> ViewBatch:
    """One rank's images of a batch."""
    count = views.batch_size // size
    images = slice(rank * count, (rank + 1) * count)
    part = tiny.images_of(views, images)
    if views.corruption is None:
        return part
    return with_blanks(part, views.corruption.unflatten(0, (2, -1))[:, images].flatten(0, 1))


def one_step(model: torch.nn.Module, inner: torch.nn.Module, views: ViewBatch) -> dict[str, Any]:
    """Loss, gradients, centres and running statistics of one step, the loss of the next, whose centres have moved."""
    losses = []
    for _ in range(2):
        inner.zero_grad()
        loss, _ = inner.parse_losses(model(views, mode="loss"))
        loss.backward()
        losses.append(loss.detach())
        if hasattr(inner, "commit"):
            inner.commit(0.9, TRUE)
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    centers = {n: b.clone() for n, b in inner.named_buffers() if "center" in n}
    statistics = {n: b.clone() for n, b in inner.named_buffers() if "running" in n}
    return dict(
        losses=torch.stack(losses), gradients=gradients, centers=centers, statistics=statistics
    )


@contextmanager
def heard() -> Iterator[list[str]]:
    """All warnings, also those that torch gives once per process."""
    texts: list[str] = []
    torch.set_warn_always(True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    torch.set_warn_always(False)
    texts.extend(str(warning.message) for warning in caught)


def equal_one(name: str, dtype: torch.dtype, parts: list[dict[str, Any]]) -> None:
    """The step of all processes is that of one with the whole batch."""
    model = built(name, dtype)
    expected = one_step(model, model, in_dtype(whole_batch(model), dtype))
    limit = LIMITS[dtype]
    losses = torch.stack([part["losses"] for part in parts]).mean(0)
    torch.testing.assert_close(losses, expected["losses"], rtol=limit, atol=0)
    assert bool(expected["centers"]) == (name not in WITHOUT_CENTER)
    assert bool(expected["statistics"]) == (name in SYNCHRONISED)
    assert len(expected["gradients"]) > 20
    for part in parts:
        for key, value in expected["centers"].items():
            close(part["centers"][key], value, key, limit)
        # Some means are 0 up to rounding, so that they have no scale of their own.
        torch.testing.assert_close(
            part["statistics"], expected["statistics"], rtol=limit, atol=0.1 * limit
        )
        equal_gradients(name, part["gradients"], expected["gradients"], limit)


def equal_gradients(
    name: str, gradients: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], limit: float
) -> None:
    """Difference of each gradient below ``limit`` of its norm, except for what is 0 up to rounding."""
    assert gradients.keys() == expected.keys()
    # A key's bias shifts all scores of a query alike, which softmax undoes. A norm's last bias shifts all class tokens
    # alike, and so do the biases of linear layers, which batch norm undoes.
    nothing: tuple[str, ...] = ("attn.k.bias",)
    if name in CONTRASTIVE:
        nothing += ("backbone.ln1.bias", *(f"projection.mlp.{layer}.bias" for layer in (0, 3, 6)))
    names = [key for key in expected if not key.endswith(nothing)]
    largest = max(float(expected[key].norm()) for key in names)
    for key in names:
        few_digits = name == "sit" or (name in CONTRASTIVE and key in SHARED_BY_CLASS_TOKENS)
        in_float32 = limit == LIMITS[torch.float32]
        close(
            gradients[key],
            expected[key],
            key,
            limit,
            largest if few_digits and in_float32 else 1e-6,
        )


def close(
    actual: torch.Tensor,
    expected: torch.Tensor,
    name: str,
    limit: float = 1e-5,
    least: float = 1e-6,
) -> None:
    """Difference below a share of the tensor's norm, which counts for at least ``least``."""
    scale = expected.norm().clamp(min=least)
    assert float((actual - expected).norm() / scale) < limit, name
