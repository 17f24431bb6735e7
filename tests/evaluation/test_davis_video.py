"""Propagation of masks by a backbone: through DAVIS, through a folder of frames, and from wrong input."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from reference import davis as reference

from mmrel.apis.video import (
    MaskPropagator,
    VideoProtocol,
    copies_of_first,
    evaluate_davis,
    evaluate_sequences,
    masks_in,
    propagate_folder,
    propagate_masks,
)
from mmrel.datasets.scenes import make_scenes
from mmrel.evaluation.davis import first_labels, label_mask, read_mask, read_split, write_mask
from mmrel.evaluation.davis.frames import NORMALIZATION
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens
from mmrel.registry import MODELS

SIZE = (24, 32)
SMALL = VideoProtocol(size=24, neighbourhood=2, num_last_frames=2)


def backbone(**kwargs: object) -> ViT:
    torch.manual_seed(0)
    network = MODELS.build({**tiny.vit(), **kwargs})
    network.init_weights()
    network.eval()
    return network


def clip(count: int = 5, step: int = 2, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A square of noise that moves over a background of noise: frames and masks."""
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    thing = rng.integers(0, 256, (8, 8, 3), np.uint8)
    frames, masks = [], []
    for k in range(count):
        frame, mask = background.copy(), np.zeros(SIZE, np.uint8)
        box = slice(8, 16), slice(4 + step * k, 12 + step * k)
        frame[box], mask[box] = thing, 1
        frames.append(frame)
        masks.append(mask)
    return frames, masks


def write_frames(folder: Path, frames: list[np.ndarray], name: str = "{:05d}.png") -> Path:
    folder.mkdir(parents=True)
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(k))
    return folder


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """DAVIS of two sequences: a moving thing, and a still one."""
    root = tmp_path / "davis"
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("moving\nstill\n")
    for name, step in (("moving", 2), ("still", 0)):
        frames, masks = clip(step=step)
        write_frames(root / "JPEGImages" / "480p" / name, frames)
        for k, mask in enumerate(masks):
            write_mask(root / "Annotations" / "480p" / name / f"{k:05d}.png", mask)
    return root


@pytest.mark.parametrize("with_cls_token", [True, False])
def test_masks__equal_the_protocol_step_by_step(with_cls_token: bool) -> None:
    network = backbone(with_cls_token=with_cls_token)
    frames, masks = clip()
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATION)
    with torch.no_grad():
        [tokens] = intermediate_tokens(network, (pixels - mean) / std)
    features = tokens.patches.mT.unflatten(2, (6, 8)).double().numpy()
    labels = first_labels(masks[0], (6, 8)).double().numpy()
    soft = torch.from_numpy(reference.propagate(features, labels, 2, 2))
    wanted = [masks[0], *(label_mask(frame, 4, SIZE) for frame in soft[1:])]
    found = list(propagate_masks(network, frames, masks[0], SMALL))
    assert len(found) == 5 and any(mask.any() for mask in found[1:])
    for own, mask in zip(found, wanted, strict=True):
        assert own.dtype == np.uint8 and np.array_equal(own, mask)


def test_davis__figures_files_and_progress(davis: Path, tmp_path: Path) -> None:
    steps, seen = [], {}
    network = backbone()
    network.train()
    state = torch.get_rng_state()
    result = evaluate_davis(
        network,
        davis,
        out=tmp_path / "out",
        protocol=SMALL,
        progress=lambda done, count: steps.append((done, count)),
        on_sequence=lambda sequence, masks: seen.update({sequence.name: masks}),
    )
    assert torch.equal(torch.get_rng_state(), state) and network.training
    assert steps == [(k, 10) for k in range(11)]
    assert list(result.per_object) == ["moving_1", "still_1"]
    assert result.jf_mean == pytest.approx((result.j_mean + result.f_mean) / 2)
    for name, masks in seen.items():
        files = sorted((tmp_path / "out" / name).iterdir())
        assert [file.name for file in files] == [f"{k:05d}.png" for k in range(5)]
        assert np.array_equal(np.stack([read_mask(file) for file in files]), masks)
        assert np.array_equal(masks[0], clip()[1][0])
    # The files, scored as they are, give the same figures, and so does the library on its own sequences.
    again = evaluate_sequences(read_split(davis), masks_in(tmp_path / "out"))
    assert again == result


def test_davis__copies_are_right_where_nothing_moves(davis: Path) -> None:
    own = evaluate_sequences(read_split(davis), copies_of_first).per_sequence()
    assert own["still"].jf_mean == own["still"].j_recall == own["still"].f_mean == 1
    assert own["moving"].j_mean < 0.6


def test_davis__on_the_scenes_propagation_beats_copying(tmp_path: Path) -> None:
    """Even by random weights: a patch is most like itself."""
    make_scenes(tmp_path, num_train=1, num_val=120, layouts=("davis",), workers=1)
    arch = dict(embed_dims=48, num_layers=1, num_heads=2, feedforward_channels=48)
    network = backbone(arch=arch)
    copied = evaluate_sequences(read_split(tmp_path / "davis"), copies_of_first)
    followed = evaluate_davis(network, tmp_path / "davis", protocol=VideoProtocol(size=128))
    assert followed.jf_mean > copied.jf_mean + 0.3


