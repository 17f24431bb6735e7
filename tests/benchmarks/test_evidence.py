"""The evidence: arms differ in what they claim to differ in, statistics are right, and the page shows what was run."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scipy import stats

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import evidence  # noqa: E402
import evidence_page  # noqa: E402
import evidence_pictures  # noqa: E402
from evidence_arms import ARMS, CLAIMS, RANDOM, find_arm  # noqa: E402
from evidence_judges import JUDGES, SETTINGS  # noqa: E402
from evidence_statistics import compare, read_results, summarise  # noqa: E402

from mmrel.apis.evaluation.protocols import PROTOCOLS  # noqa: E402
from mmrel.utils import UsageError  # noqa: E402
from mmrel.utils.config import load_config  # noqa: E402

TRAINED = [arm for arm in ARMS.values() if arm.trained]


def test_summary__the_sample_s_deviation() -> None:
    found = summarise([1.0, 2.0, 6.0])
    assert (found.mean, found.count) == (3.0, 3)
    assert found.deviation == pytest.approx(math.sqrt(7.0))
    assert math.isnan(summarise([1.0]).deviation)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_difference__paired_interval_of_student() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt 3, t(2) = 4.3027."""
    found = compare({0: 11.0, 1: 22.0, 2: 33.0, 3: 1.0}, {2: 30.0, 1: 20.0, 0: 10.0})
    assert found is not None and (found.mean, found.count) == (2.0, 3)
    assert found.half == pytest.approx(4.30265273 / math.sqrt(3), rel=1e-8)
    assert not found.decided
    scipy = stats.ttest_rel([11.0, 22.0, 33.0], [10.0, 20.0, 30.0]).confidence_interval()
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx(tuple(scipy))


def test_difference__of_one_seed_has_no_interval_and_of_none_is_none() -> None:
    one = compare({0: 3.0}, {0: 1.0, 1: 2.0})
    assert one is not None and (one.mean, one.half, one.decided) == (2.0, math.inf, False)
    assert compare({0: 3.0}, {1: 2.0}) is None


def test_claims__name_arms_and_every_arm_decides_a_claim() -> None:
    named = {name for claim in CLAIMS.values() for pair in claim.pairs for name in pair}
    assert named == set(ARMS)
    with pytest.raises(UsageError, match="there is no arm 'byol'; choose from random, dino"):
        find_arm("byol")
    assert "SERE on iBOT against iBOT" not in evidence.listing()
    assert "  ibot-sere against ibot" in evidence.listing()


@pytest.mark.parametrize("arm", TRAINED, ids=lambda arm: arm.name)
def test_arms__equal_steps_crops_and_optimiser(arm: Any) -> None:
    """What a comparison takes for equal; RelViT's one crop is larger, and one arm is longer on purpose."""
    config = load_config(str(ROOT / arm.config))
    config.merge_from_dict(dict(arm.options))
    assert config.train_dataloader.batch_size == 64
    assert config.train_cfg.max_epochs == (4 if arm.name == "dino-longer" else 3)
    assert config.optim_wrapper.precision == "bf16"
    crops = config.train_dataloader.dataset.pipeline[1]
    count, size = (1, 64) if arm.method == "relvit" else (2, 48)
    assert crops.type == "mmrel.MultiCrop" and crops.num_local == 0 and crops.global_size == size
    assert crops.get("num_global", 2) == count
    model = config.model.get("base", config.model)
    assert model.backbone.arch == dict(
        embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512
    )


@pytest.mark.parametrize("base", ["dino", "mocov3", "ibot"])
def test_sere__differs_from_its_base_by_the_relations_alone(base: str) -> None:
    own, other = (load_config(str(ROOT / ARMS[name].config)) for name in (f"{base}-sere", base))
    assert own.model.base == other.model
    assert own.optim_wrapper.paramwise_cfg.pop("decay_rule") == "sere"
    other.optim_wrapper.paramwise_cfg.pop("decay_rule")
    for key in (set(own) | set(other)) - {"model", "sere"}:
        assert own[key] == other[key], key
    assert ARMS[f"{base}-sere-spatial"].options == {"model.beta": 0.0}
    assert ARMS[f"{base}-sere-channel"].options == {"model.alpha": 0.0}


def test_judges__are_figures_of_protocols_that_exist() -> None:
    assert {judge.protocol for judge in JUDGES} <= set(SETTINGS) <= set(PROTOCOLS)
    for name, settings in SETTINGS.items():
        assert set(settings) == set(next(iter(PROTOCOLS[name].settings.values()))), name


