"""SiT on the skeleton: sizes and worked examples (arXiv 2104.03602, version 3), gradients, weights, errors."""

from dataclasses import replace

import pytest
import tiny
import torch
from mmcv.cnn.bricks import DropPath
from reference import contrastive, corruption

from mmrel.models.heads import ReconstructionHead
from mmrel.models.necks import PixelDecoder
from mmrel.registry import MODELS
from mmrel.structures import NetworkTokens, TokenViews, ViewBatch

TRUE = torch.tensor(True)
# Counted on the public code's networks: width, parameters of backbone, projector and decoder.
SIZES = {
    "deit-tiny": (192, 5_524_416, 18_637_056, 258_627),
    "deit-small": (384, 21_665_664, 19_423_488, 738_435),
    "deit-base": (768, 85_798_656, 20_996_352, 2_361_603),
}
PROJECTOR = dict(
    activations=("ReLU", "GELU"),
    predictor=False,
    bias=True,
    joint_views=True,
    norm_cfg=dict(type="BN1d"),
    init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
)


def corrupted_views(batch: int = 3, seed: int = 0) -> ViewBatch:
    """A batch whose crops are blank in a third of their pixels."""
    views = tiny.view_batch(batch, num_local=0, seed=seed)
    mask = torch.rand(views.global_crops[:, 0].shape, generator=torch.Generator().manual_seed(seed))
    mask = mask < 1 / 3
    blank = views.global_crops * ~mask[:, None]
    return replace(views, corrupted_crops=blank, corruption=mask)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def token_views(patches: torch.Tensor, grid: tuple[int, int]) -> NetworkTokens:
    return NetworkTokens(TokenViews(patches[:, 0], patches, patches, grid))


@pytest.mark.parametrize("arch", SIZES)
def test_parameters__sizes(arch: str) -> None:
    width, backbone, projection, decoder = SIZES[arch]
    config = dict(
        type="mmrel.SiT",
        backbone=dict(type="mmrel.ViT", arch=arch, drop_path_rate=0.1),
        neck=dict(type="mmrel.ContrastiveProjection", in_channels=width, **PROJECTOR),
        decoder=dict(type="mmrel.PixelDecoder", in_channels=width),
        head=dict(type="mmrel.ContrastiveHead"),
    )
    with torch.device("meta"):
        model = MODELS.build(config)
    assert count(model.backbone) == backbone
    assert count(model.neck.projection) == projection
    assert count(model.neck.decoder) == decoder
    assert count(model.head) == 0
    assert count(model.teacher) == backbone + projection
    if arch == "deit-small":
        student = count(model) - count(model.teacher)
        assert student == backbone + projection + decoder == 41_827_587


def test_drop_path__student_only() -> None:
    """Rates linspace(0, 0.1, 12) in the student and 0 in the teacher, which is deterministic in training mode."""
    config = tiny.sit(drop_path_rate=0.1)
    config["backbone"]["arch"] = dict(config["backbone"]["arch"], num_layers=12)
    model = tiny.build(config)

    def rates(backbone: torch.nn.Module) -> list[float]:
        return [
            next((m.drop_prob for m in layer.modules() if isinstance(m, DropPath)), 0.0)
            for layer in backbone.layers
        ]

    assert rates(model.backbone) == pytest.approx(torch.linspace(0, 0.1, 12).tolist())
    assert rates(model.teacher.backbone) == [0.0] * 12
    crops = torch.randn(4, 3, 16, 16)
    assert model.teacher.training
    first, second = (model.teacher.backbone(crops).cls for _ in range(2))
    assert torch.equal(first, second)


def test_decoder__initialisation() -> None:
    """Linear weights of std 0.02 and biases 0; the transposed convolution keeps torch's own."""
    decoder = PixelDecoder(64, 4)
    decoder.init_weights()
    for layer in decoder.mlp[::2]:
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    bound = 1 / (3 * 4 * 4) ** 0.5
    weight = float(decoder.to_pixels.weight.detach().abs().max())
    assert 0.9 * bound < weight <= bound and decoder.to_pixels.bias.any()


def test_decoder__locality() -> None:
    """One token determines one square, and all-zero tokens give the bias of each channel."""
    torch.manual_seed(0)
    decoder = PixelDecoder(12, 4)
    decoder.init_weights()
    tokens = torch.randn(2, 6, 12)
    views = tiny.view_batch(1, num_local=0)
    before = decoder.student(token_views(tokens, (2, 3)), views)
    assert before.shape == (2, 3, 8, 12)
    changed = tokens.clone()
    changed[1, 4] += 1
    difference = decoder.student(token_views(changed, (2, 3)), views) != before
    assert difference[1, :, 4:8, 4:8].all()
    difference[1, :, 4:8, 4:8] = False
    assert not difference.any()
    zeros = decoder.student(token_views(torch.zeros(2, 6, 12), (2, 3)), views)
    assert torch.equal(zeros, decoder.to_pixels.bias.view(1, 3, 1, 1).expand_as(zeros))


