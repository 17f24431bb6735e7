"""Two gloo processes: gradients of the relation predictors lie in memory as DDP's buckets want them."""

import warnings
from pathlib import Path

import torch
from processes import join_processes, run_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmrel.models.necks.self_relation import PointwiseConv, SelfRelation
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

WARNING = "Grad strides do not match bucket view strides"


class Student(nn.Module):
    """The neck as a module whose forward is the student's."""

    def __init__(self) -> None:
        super().__init__()
        self.neck = SelfRelation(8, norm_cfg=dict(type="BN"))

    def forward(self, tokens: NetworkTokens) -> torch.Tensor:
        views = ViewBatch(torch.empty(4, 0), None, None, None, 2, 3)
        predicted = self.neck.student(tokens, views)
        return predicted.global_tokens.square().mean() + predicted.local_tokens.square().mean()


def warned(student: Student) -> bool:
    """Whether DDP complains in one of two steps; torch does it once per process."""
    ddp = DistributedDataParallel(student)
    tokens = torch.randn(4, 17, 8), torch.randn(6, 5, 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            crops = [
                TokenViews(None, t[:, 1:], t[:, 1:], (side, side))
                for t, side in zip(tokens, (4, 2), strict=True)
            ]
            ddp(NetworkTokens(*crops)).backward()
    return any(WARNING in str(warning.message) for warning in caught)


def _play(rank: int, folder: str) -> None:
    join_processes(rank, 2, folder)
    torch.set_num_threads(2)  # on one, torch convolves with another kernel
    torch.manual_seed(0)
    ours, convolving = Student(), Student()
    found = warned(ours)
    for part in (convolving.neck.predictor, convolving.neck.local_predictor):
        part[0].forward = nn.Conv2d.forward.__get__(part[0])
    torch.save((found, warned(convolving)), Path(folder) / f"{rank}.pth")


def test_relation_predictors__gradient_strides(tmp_path: Path) -> None:
    """No copy and no warning, where a convolution brings both."""
    assert isinstance(SelfRelation(8).predictor[0], PointwiseConv)
    run_processes(_play, 2, str(tmp_path))
    for rank in range(2):
        ours, convolving = torch.load(tmp_path / f"{rank}.pth")
        assert convolving and not ours