def record(arm: str, seed: int, propagation: float, knn: float) -> dict[str, Any]:
    figures = {"propagation": propagation, "knn_cls": knn, "knn_avg": knn + 10}
    curves = {"knn/top1_k20": [[0, 30.0], [125, knn]], "propagation": [[125, propagation]]}
    return {
        "inputs": {"arm": arm, "seed": seed},
        "figures": figures,
        "curves": {} if arm == RANDOM else curves,
        "costs": {} if arm == RANDOM else {"pretraining_processor_seconds": 100.0 + seed},
        "commit": "abc",
        "machine": {"processor": "a processor"},
    }


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Written from two arms with two seeds, and random weights with one."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    rows = [("dino", 60.0, 40.0), ("dino-sere", 64.0, 41.0)]
    for arm, propagation, knn in rows:
        for seed in (0, 1):
            content = record(arm, seed, propagation + seed, knn + seed * (arm == "dino"))
            (folder / f"{arm}-seed{seed}.json").write_text(json.dumps(content))
    (folder / "random-seed0.json").write_text(json.dumps(record(RANDOM, 0, 50.0, 35.0)))
    monkeypatch.setattr(evidence_page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(evidence_page, "IMAGES", tmp_path / "images")
    evidence_page.write_page(tmp_path)
    return (tmp_path / "page.md").read_text()


def test_page__means_deviations_differences_and_what_was_not_run(page: str) -> None:
    lines = [line.replace(" ", "") for line in page.splitlines()]
    assert "|DINO|60.5±0.7|-|-|-|40.5±0.7|-|-|-|-|2|" in lines
    assert "|randomweights|50.0|-|-|-|35.0|-|-|-|-|1|" in lines
    assert "|randomweights,meanpatch|50.0|-|-|-|45.0|-|-|-|-|1|" in lines
    # Equal differences, 4 and 4, have an interval of no width; 1 and 0 have one of 6.4 around 0.5.
    assert "|SEREonDINOagainstDINO|**+4.0±0.0**|-|-|-|+0.5±6.4|-|-|-|-|2|" in lines
    assert "|SelfPatchagainstDINO|-|-|-|-|-|-|-|-|-|notrun|" in lines
    assert "|DINO|100|2|abc|" in lines  # 100.5 rounded to even
    assert "a processor" in page


def write_tuned(folder: Path, arm: str, seed: int, task: str, figures: dict[str, float]) -> None:
    content = {
        "inputs": {"arm": arm, "seed": seed, "task": task},
        "figures": figures,
        "commit": "abc",
        "machine": {"processor": "a processor"},
    }
    (folder / f"{arm}-seed{seed}.{task}.json").write_text(json.dumps(content))


def test_results__a_fine_tuning_adds_to_its_run(tmp_path: Path) -> None:
    for number, arm in enumerate(("dino", "dino-sere")):
        (tmp_path / f"{arm}-seed0.json").write_text(json.dumps(record(arm, 0, 60.0, 40.0)))
        write_tuned(tmp_path, arm, 0, "mask-rcnn", {"box_ap": 12.0 + number})
    runs = read_results(tmp_path)
    assert runs["dino"][0]["figures"]["box_ap"] == 12.0
    assert runs["dino"][0]["figures"]["knn_cls"] == 40.0
    lines = evidence_page.page_text(tmp_path).replace(" ", "").splitlines()
    start = lines.index("Fine-tuned:")
    assert lines[start + 2 :][:5] == [
        "|arm|boxAP|seeds|",
        "|---|---|---|",
        "|randomweights|-|notrun|",
        "|DINO|12.0|1|",
        "|SEREonDINO|13.0|1|",
    ]
    assert "|SEREonDINOagainstDINO|+1.0|1|" in lines


def test_results__of_an_arm_that_has_no_frozen_features(tmp_path: Path) -> None:
    """RelViT's joint mode is a training with labels, compared with the same from random weights."""
    for seed in (0, 1):
        write_tuned(tmp_path, "relvit-joint", seed, "labels-10", {"labels_10": 40.0 + seed})
        write_tuned(tmp_path, RANDOM, seed, "labels-10", {"labels_10": 38.0 + seed})
    text = evidence_page.page_text(tmp_path)
    lines = text[text.index("## RelViT") :].replace(" ", "").splitlines()
    assert "|RelViT|-|-|-|-|-|-|-|-|-|notrun|" in lines
    assert "|RelViT,joint|40.5±0.7|2|" in lines
    assert "|RelViT,jointagainstrandomweights|**+2.0±0.0**|2|" in lines
    assert sum(line.startswith("|RelViT,joint|") for line in lines) == 1


def test_pictures__a_row_per_arm_that_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, results = tmp_path / "drawn", tmp_path / "scenes"
    drawn.mkdir()
    for strip in (evidence_pictures.PHOTOS, *evidence_pictures.STRIPS):
        Image.new("RGB", (30, 10)).save(drawn / f"0123-{strip}.png")
    results.mkdir()
    for arm in ("dino", "dino-sere"):
        (results / f"{arm}-seed0.json").write_text(json.dumps(record(arm, 0, 60.0, 40.0)))
        evidence_pictures.keep_pictures(drawn, results, arm)
    assert evidence_pictures.shown_arms(results) == {"dino", "dino-sere"}
    assert evidence_page.shown(CLAIMS["sere"], results) == ["dino", "dino-sere"]
    assert evidence_page.shown(CLAIMS["sit"], results) == []
    monkeypatch.setattr(evidence_page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(evidence_page, "IMAGES", tmp_path / "images")
    evidence_page.write_page(tmp_path)
    [height] = {Image.open(p).height for p in (tmp_path / "images").glob("sere-pictures.png")}
    assert height == pytest.approx(3 * evidence_pictures.ROW * 150)
    assert not (tmp_path / "images" / "sit-pictures.png").exists()
    assert "images/evidence/sere-pictures.png" in (tmp_path / "page.md").read_text()
    with pytest.raises(FileNotFoundError, match="though dino was judged"):
        evidence_pictures.keep_pictures(tmp_path, results, "dino")


def test_page__needs_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no results; run some arms first"):
        evidence_page.write_page(tmp_path)


def test_page__is_that_of_the_committed_results() -> None:
    folder = ROOT / "benchmarks" / "results" / "evidence" / "scenes"
    assert evidence_page.page_text(folder) == (ROOT / "docs" / "evidence-tables.md").read_text()
