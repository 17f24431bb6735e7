"""The hook that stores convolutions with the channels innermost."""

import copy
from types import SimpleNamespace

import torch
from torch import nn

from mmrel.registry import HOOKS


def test_channels_last__same_parameters_and_results_in_another_format() -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, stride=2))
    model = nn.Sequential(*layers).double()
    plain, parameters = copy.deepcopy(model), list(model.parameters())
    HOOKS.build(dict(type="mmrel.ChannelsLastHook")).before_train(SimpleNamespace(model=model))
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    found, wanted = model(images), plain(images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-10, atol=1e-10)
