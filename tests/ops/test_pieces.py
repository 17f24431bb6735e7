"""How a batch of large maps is cut: everything once, within the limit, in equal pieces on a device."""

import pytest
import torch

from mmrel.ops import pieces as module
from mmrel.ops.pieces import pieces

CPU, DEVICE = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("device", [CPU, DEVICE], ids=str)
@pytest.mark.parametrize("count", [0, 1, 7, 128])
@pytest.mark.parametrize(("entries", "least"), [(0, 1), (2**20, 1), (2**40, 1), (2**40, 3)])
def test_pieces__cover_the_range(
    device: torch.device, count: int, entries: int, least: int
) -> None:
    covered = [i for piece in pieces(count, entries, device, least) for i in range(count)[piece]]
    assert covered == list(range(count))


@pytest.mark.parametrize(("entries", "sizes"), [(294912, [64, 64]), (2**20, [32] * 4)])
def test_pieces__equal_on_a_device(entries: int, sizes: list[int]) -> None:
    """128 images of ViT-S (two maps of 384 x 384) are two halves, not 113 and 15."""
    found = [len(range(128)[piece]) for piece in pieces(128, entries, DEVICE)]
    assert found == sizes and max(found) * entries <= module.ENTRIES_PER_DEVICE


def test_pieces__fit_the_cache_of_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    found = [len(range(20)[piece]) for piece in pieces(20, module.ENTRIES_PER_THREAD // 4, CPU)]
    assert found == [8, 8, 4]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_pieces__one_graph() -> None:
    """A compiler traces the loop without a break."""

    def function(x: torch.Tensor) -> torch.Tensor:
        return sum(x[piece].sum() for piece in pieces(len(x), 2**24, x.device))

    explained = torch._dynamo.explain(function)(torch.ones(4))
    assert explained.graph_break_count == 0 and explained.graph_count == 1
