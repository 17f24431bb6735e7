"""mmrel's registries are found from the scope of every host library."""

import pytest
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from mmrel import registry
from mmrel.utils import register_all_modules


def test_registries__are_children_of_mmengines_root() -> None:
    assert ROOT_MODELS.children["mmrel"] is registry.MODELS
    for name in ("DATASETS", "HOOKS", "LOOPS", "METRICS", "OPTIM_WRAPPERS", "TRANSFORMS"):
        child = getattr(registry, name)
        assert child.scope == "mmrel"
        assert child.parent.scope == "mmengine"


@pytest.mark.parametrize("scope", ["mmpretrain", "mmdet", "mmseg"])
def test_prefix__resolves_from_host_scope(scope: str) -> None:
    if scope != "mmpretrain":
        pytest.importorskip(scope)
    with DefaultScope.overwrite_default_scope(scope):
        found = ROOT_MODELS.build(
            dict(type="mmrel.ViTPyramid", in_channels=8, norm_cfg=dict(type="BN"))
        )
    assert isinstance(found, nn.Module)
    assert type(found).__module__.startswith("mmrel.")


def test_register_all_modules__bare_names_of_mmpretrain_resolve() -> None:
    register_all_modules()
    assert DefaultScope.get_current_instance().scope_name == "mmpretrain"
    cfg = dict(type="VisionTransformer", arch="deit-tiny", img_size=32)
    backbone = registry.MODELS.build(cfg)
    assert type(backbone).__name__ == "VisionTransformer"


@pytest.mark.parametrize("name", sorted(registry.ON_MMSEG))
def test_on_mmseg__found_when_asked_for(name: str) -> None:
    pytest.importorskip("mmseg")
    kinds = {"Dataset": "DATASETS", "Metric": "METRICS"}
    kind = next((kinds[end] for end in kinds if name.endswith(end)), "MODELS")
    found = getattr(registry, kind).get(f"mmrel.{name}")
    assert found.__module__ == registry.ON_MMSEG[name]


def test_on_mmseg__says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = registry.NamingRegistry("model", scope="mmrel", locations=[])
    monkeypatch.setattr("mmrel.utils.hosts.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="'mmseg' is needed by this configuration"):
        fresh.get("PatchHead")