def test_commit__worked_example() -> None:
    model = tiny.build(tiny.sit())
    for parameter in model.parameters():
        parameter.data.fill_(2.0)
    for parameter in model.teacher.parameters():
        parameter.data.fill_(1.0)
    model.commit(0.996, TRUE)
    for parameter in model.teacher.parameters():
        assert not parameter.requires_grad
        assert parameter.flatten().tolist() == pytest.approx([1.004] * parameter.numel(), abs=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 5.0, 0.0])
def test_loss__equals_reference(alpha: float) -> None:
    """Both terms from the networks' outputs by the plain forms; alpha weighs the reconstruction only."""
    model = tiny.build(tiny.sit(alpha))
    views = corrupted_views()
    losses = model(views, mode="loss")
    student = NetworkTokens(model.backbone(views.corrupted_crops))
    teacher = NetworkTokens(model.teacher.backbone(views.global_crops))
    queries = model.neck.projection.student(student, views).chunk(2)
    keys = model.teacher.neck.projection.teacher(teacher, views).chunk(2)
    pairs = ((queries[0], keys[1]), (queries[1], keys[0]))
    contrast = sum(contrastive.info_nce(q, k, 0.2, 0) for q, k in pairs)
    pixels = model.neck.decoder.student(student, views)
    distance = corruption.masked_l1(pixels, views.global_crops, views.corruption)
    torch.testing.assert_close(losses["loss_contrast"], contrast, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["loss_recon"], alpha * distance, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses["stat/recon_l1"], distance, rtol=1e-5, atol=1e-6)


def test_loss__each_network_runs_once_on_its_crops() -> None:
    """The student sees corrupted crops of both views in one pass, the teacher clean ones."""
    model = tiny.build(tiny.sit())
    views = corrupted_views()
    seen: dict[str, list] = {"student": [], "teacher": []}
    for name, network in (("student", model.backbone), ("teacher", model.teacher.backbone)):
        network.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0]))
    model(views, mode="loss")
    assert [len(crops) for crops in seen.values()] == [1, 1]
    assert torch.equal(seen["student"][0], views.corrupted_crops)
    assert torch.equal(seen["teacher"][0], views.global_crops)


def test_loss__gradients_by_task() -> None:
    """Every student parameter learns; the decoder from pixels, the projector from contrast, the trunk from both."""
    model = tiny.build(tiny.sit())
    losses = model(corrupted_views(), mode="loss")
    parts = {
        name: list(part.parameters())
        for name, part in (("trunk", model.backbone), *model.neck.items())
    }
    reached = {
        term: {
            name
            for name, parameters in parts.items()
            if any(
                g is not None
                for g in torch.autograd.grad(
                    losses[term], parameters, retain_graph=True, allow_unused=True
                )
            )
        }
        for term in ("loss_contrast", "loss_recon")
    }
    assert reached == {
        "loss_contrast": {"trunk", "projection"},
        "loss_recon": {"trunk", "decoder"},
    }
    (losses["loss_contrast"] + losses["loss_recon"]).backward()
    assert all(p.grad is not None for ps in parts.values() for p in ps)
    assert all(p.grad is None for p in model.teacher.parameters())


def test_state_dict__layout() -> None:
    keys = set(tiny.build(tiny.sit()).state_dict())
    assert {f"neck.decoder.mlp.{i}.weight" for i in (0, 2, 4)} <= keys
    assert {"neck.decoder.to_pixels.weight", "neck.decoder.to_pixels.bias"} <= keys
    assert {f"neck.projection.mlp.{i}.bias" for i in (0, 1, 3, 4, 6)} <= keys
    assert "neck.projection.mlp.7.weight" not in keys
    assert "teacher.neck.projection.mlp.6.weight" in keys
    assert not any(key.startswith("teacher.neck.decoder") for key in keys)


def test_sere__takes_sit_as_base() -> None:
    """The relation heads read the tokens of the corrupted crops; nothing else changes."""
    config = tiny.sere(tiny.sit())
    config["data_preprocessor"] = dict(type="mmrel.CorruptingViewPreprocessor")
    model = tiny.build(config)
    losses = model(corrupted_views(), mode="loss")
    assert {k for k in losses if "loss" in k} == {
        *("loss_contrast", "loss_recon", "loss_spatial", "loss_channel"),
    }


def test_loss__refuses_a_clean_batch_and_local_crops() -> None:
    model = tiny.build(tiny.sit())
    with pytest.raises(ValueError, match=r"corruption.*mmrel\.DrawCorruption.*Corrupting"):
        model(tiny.view_batch(num_local=0), mode="loss")
    views = replace(
        corrupted_views(), local_crops=tiny.view_batch(3, num_local=1).local_crops, num_local=1
    )
    with pytest.raises(ValueError, match="SiT uses global views only"):
        model(views, mode="loss")


def test_sit__refuses_negative_alpha() -> None:
    with pytest.raises(ValueError, match="alpha is -1"):
        tiny.build(tiny.sit(alpha=-1))


def test_reconstruction__refuses_another_patch_size() -> None:
    views = corrupted_views()
    with pytest.raises(ValueError, match=r"'decoder' predicted .*give the decoder the backbone's"):
        ReconstructionHead()(torch.zeros(6, 3, 8, 8), None, views)
