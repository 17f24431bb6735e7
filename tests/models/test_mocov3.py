"""MoCo v3: backbone, initialisation, loss and gradients against mmpretrain's classes; what is fixed stays fixed."""

import math

import pytest
import tiny
import torch
from mmpretrain.models.heads import MoCoV3Head
from mmpretrain.models.selfsup import MoCoV3ViT as HostViT
from mmpretrain.registry import MODELS as HOST_MODELS
from torch import Tensor, nn

from mmrel.models.backbones import MoCoV3ViT
from mmrel.models.selfsup import MoCoV3
from mmrel.registry import MODELS
from mmrel.structures import ViewBatch

ARCH = dict(embed_dims=12, num_layers=2, num_heads=2, feedforward_channels=24)
TAU = 0.2


def host_vit(arch: dict, **kwargs: object) -> HostViT:
    return HostViT(arch=arch, img_size=16, patch_size=4, stop_grad_conv1=True, **kwargs)


def host_neck(in_channels: int, num_layers: int) -> dict:
    """As in mmpretrain's recipes for MoCo v3."""
    return dict(
        type="mmpretrain.NonLinearNeck",
        in_channels=in_channels,
        hid_channels=16,
        out_channels=6,
        num_layers=num_layers,
        with_last_bn_affine=False,
        with_avg_pool=False,
        norm_cfg=dict(type="BN1d"),
    )


def host_state(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """``mlp.3.weight`` is mmpretrain's ``fc1.weight``, ``mlp.4.weight`` its ``bn1.weight``."""
    renamed = {}
    for key, value in state.items():
        if key.startswith(prefix):
            index, name = key.removeprefix(prefix).split(".")
            renamed[f"{('fc', 'bn')[int(index) % 3]}{int(index) // 3}.{name}"] = value
    return renamed


class Host(nn.Module):
    """One network of mmpretrain's MoCo v3 in float64; the student has the head, which holds the predictor."""

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.backbone = host_vit(ARCH)
        self.neck = HOST_MODELS.build(host_neck(tiny.WIDTH, 3))
        self.head = None
        if neck.predictor is not None:
            self.head = MoCoV3Head(
                predictor=host_neck(6, 2),
                loss=dict(type="mmpretrain.CrossEntropyLoss", loss_weight=2 * TAU),
                temperature=TAU,
            )
        self.double()
        self.backbone.load_state_dict(backbone.state_dict())
        self.neck.load_state_dict(host_state(neck.state_dict(), "mlp."))
        if self.head is not None:
            self.head.predictor.load_state_dict(host_state(neck.state_dict(), "predictor."))

    def forward(self, view: Tensor) -> Tensor:
        return self.neck(self.backbone(view))[0]


@pytest.fixture
def pair() -> tuple[MoCoV3, Host, Host]:
    """A model in float64 whose teacher has gone its own way, and mmpretrain's student and teacher."""
    model = tiny.build(tiny.mocov3()).double()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    student = Host(model.backbone, model.neck.projection)
    teacher = Host(model.teacher.backbone, model.teacher.neck.projection)
    return model, student, teacher


def moco_batch(batch: int = 4, **kwargs: object) -> ViewBatch:
    return tiny.view_batch(batch, num_local=0, dtype=torch.float64, **kwargs)


def test_loss__equals_mmpretrain(pair: tuple[MoCoV3, Host, Host]) -> None:
    """Same weights, same batch: loss, every gradient, and batch-norm statistics."""
    model, student, teacher = pair
    views = moco_batch()
    losses = model(views, mode="loss")
    losses["loss_contrast"].backward()
    one, two = views.global_crops.chunk(2)
    queries = student(one), student(two)
    with torch.no_grad():
        keys = teacher(one), teacher(two)
    expected = student.head.loss(queries[0], keys[1]) + student.head.loss(queries[1], keys[0])
    expected.backward()
    torch.testing.assert_close(losses["loss_contrast"], expected, rtol=1e-10, atol=1e-10)

    host = {f"backbone.{n}": p.grad for n, p in student.backbone.named_parameters()}
    parts = {"mlp": student.neck, "predictor": student.head.predictor}
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for part, neck in parts.items():
        named = host_state(gradients, f"neck.projection.{part}.")
        for name, parameter in neck.named_parameters():
            close(named[name], parameter.grad, f"{part}.{name}")
        buffers = host_state(model.state_dict(), f"neck.projection.{part}.")
        for name, buffer in neck.named_buffers():
            torch.testing.assert_close(buffers[name], buffer, msg=name)
    for name, gradient in gradients.items():
        if name.startswith("backbone."):
            close(gradient, host[name], name)
    assert len(gradients) == 38


def close(actual: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10, msg=name)


def test_loss__one_pass_of_each_backbone(pair: tuple[MoCoV3, Host, Host]) -> None:
    model, *_ = pair
    sizes = []
    for backbone in (model.backbone, model.teacher.backbone):
        backbone.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    model(moco_batch(4), mode="loss")
    assert sizes == [8, 8]


def test_step__fixed_parts_stay_fixed() -> None:
    """Positions and patch projection get no gradient; weight decay of all else does not reach them."""
    model = tiny.build(tiny.mocov3())
    names = {n for n, p in model.backbone.named_parameters() if not p.requires_grad}
    assert names == {"pos_embed", "patch_embed.projection.weight", "patch_embed.projection.bias"}
    before = {name: model.backbone.get_parameter(name).clone() for name in names}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.1)
    for seed in range(2):
        views = tiny.view_batch(4, num_local=0, seed=seed)
        model(views, mode="loss")["loss_contrast"].backward()
        optimizer.step()
        model.commit(0.5, torch.tensor(True))
    for network in (model.backbone, model.teacher.backbone):
        for name, value in before.items():
            torch.testing.assert_close(network.get_parameter(name), value, rtol=1e-6, atol=0)
    unfrozen = MODELS.build(dict(tiny.mocov3()["backbone"], frozen_patch_embed=False))
    assert unfrozen.patch_embed.projection.weight.requires_grad


