"""Batch norm of all processes: several equal one with the whole batch, in forward, backward and running statistics."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import join_processes, run_processes
from torch import Tensor, distributed, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmrel.models.layers import SyncBatchNorm, build_norm
from mmrel.models.layers import sync_batch_norm as module
from mmrel.ops import batch_norm as ops
from mmrel.ops.batch_norm import Statistics, combine_moments, local_moments, normalize

CHANNELS = 5
CASES: dict[str, dict[str, Any]] = {
    "vectors": dict(size=()),
    "sequences": dict(size=(4,)),
    "maps": dict(size=(3, 2)),
    "channels-last": dict(size=(3, 2), format=torch.channels_last),
    "far-mean": dict(size=(3,), shift=1e4),
    "not-affine": dict(size=(2,), affine=False),
    "mean-of-all": dict(size=(2,), momentum=None),
    "no-statistics": dict(size=(2,), track_running_stats=False),
    "group": dict(size=(2,), group=True),
}
SHARES = {2: ((3, 3), (1, 5), (0, 4)), 4: ((2, 2, 2, 2), (3, 0, 4, 1))}
LAYER_ARGUMENTS = ("affine", "momentum", "track_running_stats")


def layer(case: dict[str, Any], kind: type = SyncBatchNorm, **kwargs: Any) -> Any:
    """A layer of one case in float64, its parameters not those of the start."""
    arguments = {name: case[name] for name in LAYER_ARGUMENTS if name in case}
    built = kind(CHANNELS, **arguments, **kwargs).double()
    rng = torch.Generator().manual_seed(1)
    for parameter in built.parameters():
        parameter.data = torch.rand(CHANNELS, generator=rng, dtype=torch.float64) + 0.5
    return built


def images(case: dict[str, Any], count: int) -> tuple[Tensor, Tensor]:
    """Inputs and gradients of the outputs."""
    rng = torch.Generator().manual_seed(2)
    shape = (count, CHANNELS, *case["size"])
    x, grad = (torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
    return x * 3 + case.get("shift", 1.5), grad


def two_steps(norm: Any, x: Tensor, grad: Tensor, case: dict[str, Any]) -> dict[str, Any]:
    """Output and gradients of two passes over the same numbers, and the state after them."""
    outputs = []
    x = x.to(memory_format=case.get("format", torch.contiguous_format)).requires_grad_()
    for _ in range(2):
        outputs.append(norm(x))
        outputs[-1].backward(grad)
    gradients = {name: parameter.grad for name, parameter in norm.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    return dict(
        outputs=torch.cat(outputs).detach(), x=x.grad, parameters=gradients, buffers=buffers
    )


def play(rank: int, size: int, folder: str) -> None:
    """All cases with all shares of the batch, in one process of several."""
    join_processes(rank, size, folder)
    group = distributed.new_group(list(range(size)))
    results = {}
    for shares in SHARES[size]:
        for name, case in CASES.items():
            parts = [part.split(shares)[rank] for part in images(case, sum(shares))]
            norm = layer(case, process_group=group if "group" in case else None)
            results[name, shares] = two_steps(norm, *parts, case)
    torch.save(results, Path(folder) / f"{rank}.pth")


def equal_one(folder: Path, size: int) -> None:
    """Play in so many processes, and compare with torch's batch norm on the whole batch."""
    run_processes(play, size, size, str(folder))
    ranks = [torch.load(folder / f"{rank}.pth") for rank in range(size)]
    for (name, shares), first in ranks[0].items():
        case = CASES[name]
        parts = [rank[name, shares] for rank in ranks]
        expected = two_steps(layer(case, nn.SyncBatchNorm), *images(case, sum(shares)), case)
        halves = [part["outputs"].chunk(2) for part in parts]
        outputs = torch.cat([half[step] for step in range(2) for half in halves])
        close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)
        close(outputs, expected["outputs"])
        close(torch.cat([part["x"] for part in parts]), expected["x"])
        for key, value in expected["parameters"].items():
            close(sum(part["parameters"][key] for part in parts), value)
        for part in parts:
            close(part["buffers"], expected["buffers"])
            assert all(
                torch.equal(part["buffers"][key], first["buffers"][key]) for key in first["buffers"]
            )


