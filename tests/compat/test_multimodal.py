"""mmpretrain beside transformers: its multi-modal models are left out where they could not be imported."""

from types import ModuleType

import pytest

from mmrel.compat import multimodal


@pytest.mark.parametrize(
    ("installed", "kept"),
    [("4.57.6", True), ("5.24.0", False), ("6.0.0.dev0", False), (None, True)],
)
def test_multimodal_models__are_left_out_from_transformers_5_on(
    installed: str | None, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        assert name == "transformers"
        if installed is None:
            raise multimodal.PackageNotFoundError
        return installed

    monkeypatch.setattr(multimodal, "version", version)
    module = ModuleType("dependency")
    module.WITH_MULTIMODAL = True
    multimodal.leave_out_multimodal(module)
    assert module.WITH_MULTIMODAL is kept
