"""Deterministic mode: no operation that torch knows to be nondeterministic on a GPU, in any method's step."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from steps import MODELS, mapped, whole_batch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

import mmrel
from mmrel.structures import ViewBatch

# What raises on a CUDA device under torch.use_deterministic_algorithms(True), by the operators that do it: torch's
# documentation of that function, "will throw a RuntimeError", of 2.14.
REFUSED = re.compile(
    r"""(
        (upsample|_upsample)_.*_backward | grid_sampler_[23]d_backward
      | (adaptive_|_adaptive_)avg_pool[23]d_backward | adaptive_max_pool2d_backward | avg_pool3d_backward
      | max_pool3d_with_indices_backward | fractional_max_pool[23]d_backward | max_unpool[23]d
      | (reflection|replication)_pad[123]d_backward | nll_loss2d_.* | _?ctc_loss_backward | put_? | histc | bincount
      | kthvalue | median | nanmedian | cumsum | _embedding_bag_max | index_reduce | scatter_reduce.*
      | _scaled_dot_product_cudnn_attention_backward
    )""",
    re.VERBOSE,
)


class Names(TorchDispatchMode):
    """Collects the names of all operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        # Only the maximum is nondeterministic: mode is the argument after scale_grad_by_freq.
        is_max = name.startswith("_embedding_bag") and 2 in [a for a in args if type(a) is int]
        self.names.add("_embedding_bag_max" if is_max else name)
        return func(*args, **(kwargs or {}))


SWIN = dict(
    type="mmrel.Swin",
    window_size=2,
    arch=dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2]),
)
T2T = dict(
    type="mmrel.T2TViT",
    embed_dims=12,
    num_layers=2,
    layer_cfgs=dict(num_heads=2, feedforward_channels=24),
    t2t_cfg=dict(token_dims=4),
)


def refused(config: dict, views: ViewBatch | None = None) -> set[str]:
    """What a step of a tiny model runs and a GPU refuses."""
    model = tiny.build(config)
    views = views or whole_batch(model)
    with Names() as names:
        loss, _ = model.parse_losses(model(views, mode="loss"))
        loss.backward()
    assert len(names.names) > 30
    return {name for name in names.names if REFUSED.fullmatch(name)}


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("deterministic")
def test_step__runs_nothing_that_a_gpu_refuses(name: str) -> None:
    assert refused(MODELS[name]) == set()


@pytest.mark.parametrize("backbone", [SWIN, T2T], ids=lambda backbone: backbone["type"])
@pytest.mark.usefixtures("deterministic")
def test_step__runs_nothing_that_a_gpu_refuses_in_other_backbones(backbone: dict) -> None:
    config = dict(
        type="mmrel.RelViT",
        backbone=dict(backbone, img_size=64),
        head=dict(relation=dict(type="mmrel.PatchRelationHead")),
    )
    crops = torch.randn(2, 3, 64, 64)
    views = ViewBatch(crops, None, geometry=None, masks=None, num_global=1, num_local=0)
    assert refused(config, views) == set()


def test_step__runs_such_operations_otherwise() -> None:
    """Positions of local crops are resized with torch's bicubic interpolation."""
    assert refused(MODELS["dino"]) == {"upsample_bicubic2d_backward"}


def test_kernels__add_nothing_in_an_order_that_differs() -> None:
    """What torch cannot see: the kernels of mmrel itself."""
    sources = {path: path.read_text() for path in Path(mmrel.__file__).parent.rglob("*.py")}
    assert any("triton" in text for text in sources.values())
    assert not [str(path) for path, text in sources.items() if "tl.atomic" in text]


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("deterministic")
def test_step__twice_the_same_on_a_gpu(
    name: str, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    gradients = []
    for _ in range(2):
        model = tiny.build(MODELS[name]).cuda()
        views = mapped(whole_batch(model), torch.Tensor.cuda)
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            loss, _ = model.parse_losses(model(views, mode="loss"))
        loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    if isinstance(loss, FakeTensor):
        pytest.skip("tensors without values have nothing to compare")
    assert all(torch.equal(gradients[1][n], grad) for n, grad in gradients[0].items())