def test_loss__local_crops_are_refused() -> None:
    for config in (tiny.mocov3(), tiny.sere(tiny.mocov3()), tiny.sere(tiny.mocov3(), alpha=0)):
        with pytest.raises(ValueError, match="has 3 local views, but .* uses global views only"):
            tiny.build(config)(tiny.view_batch(2), mode="loss")


def test_vit__tokens_equal_mmpretrain() -> None:
    """The same state dict, key by key, gives the same tokens."""
    torch.manual_seed(0)
    model, host = MODELS.build(tiny.mocov3()["backbone"]), host_vit(ARCH, out_type="raw")
    model.init_weights()
    host.load_state_dict(model.state_dict())
    crops = torch.randn(2, 3, 16, 16)
    tokens = model(crops)
    raw = torch.cat([tokens.cls[:, None], tokens.patches], dim=1)
    assert torch.equal(host(crops)[0], raw)


@pytest.mark.parametrize("img_size", [16, (8, 24)])
def test_vit__positions_are_sines_and_cosines_of_row_and_column(
    img_size: int | tuple[int, int],
) -> None:
    model = MODELS.build(dict(tiny.mocov3()["backbone"], img_size=img_size))
    model.init_weights()
    assert not model.pos_embed[0, 0].any()
    frequencies = [10000 ** -(i / 3) for i in range(3)]
    for index, position in enumerate(model.pos_embed[0, 1:].tolist()):
        places = divmod(index, 4 if img_size == 16 else 6)
        expected = [f(x * w) for x in places for f in (math.sin, math.cos) for w in frequencies]
        assert position == pytest.approx(expected, abs=1e-6)


def test_vit__positions_of_other_sizes_and_without_class_token() -> None:
    model = MODELS.build(dict(tiny.mocov3()["backbone"], with_cls_token=False))
    model.init_weights()
    assert model.pos_embed.shape == (1, 16, 12)
    assert model.pos_interpolation == "size"
    assert model(torch.randn(2, 3, 8, 24)).grid == (2, 6)


def test_vit__initial_distribution_is_mmpretrains() -> None:
    """Every tensor has mmpretrain's bounds and spread; query, key and value count as matrices of their own."""
    arch = dict(embed_dims=48, num_layers=1, num_heads=2, feedforward_channels=96)
    torch.manual_seed(0)
    model = MoCoV3ViT(arch=arch, img_size=16, patch_size=4)
    host = host_vit(arch)
    for network in (model, host):
        network.init_weights()
    bounds = {
        "patch_embed.projection.weight": math.sqrt(6 / (48 + 48)),
        "layers.0.attn.qkv.weight": math.sqrt(6 / (48 + 48)),
        "layers.0.attn.proj.weight": math.sqrt(6 / (48 + 48)),
        "layers.0.ffn.layers.0.0.weight": math.sqrt(6 / (48 + 96)),
        "layers.0.ffn.layers.1.weight": math.sqrt(6 / (48 + 96)),
    }
    expected = host.state_dict()
    for name, value in model.state_dict().items():
        if name in bounds:
            for tensor in (value, expected[name]):
                assert 0.99 * bounds[name] < float(tensor.abs().max()) <= bounds[name]
                assert float(tensor.std()) == pytest.approx(bounds[name] / math.sqrt(3), rel=0.05)
        elif name == "cls_token":
            assert 0 < float(value.abs().max()) < 1e-5
        else:
            assert torch.equal(value, expected[name]), name


def test_vit__small_has_12_heads() -> None:
    """MoCo v3's ViT-S has 12 heads (vits.py of its code): the weights do not show it."""
    with torch.device("meta"):
        model = MoCoV3ViT()
    assert model.num_heads == 12
    assert sum(p.numel() for p in model.parameters()) == 21_665_664


@pytest.mark.parametrize(
    ("arch", "width", "count"), [(None, 384, 84_266_752), ("deit-base", 768, 215_678_464)]
)
def test_parameter_counts(arch: str | None, width: int, count: int) -> None:
    """Both networks together, as in mmpretrain's metafile."""
    with torch.device("meta"):
        backbone = MoCoV3ViT(**(dict(arch=arch) if arch else {}))
        neck = MODELS.build(dict(type="mmrel.ContrastiveProjection", in_channels=width))
    sizes = [sum(p.numel() for p in part.parameters()) for part in (backbone, neck.mlp)]
    assert 2 * sum(sizes) + sum(p.numel() for p in neck.predictor.parameters()) == count
