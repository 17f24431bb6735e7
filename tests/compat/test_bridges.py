"""What mmrel adds to its hosts: recipes by name, in inferencers too; and how a bridge is put up."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mmengine import hub
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer, get_model, list_models

from mmrel.compat import after_import, install_bridges, multimodal
from mmrel.models.selfsup import SERE

RECIPE = "ibot-sere_vit-small-p16_8xb128-amp-coslr-100e_in1k"
IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be found because the tests run in a checkout."""
    monkeypatch.chdir(tmp_path)


def test_list_models__mmrels_beside_mmpretrains() -> None:
    names = list_models("*sere*")
    assert RECIPE in names
    assert "seresnet50_8xb32_in1k" in names
    assert not [name for name in list_models() if name.startswith("mask-rcnn")]


def test_list_models__a_name_of_mmpretrain_stays_its_own() -> None:
    name = "mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k"
    assert list_models(f"*{name}") == [f"mmrel_{name}", name]
    assert type(get_model(name)).__module__.startswith("mmpretrain.")
    assert type(get_model(f"mmrel_{name}")).__module__.startswith("mmrel.")


@pytest.mark.usefixtures("elsewhere")
def test_get_model__builds_a_recipe_by_name() -> None:
    with pytest.warns(UserWarning, match="Unable to find pre-defined checkpoint"):
        model = get_model(RECIPE, pretrained=True)
    assert isinstance(model, SERE)
    assert model.backbone.embed_dims == 384


@pytest.mark.usefixtures("elsewhere")
def test_hub__config_and_model_by_prefix() -> None:
    config = hub.get_config(f"mmrel::sere/{RECIPE}.py")
    assert config.model.type == "mmrel.SERE"
    assert config.filename.endswith(f"configs/sere/{RECIPE}.py")
    assert isinstance(hub.get_model(f"mmrel::sere/{RECIPE}.py"), SERE)


def test_hub__says_that_no_weights_are_published() -> None:
    with pytest.raises(ValueError, match=r"no weights are published.*Train with the recipe"):
        hub.get_model(f"mmrel::sere/{RECIPE}.py", pretrained=True)


@pytest.mark.usefixtures("elsewhere")
def test_base__of_mmrel_from_anywhere() -> None:
    """MMEngine allows the prefix in `_base_` and in its hub; `Config.fromfile` takes paths alone."""
    text = f"_base_ = ['mmrel::sere/{RECIPE}.py']\nmodel = dict(alpha=0.1)\n"
    config = Config.fromstring(text, ".py")
    assert (config.model.type, config.model.alpha) == ("mmrel.SERE", 0.1)


def test_inferencer__detection_by_name() -> None:
    apis = pytest.importorskip("mmdet.apis")
    name = "mask-rcnn_vit-tiny-p8_scenes"
    inferencer = apis.DetInferencer(name, scope="mmrel", device="cpu", show_progress=False)
    steps = inferencer.pipeline.transforms
    assert [type(step).__module__.partition(".")[0] for step in steps[1:]] == ["mmdet"] * 3
    assert set(inferencer(IMAGE)["predictions"][0]) == {"labels", "scores", "bboxes", "masks"}


def test_inferencer__segmentation_by_name() -> None:
    apis = pytest.importorskip("mmseg.apis")
    name = "vit-tiny-p8_upernet_scenes"
    inferencer = apis.MMSegInferencer(name, scope="mmrel", device="cpu")
    assert inferencer(IMAGE)["predictions"].shape == IMAGE.shape[:2]


def test_inferencer__classification_by_name() -> None:
    inferencer = ImageClassificationInferencer(
        "vit-small-p16_sit-pre_1xb64-linear-90e_pets", device="cpu"
    )
    assert inferencer(IMAGE)[0]["pred_scores"].shape == (37,)


def test_after_import__once_and_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_host.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    seen: list[int] = []

    def bridge(module: ModuleType) -> None:
        seen.append(module.value)

    after_import("some_host", bridge)
    after_import("some_host", bridge)
    assert seen == []
    module = import_module("some_host")
    after_import("some_host", bridge)
    assert seen == [1]
    assert module.__spec__.origin == str(tmp_path / "some_host.py")


def test_install_bridges__twice_is_once() -> None:
    before = sys.meta_path.copy()
    register = Runner.register_default_hooks
    install_bridges()
    assert sys.meta_path == before
    assert Runner.register_default_hooks is register


@pytest.mark.parametrize(
    ("version", "kept"),
    [("4.28.0", True), ("4.57.1", True), ("5.0.0rc1", False), ("5.24.0", False)],
)
def test_multimodal__left_out_beside_a_transformers_that_it_does_not_know(
    version: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multimodal, "version", {"transformers": version}.__getitem__)
    dependency = ModuleType("mmpretrain.utils.dependency")
    dependency.WITH_MULTIMODAL = True  # type: ignore[attr-defined]
    multimodal.leave_out_multimodal(dependency)
    assert dependency.WITH_MULTIMODAL is kept


def test_multimodal__without_transformers_nothing_is_asked() -> None:
    dependency = ModuleType("mmpretrain.utils.dependency")
    dependency.WITH_MULTIMODAL = False  # type: ignore[attr-defined]
    multimodal.leave_out_multimodal(dependency)
    assert dependency.WITH_MULTIMODAL is False