def test_davis__bad_input(davis: Path, tmp_path: Path) -> None:
    masks = davis / "Annotations" / "480p" / "moving"
    with pytest.raises(ValueError, match="moving would be written into .* own files are"):
        evaluate_davis(backbone(), davis, out=davis / "JPEGImages" / "480p", protocol=SMALL)
    with pytest.raises(ValueError, match="moving would be written into .* own files are"):
        evaluate_davis(backbone(), davis, out=davis / "Annotations" / "480p", protocol=SMALL)
    with pytest.raises(FileNotFoundError, match="there is no mask .*00001.png"):
        evaluate_sequences(read_split(davis), masks_in(tmp_path / "none"))
    for k in range(5):
        write_mask(tmp_path / "more" / "moving" / f"{k:05d}.png", np.full(SIZE, 2, np.uint8))
    with pytest.raises(ValueError, match="moving: object 2 is predicted, but only 1 are annotated"):
        evaluate_sequences(read_split(davis), masks_in(tmp_path / "more"))
    write_mask(masks / "00003.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(ValueError, match=r"00003.png is 5x5 pixels and the first mask .* 24x32"):
        evaluate_sequences(read_split(davis), copies_of_first)
    write_mask(masks / "00000.png", np.ones((5, 5), np.uint8))
    with pytest.raises(
        ValueError, match="first mask is uint8 of 5x5 pixels and the first frame 24x32"
    ):
        evaluate_davis(backbone(), davis, protocol=SMALL)
    write_mask(masks / "00000.png", np.full(SIZE, 255, np.uint8))
    with pytest.raises(ValueError, match="the first mask holds no object"):
        evaluate_davis(backbone(), davis, protocol=SMALL)


def test_folder__masks_are_named_as_the_frames(tmp_path: Path) -> None:
    frames, masks = clip(count=11)
    folder = write_frames(tmp_path / "clip", frames, "shot {}.png")
    steps = []
    files = propagate_folder(
        backbone(), folder, masks[0], tmp_path / "out", SMALL, lambda *step: steps.append(step)
    )
    assert [file.name for file in files] == [f"shot {k}.png" for k in range(11)]
    assert all(file.parent == tmp_path / "out" / "clip" for file in files)
    assert steps[0] == (0, 11) and steps[-1] == (11, 11)
    wanted = propagate_masks(backbone(), frames, masks[0], SMALL)
    assert all(np.array_equal(read_mask(f), m) for f, m in zip(files, wanted, strict=True))


def test_folder__a_first_mask_of_black_and_white(tmp_path: Path) -> None:
    frames, masks = clip(count=2)
    folder = write_frames(tmp_path / "clip", frames)
    Image.fromarray(masks[0] * 255).save(tmp_path / "white.png")
    write_mask(tmp_path / "one.png", masks[0])
    white, one = (
        propagate_folder(backbone(), folder, tmp_path / f"{name}.png", tmp_path / name, SMALL)
        for name in ("white", "one")
    )
    assert [file.read_bytes() for file in white] == [file.read_bytes() for file in one]


def test_folder__bad_input(tmp_path: Path) -> None:
    frames, masks = clip(count=2)
    folder = write_frames(tmp_path / "clip", frames)
    before = [path.read_bytes() for path in sorted(folder.iterdir())]
    with pytest.raises(ValueError, match="clip would be written into .* own files are"):
        propagate_folder(backbone(), folder, masks[0], tmp_path, SMALL)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == before
    with pytest.raises(FileNotFoundError, match="there is no first mask"):
        propagate_folder(backbone(), folder, tmp_path / "none.png", tmp_path / "out", SMALL)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        propagate_folder(backbone(), tmp_path / "none", masks[0], tmp_path / "out", SMALL)
    Image.fromarray(frames[1][:20]).save(folder / "00001.png")
    with pytest.raises(ValueError, match="00001.png is 20x32 pixels and the first frame 24x32"):
        propagate_folder(backbone(), folder, masks[0], tmp_path / "out", SMALL)


def test_masks__bad_frames() -> None:
    frames, masks = clip(count=2)
    with pytest.raises(ValueError, match="there are no frames"):
        next(propagate_masks(backbone(), [], masks[0], SMALL))
    with pytest.raises(ValueError, match="3x32 pixels at size 24 is smaller than a patch of 4"):
        MaskPropagator(backbone(), frames[0][:3], np.ones((3, 32), np.uint8), SMALL)
    with pytest.raises(ValueError, match="int64 of 24x32 pixels"):
        MaskPropagator(backbone(), frames[0], masks[0].astype(np.int64), SMALL)
    with pytest.raises(ValueError, match=r"blocks \[2\] are not valid for 2 blocks"):
        MaskPropagator(backbone(), frames[0], masks[0], VideoProtocol(size=24, block=2))


def test_protocol__block_and_normalization_count() -> None:
    frames, masks = clip(count=2)
    plain = MaskPropagator(backbone(), frames[0], masks[0], SMALL).features(frames[0])
    for change in (dict(block=0), dict(normalization=((0.0,) * 3, (255.0,) * 3))):
        other = VideoProtocol(size=24, **change)
        assert not torch.allclose(
            MaskPropagator(backbone(), frames[0], masks[0], other).features(frames[0]), plain
        )
