"""Weights for patches of another size and images of other channels: the same tokens where they can be, with a word."""

from pathlib import Path
from typing import Any

import pytest
import torch
from beginnings import begin, dino
from checkpoints import official
from checkpoints.official import HEADS, save
from mmengine.logging import MMLogger
from torch import Tensor
from torch.nn import functional as F

from mmrel.apis.backbone import get_backbone
from mmrel.checkpoints import convert, load_backbone
from mmrel.models.backbones import DenseViT

ARCH = dict(embed_dims=48, num_layers=2, num_heads=HEADS, feedforward_channels=96)
RESIZED = "patch kernel was resized from 14 x 14 to 16 x 16 pixels by the pseudo-inverse resize"


def enlarged(images: Tensor) -> Tensor:
    """Every patch of 14 pixels by itself to 16."""
    n, channels, height, width = images.shape
    patches = F.unfold(images, 14, stride=14).mT.reshape(-1, channels, 14, 14)
    patches = F.interpolate(patches, size=(16, 16), mode="bilinear").reshape(n, -1, channels * 256)
    return F.fold(patches.mT, (height // 14 * 16, width // 14 * 16), 16, stride=16)


def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged from now on."""
    found: list[str] = []
    logger = MMLogger.get_instance("inputs", log_level="INFO")
    monkeypatch.setattr(logger, "handle", lambda record: found.append(record.getMessage()))
    return found


@torch.no_grad()
def test_get_backbone__patch_16_of_dinov2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(official.dinov2().content, tmp_path / "dinov2.pth")
    log = lines(monkeypatch)
    own = get_backbone(path, num_heads=HEADS)
    assert not any("patch kernel" in line for line in log)
    found = get_backbone(path, num_heads=HEADS, patch_size=16)
    assert any(RESIZED in line for line in log)
    assert (found.patch_size, found.token_grid) == (16, (5, 5))
    images = torch.randn(2, 3, 98, 70)
    torch.testing.assert_close(
        found(enlarged(images)).patches, own(images).patches, rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_init_cfg__patch_14_in_a_recipe_of_16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Mask R-CNN and UperNet take it, of a file that was converted with or without ``--patch-size``."""
    source, networks = save(official.dinov2().content, tmp_path / "dinov2.pth"), []
    log = lines(monkeypatch)
    for patch in (None, 16):
        output = tmp_path / f"{patch}.pth"
        found = convert(source, output, num_heads=HEADS, patch_size=patch)
        assert found.meta["img_size"] == (70 if patch is None else 80)
        init_cfg = dict(type="Pretrained", checkpoint=str(output), prefix="backbone.")
        networks.append(
            DenseViT(
                ARCH, out_indices=(1,), img_size=224, layer_scale_init_value=1.0, init_cfg=init_cfg
            )
        )
        del log[:]
        networks[-1].init_weights()
        assert any(RESIZED in line for line in log) == (patch is None)
        assert any("resized from 5 x 5 to 14 x 14 patches by the rule 'dino'" in x for x in log)
        networks[-1].eval()
    images = torch.randn(1, 3, 224, 160)
    first, second = (network(images)[0] for network in networks)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(("patch", "channels"), [(16, 3), (14, 1), (8, 5)])
def test_load_from__fits_the_kernel_and_says_so(patch: int, channels: int, tmp_path: Path) -> None:
    network = dino(patch_size=patch, in_channels=channels, layer_scale_init_value=1.0)
    case = official.dinov2()
    found = begin(network, case.content, tmp_path)
    state, _ = load_backbone(
        save(case.content, tmp_path / "x.pth"),
        num_heads=HEADS,
        patch_size=patch,
        in_channels=channels,
    )
    name = "patch_embed.projection.weight"
    for kernel in (network.backbone, network.teacher.backbone):
        assert torch.equal(kernel.state_dict()[name], state[name])
    assert ("pseudo-inverse" in found.report) == (patch != 14)
    words = {1: "was summed for images of 1", 5: "repeated and scaled by 3/5 for images of 5"}
    assert words.get(channels, "Positions") in found.report
    resumed = {f"backbone.{k}": v for k, v in network.backbone.state_dict().items()}
    network.backbone.load_state_dict({k.removeprefix("backbone."): v for k, v in resumed.items()})


def test_resumed_state__of_another_patch_size_is_refused(tmp_path: Path) -> None:
    """Only what begins with pretrained weights changes them."""
    network, other = dino(), dino(patch_size=8)
    with pytest.raises(RuntimeError, match="size mismatch for patch_embed"):
        network.backbone.load_state_dict(other.backbone.state_dict())


@torch.no_grad()
def test_channels__grey_equals_rgb_and_the_meta_follows(tmp_path: Path) -> None:
    path = save(official.dinov2().content, tmp_path / "dinov2.pth")
    own, grey = (get_backbone(path, num_heads=HEADS, in_channels=n) for n in (None, 1))
    images = torch.randn(2, 1, 70, 70)
    torch.testing.assert_close(
        grey(images).cls, own(images.expand(-1, 3, -1, -1)).cls, rtol=1e-5, atol=1e-5
    )
    mean = sum(own.normalization.mean) / 3
    assert grey.normalization.mean == pytest.approx((mean,))
    convert(path, tmp_path / "five.pth", num_heads=HEADS, in_channels=5)
    five = get_backbone(tmp_path / "five.pth")
    order = [0, 1, 2, 0, 1]
    assert five.in_channels == 5
    assert five.normalization.mean == tuple(own.normalization.mean[k] for k in order)
    with pytest.raises(ValueError, match="have 3 channel.* takes 5; set the backbone's in_chann"):
        five(torch.zeros(1, 3, 70, 70))
    with pytest.raises(ValueError, match="trained on images of 5 channels.*in_channels=5"):
        get_backbone(tmp_path / "five.pth", in_channels=3)
    with pytest.raises(ValueError, match="patch_size is 0"):
        get_backbone(path, num_heads=HEADS, patch_size=0)


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "DINOv3": ({"storage_tokens": (1, 4, 48), "rope_embed.periods": (16,)}, "DINOv3, with rotary"),
    "EVA-02": ({"rope.freqs_cos": (196, 64), "blocks.0.mlp.fc1_g.weight": (96, 48)}, "EVA-02"),
    "EVA": ({"blocks.0.attn.q_bias": (48,), "blocks.0.attn.v_bias": (48,)}, "BEiT or EVA"),
    "BEiT": ({"blocks.0.attn.relative_position_bias_table": (732, 3)}, "BEiT, with relative"),
    "SAM": ({"blocks.0.attn.rel_pos_h": (27, 16)}, "SAM's image encoder"),
    "Swin": ({"layers.0.blocks.0.attn.relative_position_bias_table": (169, 3)}, "a Swin"),
    "CaiT": ({"blocks_token_only.0.norm1.weight": (48,)}, "XCiT or CaiT"),
}
ALONE: dict[str, tuple[tuple[str, ...], str]] = {
    "SAM": (
        ("image_encoder.patch_embed.proj.bias", "image_encoder.blocks.0.attn.rel_pos_w"),
        "SAM",
    ),
    "CLIP": (("visual.conv1.weight", "visual.transformer.resblocks.0.ln_1.bias"), "CLIP or SigLIP"),
    "Swin of transformers": (
        ("swin.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table",),
        "a Swin",
    ),
    "ConvNeXt": (("downsample_layers.0.0.bias", "stages.0.0.dwconv.weight"), "a ConvNeXt"),
    "DINOv3 of transformers": (
        ("embeddings.cls_token", "layer.0.attention.q_proj.weight"),
        "DINOv3, with rotary",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign__networks_are_called_by_name(name: str, tmp_path: Path) -> None:
    extra, message = FOREIGN[name]
    state = official.vit() | {key: torch.zeros(shape) for key, shape in extra.items()}
    with pytest.raises(ValueError, match=f"a.pth' is {message}.*its key"):
        load_backbone(save(state, tmp_path / "a.pth"), num_heads=HEADS)


@pytest.mark.parametrize("name", ALONE)
def test_foreign__without_a_single_known_key(name: str, tmp_path: Path) -> None:
    keys, message = ALONE[name]
    path = save(dict.fromkeys(keys, torch.zeros(2)), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=f"a.pth' is {message}.*docs/checkpoints.md"):
        load_backbone(path, num_heads=HEADS)


def test_foreign__dinov3_of_timm(tmp_path: Path) -> None:
    state = {k: v for k, v in official.vit().items() if k != "pos_embed"}
    path = save(state | {"reg_token": torch.zeros(1, 4, 48)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="is DINOv3 or another ViT with rotary positions"):
        load_backbone(path, num_heads=HEADS)
