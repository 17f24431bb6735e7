"""What the quickstart makes of the machine: the precision of its pretraining."""

from pathlib import Path

import pytest
import torch

from mmrel.quickstart import plan as quickstart_plan
from mmrel.quickstart.environment import fast_precision
from mmrel.quickstart.plan import Options, Plan

ROOT = Path(__file__).parents[2]


def pretraining(config: str, folder: Path) -> tuple[str, ...]:
    options = Options(ROOT, folder / "work", folder / "scenes", Path("configs/quickstart") / config)
    return Plan(options).pretrain.command


@pytest.mark.parametrize("supported", [True, False])
def test_precision__bfloat16_where_the_processor_has_it(
    supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported, raising=False)
    assert fast_precision() == ("bf16" if supported else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert fast_precision() is None


def test_precision__of_a_torch_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert fast_precision() is None


@pytest.mark.parametrize("precision", ["bf16", None])
@pytest.mark.parametrize(
    "config", ["ibot-sere_vit-tiny-p8_scenes.py", "relvit_vit-tiny-p8_scenes.py"]
)
def test_plan__pretrains_in_the_fast_precision(
    config: str, precision: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(quickstart_plan, "fast_precision", lambda: precision)
    given = "optim_wrapper.precision=bf16" in pretraining(config, tmp_path)
    assert given == (precision == "bf16")
