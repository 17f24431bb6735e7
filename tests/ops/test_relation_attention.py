"""Relation losses from attention kernels: products, losses and gradients against slow forms; when they are used.

The kernels run here in torch's CPU counterpart of flash attention, which also takes float64; the algebra is the same.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from reference import relation as reference
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from mmrel.ops import attention_kernels
from mmrel.ops.attention_kernels import forced_kernels, kernel_dtype
from mmrel.ops.relation import (
    matched_spatial_loss,
    merged_channel_loss,
    sampled_spatial_loss,
)
from mmrel.ops.relation_attention import products_both_ways, widened

DTYPES = ((torch.float64, 1e-10), (torch.float32, 1e-5))
TARGETS = [(1,), (0,), (0, 1)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_and_gradients(function: object, leaves: list[Tensor]) -> list[Tensor]:
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    loss = function(leaves)
    return [loss.detach().double(), *(g.double() for g in torch.autograd.grad(loss, leaves))]


def spatial_reference(student: Tensor, teacher: Tensor, heads: int) -> Tensor:
    """Mean over pairs, from whole maps."""
    terms = [
        reference.map_cross_entropy(
            reference.spatial_map(s, heads), reference.spatial_map(t, heads), 1.0, 0.5
        )
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(terms).mean()


def channel_reference(students: list[Tensor], teacher: Tensor) -> Tensor:
    """Mean over all (teacher view, student view) pairs."""
    terms = [
        reference.channel_relation_loss(view, teacher[q])
        for views, group in zip(students, TARGETS, strict=True)
        for view in views
        for q in group
    ]
    return torch.stack(terms).mean()


@pytest.mark.parametrize("size", [1.0, 12.0], ids=["small-logits", "large-logits"])
def test_products_both_ways__equal_whole_maps(size: float) -> None:
    """Also with log-sum-exps that differ by hundreds between the rows."""
    x, v = size * random(2, 3, 7, 5), random(2, 3, 7, 5, seed=1)
    x[:, :, 0] *= 3
    maps = x @ x.transpose(2, 3) * 0.3
    wide, values = (widened(t.transpose(1, 2), 0.3, torch.float64) for t in (x, v))
    sums, products = products_both_ways(wide, values[0], 5, 0.3)
    p = maps.softmax(dim=-1)
    torch.testing.assert_close(sums, maps.logsumexp(dim=-1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(products, (p + p.transpose(2, 3)) @ v, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_matched_spatial_loss__equals_reference(dtype: torch.dtype, tolerance: float) -> None:
    student, teacher = random(3, 9, 8).relu(), random(3, 9, 8, seed=1).relu()
    slow = loss_and_gradients(lambda x: spatial_reference(x[0], teacher, 2), [student])
    with forced_kernels(dtype):
        fast = loss_and_gradients(
            lambda x: matched_spatial_loss(x[0], teacher.to(dtype), 2), [student.to(dtype)]
        )
    for found, expected in zip(fast, slow, strict=True):
        assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("views", [(0,), (1, 2, 0, 0, 2), (0, 1, 2, 3, 0, 1, 2, 3), (3, 2, 1, 0)])
def test_sampled_spatial_loss__equals_sampling_first(views: tuple[int, ...]) -> None:
    """Views in any order, several times or never."""
    student, teacher = random(4, 2, 6, 8).relu(), random(len(views), 2, 4, 8, seed=1).relu()
    matrices = random(len(views), 2, 4, 6, seed=2).relu()

    def sampled(leaves: list[Tensor]) -> Tensor:
        return sampled_spatial_loss(leaves[0], matrices, views, teacher, 2)

    def matched(leaves: list[Tensor]) -> Tensor:
        tokens = torch.stack([m @ leaves[0][v] for m, v in zip(matrices, views, strict=True)])
        return matched_spatial_loss(tokens.flatten(0, 1), teacher.flatten(0, 1), 2)

    results = (loss_and_gradients(function, [student]) for function in (sampled, matched))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("limit", [None, 60], ids=["one-piece", "many-pieces"])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_merged_channel_loss__equals_reference(
    dtype: torch.dtype, tolerance: float, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of one and of several views, of one and of several teachers."""
    if limit:
        monkeypatch.setattr("mmrel.ops.pieces.ENTRIES_PER_THREAD", limit)
    students = [random(k, 3, n, 5, seed=k + n).relu() for k, n in ((1, 9), (1, 9), (4, 4))]
    teacher = random(2, 3, 9, 5).relu()
    slow = loss_and_gradients(lambda x: channel_reference(x, teacher), students)
    with forced_kernels(dtype):
        fast = loss_and_gradients(
            lambda x: merged_channel_loss(x, teacher.to(dtype), TARGETS),
            [s.to(dtype) for s in students],
        )
    for found, expected in zip(fast, slow, strict=True):
        assert (found - expected).norm() <= tolerance * expected.norm()


