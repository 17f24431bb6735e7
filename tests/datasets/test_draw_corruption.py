"""Drawing SiT's corruption in the loader: a function of the key, chances, shapes, and small crops."""

import numpy as np
import pytest
import torch

from mmrel.datasets import DrawCorruption, MultiCrop, PackViews
from mmrel.datasets.transforms.random_keys import Purpose, sample_generator
from mmrel.ops.corruption import Material, draw_group, unpack_mask
from mmrel.structures import SampleKey

KEY = SampleKey(3, 5, 11)
SIDE = 48


def views(size: int = SIDE) -> dict:
    crop = MultiCrop(global_size=size, num_local=0)
    return crop({"img": np.zeros((60, 60, 3), dtype=np.uint8), "key": KEY})


def masks_of(drawn: dict, side: int = SIDE) -> np.ndarray:
    return unpack_mask(torch.from_numpy(drawn["corruption"]), side).numpy()


def test_draw__arrays() -> None:
    results = DrawCorruption("zeros-self")(views())
    assert results["corruption"].shape == (2, SIDE, 6) and results["corruption"].dtype == np.uint8
    assert results["corruption_source"].shape == (2, 2)
    assert results["corruption_source"].dtype == np.int64
    assert results["corruption_origin"].shape == (2, SIDE, SIDE)
    assert results["corruption_origin"].dtype == np.int32
    assert "corruption_origin" not in DrawCorruption("zeros-noise-other")(views())


def test_draw__is_a_function_of_the_key() -> None:
    transform = DrawCorruption("noise")
    first, second = (transform.draw(KEY, 2, SIDE, SIDE) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    assert (first["corruption"][0] != first["corruption"][1]).any()
    for other in (SampleKey(4, 5, 11), SampleKey(3, 6, 11), SampleKey(3, 5, 12)):
        assert (transform.draw(other, 2, SIDE, SIDE)["corruption"] != first["corruption"]).any()


def test_draw__masks_are_group_masks() -> None:
    """The first view's mask is the one that ``draw_group`` gives after the coin, the choice and the number."""
    for index in range(10):
        key = SampleKey(0, 0, index)
        drawn = DrawCorruption(align=4).draw(key, 2, SIDE, SIDE)
        rng = sample_generator(key, Purpose.CORRUPTION)
        replaced = rng.random(2)[0] < 0.5
        rng.integers(1 << 62)
        wanted = draw_group(SIDE, SIDE, 0.3 if replaced else 0.5, 4, rng)[0]
        assert (masks_of(drawn)[0] == wanted).all()
        assert (drawn["corruption_source"][0, 0] == Material.OTHER) == replaced


def test_draw__chances_of_the_recipe() -> None:
    """Half of the crops get another image's pixels, the mean masked share is 0.41; donors are uniform."""
    drawn = [DrawCorruption().draw(SampleKey(0, 0, i), 2, 224, 224) for i in range(600)]
    material, number = np.concatenate([d["corruption_source"] for d in drawn]).T
    share = np.concatenate([masks_of(d, 224) for d in drawn]).mean(axis=(1, 2))
    replaced = material == Material.OTHER
    assert abs(replaced.mean() - 0.5) < 3 * 0.5 / np.sqrt(1200)
    assert abs(share.mean() - 0.412) < 3 * 0.1 / np.sqrt(1200)
    assert abs(share[replaced].mean() - 0.314) < 0.002
    assert abs(share[~replaced].mean() - 0.511) < 0.002
    assert set(material[~replaced]) == {Material.ZEROS}
    donors = np.bincount(number % 8, minlength=8) / 1200
    assert np.abs(donors - 1 / 8).max() < 4 * np.sqrt(1 / 8 * 7 / 8 / 1200)
    both = replaced.reshape(-1, 2)
    assert abs((both[:, 0] & both[:, 1]).mean() - 0.25) < 3 * np.sqrt(0.25 * 0.75 / 600)


def test_draw__materials_have_equal_chances() -> None:
    transform = DrawCorruption("zeros-noise-self", rho=0.25)
    drawn = [transform.draw(SampleKey(0, 0, i), 2, 16, 16) for i in range(500)]
    material = np.concatenate([d["corruption_source"][:, 0] for d in drawn])
    shares = np.bincount(material, minlength=4) / len(material)
    assert np.abs(shares - 0.25).max() < 3 * np.sqrt(0.25 * 0.75 / 1000)


@pytest.mark.parametrize(("rho", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_draw__rho(rho: float, share: float) -> None:
    drawn = [DrawCorruption(rho=rho).draw(SampleKey(0, 0, i), 2, 32, 32) for i in range(20)]
    assert np.mean([d["corruption_source"][:, 0] == Material.OTHER for d in drawn]) == share


def test_pack__ships_bits() -> None:
    packed = PackViews()(DrawCorruption("self")(views()))
    assert packed["corruption"].dtype == torch.uint8 and packed["corruption"].shape == (2, SIDE, 6)
    assert packed["corruption_source"].dtype == torch.int64
    assert packed["corruption_origin"].dtype == torch.int32


def test_draw__refuses_small_crops() -> None:
    """Worked by hand: 32 pixels with blocks aligned to 16."""
    with pytest.raises(ValueError, match=r"32 x 32 pixels is too small .* align 8 or less"):
        DrawCorruption(align=16)(views(32))
    with pytest.raises(ValueError, match="area is 1.5"):
        DrawCorruption(replace_area=1.5)(views())


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(rho=1.5), "rho is 1.5"), (dict(material="black"), "material is 'black'")],
)
def test_draw__refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawCorruption(**options)