def test_two_processes__equal_one(tmp_path: Path) -> None:
    equal_one(tmp_path, 2)


@pytest.mark.slow
def test_four_processes__equal_one(tmp_path: Path) -> None:
    equal_one(tmp_path, 4)


@pytest.mark.parametrize("name", [name for name in CASES if name != "group"])
@pytest.mark.parametrize("training", [True, False])
def test_one_process__is_torchs(name: str, training: bool) -> None:
    """Bit for bit, and with torch's keys."""
    case = CASES[name]
    ours, theirs = layer(case).train(training), layer(case, nn.SyncBatchNorm).train(training)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    results = [two_steps(norm, *images(case, 4), case) for norm in (ours, theirs)]
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """This process believes to be the first of two; the result of an all-reduce is its input."""
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    distributed.destroy_process_group()


@pytest.fixture
def reduced(two_ranks: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the all-reduces."""
    sizes: list[int] = []
    reduce = distributed.all_reduce

    def counted(tensor: Tensor, **kwargs: Any) -> Any:
        sizes.append(tensor.numel())
        return reduce(tensor, **kwargs)

    monkeypatch.setattr(module.distributed, "all_reduce", counted)
    return sizes


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's CUDA kernels, written out from their meaning, for tensors of any device."""

    def axes(x: Tensor) -> list[int]:
        return [axis for axis in range(x.ndim) if axis != 1]

    def wide(values: Tensor, x: Tensor) -> Tensor:
        return values.view(-1, *[1] * (x.ndim - 2))

    def stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(
            x.float() if x.dtype.itemsize < 4 else x, axes(x), correction=0
        )
        return mean, (variance + eps).rsqrt()

    def reduce(grad: Tensor, x: Tensor, mean: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
        assert rest[1:] == (None, True, False, False)
        grad = grad.to(mean.dtype)
        return grad.sum(axes(x)), (grad * (x - wide(mean, x))).sum(axes(x)), None, None

    def elemt(grad: Tensor, x: Tensor, *values: Any) -> Tensor:
        mean, inverse, weight, first, second, counts = values
        assert counts.dtype == torch.int32
        count = counts.sum()
        slope = wide(inverse**2 * second / count, x) * (x - wide(mean, x))
        result = (grad - wide(first / count, x) - slope) * wide(inverse, x)
        return (result if weight is None else result * wide(weight, x)).to(x.dtype)

    for name, kernel in (("stats", stats), ("backward_reduce", reduce), ("backward_elemt", elemt)):
        monkeypatch.setattr(torch, f"batch_norm_{name}", kernel)
    monkeypatch.setattr(ops, "_has_kernels", lambda x: x.numel() > 0)


@pytest.mark.parametrize("name", ["vectors", "maps", "far-mean", "not-affine"])
def test_kernels__equal_plain_operations(
    name: str, two_ranks: None, request: pytest.FixtureRequest
) -> None:
    case = CASES[name]
    plain = two_steps(layer(case), *images(case, 4), case)
    request.getfixturevalue("kernels")
    fast = two_steps(layer(case), *images(case, 4), case)
    torch.testing.assert_close(fast, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["vectors", "maps", "channels-last"])
def test_kernels__on_a_gpu(name: str, dtype: torch.dtype) -> None:
    """What torch's kernels give for a batch in two parts is what plain operations give on the CPU."""
    case, results = CASES[name], []
    for device in ("cpu", "cuda"):
        form = case.get("format", torch.contiguous_format)
        x, grad = (part.to(device, dtype, memory_format=form) for part in images(case, 6))
        moments = [local_moments(part) for part in x.split([2, 4])]
        whole = combine_moments(torch.stack(moments))
        inverse = (whole.variance + 1e-5).rsqrt()
        sums = ops.gradient_sums(grad, x, whole.mean, inverse)
        slope = ops.input_gradient(grad, x, None, inverse, whole, sums)
        output = normalize(x, whole, None, None, 1e-5)
        results.append([[*whole, sums], [slope, output]])
    if isinstance(output, FakeTensor):
        pytest.skip("tensors without values have nothing to compare")
    (expected_sums, expected_maps), (sums_there, maps_there) = results
    limit = 1e-5 if dtype == torch.float32 else 1e-2
    close = partial(torch.testing.assert_close, check_device=False)
    close(sums_there, expected_sums, rtol=1e-4, atol=1e-4)
    close(maps_there, expected_maps, rtol=limit, atol=limit)


def test_collectives__one_in_each_direction(reduced: list[int]) -> None:
    norm = SyncBatchNorm(CHANNELS)
    output = norm(torch.randn(4, CHANNELS, 3).requires_grad_())
    assert reduced == [2 * (2 * CHANNELS + 1)]
    output.sum().backward()
    assert reduced == [2 * (2 * CHANNELS + 1), 2 * CHANNELS]
    norm.eval()(torch.randn(4, CHANNELS))
    assert len(reduced) == 2


@pytest.mark.parametrize("path", ["plain", "kernels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_step__reads_no_number(
    two_ranks: None, request: pytest.FixtureRequest, path: str, dtype: torch.dtype
) -> None:
    """Tensors without values: whatever asks for one, such as ``item`` or a mask, is an error."""
    if path == "kernels":
        request.getfixturevalue("kernels")
    with FakeTensorMode():
        for momentum in (0.1, None):
            norm = SyncBatchNorm(CHANNELS, momentum=momentum)
            x = torch.randn(4, CHANNELS, 3, 2, dtype=dtype).requires_grad_()
            output = norm(x)
            output.float().square().sum().backward()
            assert output.dtype == x.grad.dtype == dtype and x.grad.shape == x.shape
            assert norm.weight.grad.dtype == norm.running_var.dtype == torch.float32


def test_compiling__one_graph(two_ranks: None) -> None:
    norm = torch.compile(SyncBatchNorm(CHANNELS), backend="aot_eager", fullgraph=True)
    norm(torch.randn(4, CHANNELS).requires_grad_()).sum().backward()
    assert norm.weight.grad is not None


def test_statistics__half_precision() -> None:
    """Statistics of bfloat16 are those of its numbers in float32; the output has the input's dtype."""
    x = torch.randn(6, CHANNELS, 7).mul(0.1).add(30).bfloat16()
    statistics = combine_moments(torch.stack([local_moments(part) for part in x.split([2, 4])]))
    exact = x.double().var(dim=(0, 2), correction=0)
    torch.testing.assert_close(statistics.variance.double(), exact, rtol=1e-5, atol=0)
    assert normalize(x, statistics, None, None, 1e-5).dtype == torch.bfloat16


def test_combining__of_a_large_mean() -> None:
    """Sums of squares in float32 would have no correct digit here."""
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) + 1e4
    parts = torch.stack([local_moments(part) for part in x.split([1, 40, 23])])
    combined: Statistics = combine_moments(parts)
    torch.testing.assert_close(
        combined.variance.double(), x.double().var(0, correction=0), rtol=1e-3, atol=0
    )


def test_input__of_another_width(two_ranks: None) -> None:
    with pytest.raises(ValueError, match=r"5 channels got \(4, 3\); it wants \(n, 5, ...\)"):
        SyncBatchNorm(CHANNELS)(torch.randn(4, 3))


def test_build_norm__kinds() -> None:
    """The name of the configurations is ours; a class that is given is that class."""
    assert type(build_norm(dict(type="SyncBN"), 4)) is SyncBatchNorm
    frozen = build_norm(dict(type="mmrel.SyncBN", requires_grad=False, eps=1e-3), 4)
    assert type(frozen) is SyncBatchNorm and frozen.eps == 1e-3
    assert not frozen.weight.requires_grad
    assert type(build_norm(dict(type="BN1d"), 4)) is nn.BatchNorm1d
    assert type(build_norm(dict(type=nn.SyncBatchNorm), 4)) is nn.SyncBatchNorm
