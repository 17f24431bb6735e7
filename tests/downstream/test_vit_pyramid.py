"""ViTPyramid: strides, modes, equality with mmseg's operator, bad input."""

import pytest
import torch

from mmrel.models.backbones import DenseViT
from mmrel.models.necks import ViTPyramid

BN = dict(type="BN")


def _maps(count: int = 4, width: int = 6, size: tuple[int, int] = (8, 12)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, width, *size, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("scales", "sizes"),
    [
        ((4, 2, 1, 0.5), [(32, 48), (16, 24), (8, 12), (4, 6)]),
        ((2, 1, 0.5, 0.25), [(16, 24), (8, 12), (4, 6), (2, 3)]),
    ],
)
@pytest.mark.parametrize("mode", ["per-level", "last"])
def test_forward__sizes(scales, sizes, mode) -> None:
    outs = ViTPyramid(6, scales=scales, norm_cfg=BN, mode=mode)(_maps())
    assert isinstance(outs, tuple)
    assert [tuple(x.shape) for x in outs] == [(2, 6, *size) for size in sizes]


def test_forward__levels_read_their_own_map() -> None:
    neck, maps = ViTPyramid(6, norm_cfg=BN), _maps()
    outs = neck(maps)
    assert outs[2] is maps[2]
    assert torch.equal(outs[3], torch.nn.functional.max_pool2d(maps[3], 2))
    last = ViTPyramid(6, norm_cfg=BN, mode="last")(maps)
    assert last[2] is maps[3]


def test_forward__last_reads_the_last_map_alone() -> None:
    """Of any number of maps, and with the operators of the per-level form on copies of it."""
    neck, maps = ViTPyramid(6, norm_cfg=BN, mode="last"), [x.requires_grad_() for x in _maps()]
    levels = ViTPyramid(6, norm_cfg=BN)
    levels.load_state_dict(neck.state_dict())
    outs = neck(maps)
    for ours, theirs in zip(outs, levels([maps[-1]] * 4), strict=True):
        assert torch.equal(ours, theirs)
    for ours, alone in zip(outs, neck(maps[-1:]), strict=True):
        torch.testing.assert_close(ours, alone)
    sum(x.square().sum() for x in outs).backward()
    assert [x.grad is not None for x in maps] == [False, False, False, True]
    assert all(p.grad is not None for p in neck.parameters())


def test_forward__last_under_an_fpn_trains_on_one_map_of_the_backbone() -> None:
    """The imitation of ViTDet's simple pyramid: one map of DenseViT, four levels, mmdet's FPN on top."""
    fpn = pytest.importorskip("mmdet.models.necks").FPN
    arch = dict(embed_dims=12, num_layers=2, num_heads=3, feedforward_channels=24)
    backbone = DenseViT(arch=arch, img_size=32, out_indices=[1])
    neck = ViTPyramid(12, norm_cfg=BN, mode="last", out_channels=8)
    maps = fpn([8] * 4, 8, 5)(neck(backbone(torch.randn(2, 3, 64, 96))))
    assert [tuple(x.shape[2:]) for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    sum(x.square().mean() for x in maps).backward()
    for part in (backbone, neck):
        assert all((p.grad is not None) == p.requires_grad for p in part.parameters())


def test_forward__none_passes_through() -> None:
    neck, maps = ViTPyramid(6, mode="none"), _maps(3)
    assert not list(neck.parameters())
    with pytest.raises(ValueError, match="got 3 map"):
        neck(maps)
    maps = _maps()
    assert all(out is given for out, given in zip(neck(maps), maps, strict=True))


def test_forward__different_widths_and_projection() -> None:
    maps = [x[:, : i + 2] for i, x in enumerate(_maps())]
    outs = ViTPyramid([2, 3, 4, 5], norm_cfg=BN, out_channels=7)(maps)
    assert [x.shape[1] for x in outs] == [7] * 4


def test_forward__equals_mmseg_operator() -> None:
    feature2pyramid = pytest.importorskip("mmseg.models.necks.featurepyramid").Feature2Pyramid
    theirs = feature2pyramid(6, rescales=[4, 2, 1, 0.5], norm_cfg=BN)
    ours = ViTPyramid(6, norm_cfg=BN)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    ours.load_state_dict(
        dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)), strict=True
    )
    for mine, other in zip(ours(_maps()), theirs(_maps()), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(scales=(8, 4, 2, 1)), r"cannot rescale by 8; allowed: 4, 2, 1, 0.5, 0.25"),
        (dict(mode="first"), "'first'; allowed: per-level, last, none"),
        (dict(in_channels=[6, 6]), r"in_channels \[6, 6\] for 4 scale"),
    ],
)
def test_build__bad_input(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        ViTPyramid(**(dict(in_channels=6, norm_cfg=BN) | changes))


def test_forward__unequal_sizes() -> None:
    maps = _maps()
    maps[1] = maps[1][..., :-1]
    with pytest.raises(ValueError, match=r"sizes \[\(8, 12\), \(8, 11\)"):
        ViTPyramid(6, norm_cfg=BN)(maps)