def test_relation_losses__gradcheck() -> None:
    student, teacher = random(2, 4, 6).requires_grad_(), random(2, 4, 6, seed=1)
    views = [random(1, 2, 3, 4).requires_grad_(), random(2, 2, 2, 4, seed=1).requires_grad_()]
    targets = random(2, 2, 3, 4, seed=2)
    with forced_kernels(torch.float64):
        assert torch.autograd.gradcheck(
            lambda s: 3 * matched_spatial_loss(s, teacher, 2, 0.4, 0.8), student
        )
        assert torch.autograd.gradcheck(
            lambda *s: 3 * merged_channel_loss(list(s), targets, [(1,), (0, 1)], 0.3, 0.7), views
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_relation_losses__half_precision(dtype: torch.dtype) -> None:
    """Kernels in float16, on tokens as a network makes them, of ViT-S: loss and gradients against float64."""
    student, teacher = tokens(4, 169, 384, 1).to(dtype).double(), tokens(4, 169, 384, 2)
    exact = loss_and_gradients(lambda x: matched_spatial_loss(x[0], teacher, 6), [student])
    views = [tokens(2, 36, 384, 3).to(dtype).double()[:, None]]
    targets = tokens(2, 196, 384, 4)[:, None]
    exact += loss_and_gradients(lambda x: merged_channel_loss(x, targets, [(0, 1)]), views)
    # A gradient in float16 needs a loss scale, as always.
    factor = 2.0**12
    with forced_kernels(torch.float16):
        found = loss_and_gradients(
            lambda x: factor * matched_spatial_loss(x[0], teacher.float(), 6), [student.to(dtype)]
        )
        found += loss_and_gradients(
            lambda x: factor * merged_channel_loss(x, targets.float(), [(0, 1)]),
            [v.to(dtype) for v in views],
        )
    for value, expected, limit in zip(found, exact, [4e-5, 0.003] * 2, strict=True):
        assert (value / factor - expected).norm() <= limit * expected.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_relation_losses__flash_attention_on_a_gpu(dtype: torch.dtype) -> None:
    """What autocast runs there, against float64 on the CPU, and twice the same bits."""
    student, teacher = tokens(4, 169, 384, 1).to(dtype).double(), tokens(4, 169, 384, 2)
    views = [tokens(2, n, 384, n).to(dtype).double()[:, None] for n in (36, 196)]
    targets = tokens(2, 196, 384, 4)[:, None]

    def spatial(leaves: list[Tensor]) -> Tensor:
        return 2.0**12 * matched_spatial_loss(leaves[0], teacher.to(leaves[0].device), 6)

    def channel(leaves: list[Tensor]) -> Tensor:
        targets_there = targets.float().to(leaves[0].device)
        return 2.0**12 * merged_channel_loss(leaves, targets_there, [(0, 1), (1,)])

    for losses, leaves in ((spatial, [student]), (channel, views)):
        exact = loss_and_gradients(losses, leaves)
        assert kernel_dtype(leaves[0].cuda().to(dtype), 196) is None
        with torch.autocast("cuda", dtype=dtype):
            assert kernel_dtype(leaves[0].cuda().to(dtype), 196) == torch.float16
            found, again = (
                loss_and_gradients(losses, [leaf.to("cuda", dtype) for leaf in leaves])
                for _ in range(2)
            )
        if isinstance(found[0], FakeTensor):
            continue  # there are no values to compare
        for value, repeated, expected in zip(found, again, exact, strict=True):
            assert torch.equal(value, repeated)
            assert (value.cpu() - expected).norm() <= 0.004 * expected.norm()


def tokens(batch: int, count: int, width: int, seed: int) -> Tensor:
    """Few directions with some noise, normalised per channel, then ReLU."""
    field = random(batch, 1, 16, seed=seed) + random(batch, count, 16, seed=seed + 10)
    values = field @ random(16, width, seed=99) / 4 + 0.3 * random(batch, count, width, seed=seed)
    flat = values.flatten(0, 1)
    return ((values - flat.mean(0)) / flat.std(0)).relu()


def test_matched_spatial_loss__nothing_in_common() -> None:
    """Tokens that are 0, of crops without overlap: ln(S * S), and a gradient of exactly 0."""
    student = torch.zeros(2, 169, 8).requires_grad_()
    with forced_kernels(torch.float16):
        loss = matched_spatial_loss(student, torch.zeros(2, 169, 8), 2)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(math.log(169), abs=1e-4)
    loss.backward()
    assert student.grad is not None and not student.grad.any()


def test_relation_losses__too_wide_for_the_kernels() -> None:
    """Plain arithmetic, whatever the device."""
    with forced_kernels(torch.float16):
        assert kernel_dtype(random(1), 254) and kernel_dtype(random(1), 36, 255) is None
    students, teacher = [random(1, 1, 255, 4).float()], random(1, 1, 9, 4).float()
    wide = random(1, 3, 510, seed=1).float()
    expected = merged_channel_loss(students, teacher, [(0,)]), matched_spatial_loss(wide, wide, 2)
    with forced_kernels(torch.bfloat16):
        found = merged_channel_loss(students, teacher, [(0,)]), matched_spatial_loss(wide, wide, 2)
    assert found == expected


def test_kernel_dtype__cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast on a recent GPU, and nothing else."""
    on_gpu = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    assert kernel_dtype(torch.ones(1), 64) is None and kernel_dtype(on_gpu, 64) is None
    monkeypatch.setattr("torch.is_autocast_enabled", lambda device: True)
    for major, expected in ((8, torch.float16), (7, None)):
        properties = SimpleNamespace(major=major)
        monkeypatch.setattr("torch.cuda.get_device_properties", lambda _, p=properties: p)
        assert kernel_dtype(on_gpu, 64) is expected
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(major=9))
    exact = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float64)
    assert kernel_dtype(exact, 64) is None and kernel_dtype(torch.ones(1), 64) is None
    monkeypatch.setattr(attention_kernels, "_HAS_FLASH", False)
    assert kernel_dtype(on_gpu, 64) is None
