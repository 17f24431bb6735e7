"""Projection and loss of MoCo v3 and SiT: worked examples, the slow form, gathered keys, errors."""

import math

import pytest
import torch
from reference import contrastive as reference
from torch import Tensor

from mmrel.models.heads import ContrastiveHead
from mmrel.models.heads import contrastive as head_module
from mmrel.models.necks import ContrastiveProjection
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

SIT = dict(
    activations=("ReLU", "GELU"),
    predictor=False,
    bias=True,
    joint_views=True,
    init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
)
SMALL = dict(
    in_channels=4, hidden_channels=6, out_channels=3, norm_cfg=dict(type="BN1d"), init_cfg=None
)


def batch_of(num_global: int, batch: int) -> ViewBatch:
    return ViewBatch(torch.zeros(num_global * batch, 3, 4, 4), None, None, None, num_global, 0)


def tokens_of(cls: Tensor | None) -> NetworkTokens:
    patches = torch.zeros(8, 1, 4)
    return NetworkTokens(TokenViews(cls, patches, patches, (1, 1)))


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("joint", "expected"),
    [(True, [-1.3416394, -0.4472132, 0.4472132, 1.3416394]), (False, [-1, 1, -1, 1])],
)
def test_projection__batch_norm_over_views(joint: bool, expected: list[float]) -> None:
    """Views [0, 2] and [4, 6]; SiT normalises them together, MoCo v3 each by itself."""
    neck = ContrastiveProjection(**{**SMALL, "out_channels": 1}, joint_views=joint)
    neck.mlp, neck.predictor = neck.mlp[-1], None
    tokens = tokens_of(torch.tensor([[0.0], [2.0], [4.0], [6.0]]))
    for network in (neck.student, neck.teacher_copy().teacher):
        values = network(tokens, batch_of(2, 2)).flatten().tolist()
        assert values == pytest.approx(expected, abs=1e-6 if joint else 1e-5)


@pytest.mark.parametrize("joint", [True, False])
def test_projection__layers_and_their_order(joint: bool) -> None:
    """SiT's public code: linear, norm, activation, three times; ReLU first, then GELU; no affine at the end."""
    neck = ContrastiveProjection(**{**SMALL, **SIT, "joint_views": joint})
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter)
    cls = torch.randn(8, 4)

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()

    def apply(x: Tensor) -> Tensor:
        layer = dict(neck.mlp.named_parameters())
        for i, activation in ((0, torch.relu), (3, torch.nn.functional.gelu)):
            x = norm(x @ layer[f"{i}.weight"].T + layer[f"{i}.bias"])
            x = activation(x * layer[f"{i + 1}.weight"] + layer[f"{i + 1}.bias"])
        return norm(x @ layer["6.weight"].T + layer["6.bias"])

    expected = torch.cat([apply(x) for x in ([cls] if joint else cls.chunk(4))])
    torch.testing.assert_close(neck.student(tokens_of(cls), batch_of(4, 2)), expected)


def test_projection__predictor_is_the_students() -> None:
    neck = ContrastiveProjection(**SMALL)
    teacher = neck.teacher_copy()
    assert set(neck.state_dict()) - set(teacher.state_dict()) == {
        f"predictor.{key}" for key in neck.predictor.state_dict()
    }
    assert [name for name, _ in neck.predictor.named_parameters()] == [
        "0.weight",
        "1.weight",
        "1.bias",
        "3.weight",
    ]
    tokens, views = tokens_of(torch.randn(8, 4)), batch_of(2, 4)
    keys = teacher.teacher(tokens, views)
    expected = torch.cat([neck.predictor(view) for view in keys.chunk(2)])
    torch.testing.assert_close(neck.student(tokens, views), expected)


@pytest.mark.parametrize(
    ("width", "count"), [(192, 18_637_056), (384, 19_423_488), (768, 20_996_352)]
)
def test_projection__parameter_counts_of_sit(width: int, count: int) -> None:
    """Counted on SiT's public code (arXiv 2104.03602)."""
    with torch.device("meta"):
        neck = ContrastiveProjection(width, **SIT)
    assert sum(p.numel() for p in neck.parameters()) == count
    assert {type(m).__name__ for m in neck.mlp} == {"Linear", "SyncBatchNorm", "ReLU", "GELU"}


def test_projection__initialisation() -> None:
    """SiT: truncated normal of 0.02 and zero biases. MoCo v3: torch's own."""
    settings = {**SMALL, "in_channels": 100, "hidden_channels": 200}
    sit, moco = ContrastiveProjection(**{**settings, **SIT}), ContrastiveProjection(**settings)
    for neck in (sit, moco):
        neck.init_weights()
    assert float(sit.mlp[3].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not sit.mlp[3].bias.any()
    assert float(moco.mlp[0].weight.detach().abs().max()) == pytest.approx(0.1, rel=0.01)
    assert moco.mlp[0].bias is None


def test_projection__backbone_without_class_token() -> None:
    with pytest.raises(ValueError, match="with_cls_token=True"):
        ContrastiveProjection(**SMALL).student(tokens_of(None), batch_of(2, 4))


def test_loss__worked_example() -> None:
    """Each student view is compared with the other view of the teacher, and the two directions are added."""
    student = torch.tensor([[3, 4], [1, 0], [0, 1], [1, 1]], dtype=torch.float64)
    teacher = torch.tensor([[1, 1], [2, 0], [4, 3], [0, 2]], dtype=torch.float64)
    losses = ContrastiveHead()(student, teacher, batch_of(2, 2))
    assert float(losses["loss_contrast"]) == pytest.approx(1.2180867464, abs=1e-9)
    assert float(losses["stat/contrast_accuracy"]) == 0.5


@pytest.mark.parametrize("count", [2, 64])
def test_loss__collapsed_features(count: int) -> None:
    same = features(1, 5).expand(2 * count, 5)
    losses = ContrastiveHead()(same, same, batch_of(2, count))
    assert float(losses["loss_contrast"]) == pytest.approx(0.8 * math.log(count))
    assert float(losses["stat/contrast_accuracy"]) == pytest.approx(1 / count)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("num_views", [2, 3])
def test_loss__equals_reference(dtype: torch.dtype, tolerance: float, num_views: int) -> None:
    slow_in = features(num_views * 4, 5).requires_grad_()
    fast_in = slow_in.detach().clone().to(dtype).requires_grad_()
    teacher = features(num_views * 4, 5, seed=1)
    head = ContrastiveHead(temperature=0.3)
    fast = head(fast_in, teacher.to(dtype), batch_of(num_views, 4))["loss_contrast"]
    slow = reference.contrastive_loss(slow_in, teacher, num_views, 0.3)
    torch.testing.assert_close(fast.double(), slow, rtol=tolerance, atol=tolerance)
    fast.backward()
    slow.backward()
    torch.testing.assert_close(fast_in.grad.double(), slow_in.grad, rtol=tolerance, atol=tolerance)


def test_loss__mean_over_processes_is_the_loss_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three processes with two images each, every one with the keys of all; gradients too."""
    student, teacher = features(2, 6, 5).requires_grad_(), features(2, 6, 5, seed=1)
    shares = teacher.split(2, dim=1)
    monkeypatch.setattr(head_module, "all_gather", lambda keys: list(shares))
    losses = []
    for rank in range(3):
        monkeypatch.setattr(head_module, "get_rank", lambda rank=rank: rank)
        own = student[:, 2 * rank : 2 * rank + 2].flatten(0, 1)
        losses.append(ContrastiveHead()(own, shares[rank].flatten(0, 1), batch_of(2, 2)))
    loss = sum(part["loss_contrast"] for part in losses) / 3
    whole_in = student.detach().flatten(0, 1).requires_grad_()
    whole = reference.contrastive_loss(whole_in, teacher.flatten(0, 1), 2, 0.2)
    torch.testing.assert_close(loss, whole, rtol=1e-10, atol=1e-10)
    loss.backward()
    whole.backward()
    torch.testing.assert_close(student.grad.flatten(0, 1), whole_in.grad, rtol=1e-10, atol=1e-10)


def test_head__errors() -> None:
    with pytest.raises(ValueError, match="temperature is 0"):
        ContrastiveHead(temperature=0)
    with pytest.raises(ValueError, match=r"has 1 global view\(s\) of 4 images"):
        ContrastiveHead()(torch.ones(4, 2), torch.ones(4, 2), batch_of(1, 4))
    with pytest.raises(ValueError, match="of 4 images and neck 'projection' gave 6 features"):
        ContrastiveHead()(torch.ones(6, 2), torch.ones(8, 2), batch_of(2, 4))
