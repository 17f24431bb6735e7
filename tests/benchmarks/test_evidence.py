"""The evidence: arms differ in what they claim to differ in, statistics are right, and the page shows what was run."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import evidence  # noqa: E402
import evidence_page  # noqa: E402
import evidence_pictures  # noqa: E402
from evidence_arms import ARMS, CLAIMS, RANDOM, find_arm  # noqa: E402
from evidence_data import DATA_SETS, ELPV, LARGE, SCENES, VIT_SMALL  # noqa: E402
from evidence_finetune import TASKS, find_task  # noqa: E402
from evidence_judges import FINETUNED, JUDGES  # noqa: E402
from evidence_run import Run  # noqa: E402
from evidence_statistics import compare, read_results, summarise  # noqa: E402
from evidence_tables import sides_of  # noqa: E402

from mmrel.apis.evaluation.protocols import PROTOCOLS  # noqa: E402
from mmrel.datasets.converters import elpv  # noqa: E402
from mmrel.registry import MODELS  # noqa: E402
from mmrel.utils import UsageError, register_all_modules  # noqa: E402
from mmrel.utils.config import load_config  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "evidence"
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


def test_difference__of_several_pairs_is_one_sample() -> None:
    """4 and 5 on one base, 3 on another; a seed of one base never stands for that of another."""
    values = {"a": {0: 4.0, 1: 6.0}, "b": {0: 0.0, 1: 1.0}, "c": {1: 5.0}, "d": {0: 9.0, 1: 2.0}}
    names = dict(zip("abcd", ("dino-sere", "dino", "ibot-sere", "ibot"), strict=True))
    runs = {
        names[name]: {seed: {"figures": {"propagation": value}} for seed, value in own.items()}
        for name, own in values.items()
    }
    pairs = [("dino-sere", "dino"), ("ibot-sere", "ibot")]
    found = compare(*sides_of(runs, pairs, JUDGES[0]))
    assert found is not None and (found.mean, found.count) == (4.0, 3)
    assert found.half == pytest.approx(4.30265273 / math.sqrt(3), rel=1e-8)


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
    assert evidence.listing().endswith(f"  {LARGE.title}")


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
    assert {judge.protocol for judge in JUDGES} <= set(SCENES.judges) <= set(PROTOCOLS)
    for dataset in DATA_SETS.values():
        for name, settings in dataset.judges.items():
            assert set(settings) == set(next(iter(PROTOCOLS[name].settings.values()))), name


def run_of(arm: str, seed: int, dataset: Any) -> Run:
    return Run(find_arm(arm), seed, Path("data"), dataset, Path("work"), Path("results"))


def test_runs__of_the_committed_files_count_as_done() -> None:
    """Other inputs would repeat hours of runs, or leave figures of two protocols side by side."""
    files = [path for name in DATA_SETS for path in (RESULTS / name).glob("*-seed?.json")]
    assert len(files) >= 15
    for path in files:
        inputs = json.loads(path.read_text())["inputs"]
        assert run_of(inputs["arm"], inputs["seed"], DATA_SETS[path.parent.name]).inputs == inputs


@pytest.mark.parametrize("arm", TRAINED, ids=lambda arm: arm.name)
def test_elpv__four_passes_for_an_epoch_of_the_recipe(arm: Any) -> None:
    """A quarter of the images: nearly as many steps, and warm-up, checkpoints and frozen layers at the same ones."""
    own, scenes = (load_config(str(ROOT / arm.config)) for _ in range(2))
    own.merge_from_dict(run_of(arm.name, 0, ELPV).options)
    scenes.merge_from_dict(run_of(arm.name, 0, SCENES).options)
    assert own.train_cfg.max_epochs == 4 * scenes.train_cfg.max_epochs
    assert own.train_cfg.get("val_interval", 0) == 4 * scenes.train_cfg.get("val_interval", 0)
    assert own.default_hooks.checkpoint.interval == 4
    assert own.train_dataloader.drop_last
    warmups = [[one.get("warmup", 0) for one in c.param_scheduler] for c in (own, scenes)]
    assert warmups[0] == [4 * epochs for epochs in warmups[1]]
    if arm.method.startswith("dino"):
        assert own.default_hooks.last_layer_freeze.epochs == 4
    for config in (own, scenes):
        config.train_cfg = config.param_scheduler = None
        config.default_hooks.checkpoint.interval = None
        config.default_hooks.get("last_layer_freeze", {}).pop("epochs", None)
    assert own._cfg_dict == scenes._cfg_dict
    assert run_of(RANDOM, 0, ELPV).options == {}


@pytest.mark.parametrize("arm", ARMS.values(), ids=lambda arm: arm.name)
def test_vit_small__takes_the_place_of_the_small_network_and_no_more(arm: Any) -> None:
    """It builds, what reads its tokens has their width, ten epochs stand for one, and the rate is a quarter."""
    own, scenes = (run_of(arm.name, 0, dataset).config for dataset in (LARGE, SCENES))
    rates = [config.optim_wrapper.optimizer.lr for config in (own, scenes)]
    assert rates[0] == rates[1] * (0.25 if arm.trained else 1)
    with torch.device("meta"):
        network = MODELS.build(own.model)
    backbone = getattr(network, "base", network).backbone
    assert sum(p.numel() for p in backbone.parameters()) == pytest.approx(21.3e6, rel=0.01)
    assert own.train_cfg.max_epochs == scenes.train_cfg.max_epochs * (10 if arm.trained else 1)
    model = own.model.get("base", own.model)
    assert model.backbone.arch == VIT_SMALL
    model.backbone.arch = scenes.model.get("base", scenes.model).backbone.arch
    for part in (model.get("neck"), model.get("decoder")):
        if part is not None:
            assert part.in_channels == 384
            part.in_channels = 128
    assert own.model == scenes.model


@pytest.mark.parametrize("path", sorted({arm.classifier for arm in ARMS.values()}))
def test_elpv__classifiers_have_its_four_classes_and_differ_in_no_more(path: str) -> None:
    register_all_modules()
    own, scenes = (load_config(str(ROOT / path)) for _ in range(2))
    own.merge_from_dict(dict(ELPV.classifier))
    with torch.device("meta"):
        assert MODELS.build(own.model).head.fc.out_features == 4
    assert own.data_preprocessor.num_classes == 4
    scenes.model.head.num_classes = scenes.data_preprocessor.num_classes = 4
    assert own._cfg_dict == scenes._cfg_dict


def test_tasks__of_a_data_set_exist_and_have_judges() -> None:
    assert {judge.protocol for judge in FINETUNED} == set(TASKS) == set(SCENES.tasks)
    assert set(ELPV.tasks) == {name for name, task in TASKS.items() if task.share is not None}
    assert find_task("labels-10", find_arm("sit"), ELPV).share == 0.1
    with pytest.raises(UsageError, match="no tasks on scenes-vit-small; leave --tasks out"):
        find_task("labels-10", find_arm("sit"), LARGE)


def test_elpv__photos_are_shrunk_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a package of eight: folders of classes, 96 pixels, grey kept."""
    data = tmp_path / "site" / "elpv_dataset" / "data"
    (data / "images").mkdir(parents=True)
    for number in range(8):
        grey = np.full((300, 300), 30 * number, np.uint8)
        Image.fromarray(grey).save(data / "images" / f"cell{number}.png")
    kinds = [f"images/cell{n}.png  {n % 2}.0  {'mono' if n < 4 else 'poly'}" for n in range(8)]
    (data / "labels.csv").write_text("\n".join(kinds))
    monkeypatch.setattr(elpv, "installed_package", lambda: data.parent)
    for _ in range(2):
        ELPV.make(tmp_path / "made")
    paths = sorted((tmp_path / "made" / "classification").glob("*/*/*.png"))
    assert len(paths) == 8 and {path.parts[-3] for path in paths} == {"train", "val"}
    for path in paths:
        number = int(path.stem[-1])
        assert path.parent.name == kinds[number][-4:] + (
            "_defective" if number % 2 else "_functional"
        )
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (96, 96, 3) and (pixels == 30 * number).all()


def test_elpv__needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elpv, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"elpv-dataset is not installed: .*mmrel\[evidence\]"):
        ELPV.make(tmp_path)


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


def write(results: Path, dataset: str, content: dict[str, Any]) -> None:
    """A file among the results, as a run or a fine-tuning writes it."""
    inputs = content["inputs"]
    task = f".{inputs['task']}" if "task" in inputs else ""
    path = results / dataset / f"{inputs['arm']}-seed{inputs['seed']}{task}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Written from two arms with two seeds, and random weights with one."""
    rows = [("dino", 60.0, 40.0), ("dino-sere", 64.0, 41.0)]
    for arm, propagation, knn in rows:
        for seed in (0, 1):
            own = record(arm, seed, propagation + seed, knn + seed * (arm == "dino"))
            own["machine"] = {"processor": f"processor {seed if arm == 'dino' else 0}"}
            write(tmp_path, "scenes", own)
    write(tmp_path, "scenes", record(RANDOM, 0, 50.0, 35.0))
    monkeypatch.setattr(evidence_page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(evidence_page, "IMAGES", tmp_path / "images")
    evidence_page.write_page(tmp_path)
    return (tmp_path / "page.md").read_text()


def squeezed(text: str) -> list[str]:
    """Lines without spaces."""
    return text.replace(" ", "").splitlines()


def test_page__means_deviations_differences_and_what_was_not_run(page: str) -> None:
    lines = squeezed(page)
    assert "|DINO|60.5±0.7|-|-|-|40.5±0.7|-|-|-|-|2|" in lines
    assert "|randomweights|50.0|-|-|-|35.0|-|-|-|-|1|" in lines
    assert "|randomweights,meanpatch|50.0|-|-|-|45.0|-|-|-|-|1|" in lines
    # Equal differences, 4 and 4, have an interval of no width; 1 and 0 have one of 6.4 around 0.5.
    assert "|SEREonDINOagainstDINO|**+4.0±0.0**|-|-|-|+0.5±6.4|-|-|-|-|2|" in lines
    assert "|SelfPatchagainstDINO|-|-|-|-|-|-|-|-|-|notrun|" in lines
    assert "|SEREagainstitsbase,allbases|**+4.0±0.0**|-|-|-|+0.5±6.4|-|-|-|-|2|" in lines
    # Seconds of different processors are not one mean, and random weights have none; 100.5 is rounded to even.
    costs = lines[lines.index("##Whataruntakes") :]
    assert "|arm|processor0|processor1|commits|" in costs
    assert "|DINO|100(1)|101(1)|abc|" in costs and "|SEREonDINO|100(2)|-|abc|" in costs
    assert "ELPV" not in page


def test_page__a_further_data_set_shows_what_was_run_and_judged_there(tmp_path: Path) -> None:
    """No J&F there, no arms but two, and no pair but theirs."""
    write(tmp_path, "scenes", record("dino", 0, 60.0, 40.0))
    for arm in (RANDOM, "sit"):
        own = record(arm, 0, 60.0, 40.0)
        del own["figures"]["propagation"]
        write(tmp_path, "elpv", own)
    text = evidence_page.page_text(tmp_path)
    lines = squeezed(text.partition(f"## {ELPV.title}\n")[2])
    assert [line for line in lines if line.startswith("|")] == [
        "|arm|classk-NN|seeds|",
        "|---|---|---|",
        "|randomweights|40.0|1|",
        "|randomweights,meanpatch|50.0|1|",
        "|SiT|40.0|1|",
        "|pair|classk-NN|seeds|",
        "|---|---|---|",
        "|SiTagainstrandomweights|+0.0|1|",
        "|arm|aprocessor|commits|",
        "|---|---|---|",
        "|SiT|100(1)|abc|",
    ]


def test_page__a_further_data_set_s_fine_tunings(tmp_path: Path) -> None:
    """An arm that has nothing else is not among the frozen ones, and its processor not among those with times."""
    write(tmp_path, "scenes", record("dino", 0, 60.0, 40.0))
    write(tmp_path, "elpv", record(RANDOM, 0, 50.0, 35.0))
    write(tmp_path, "elpv", record("dino", 0, 50.0, 35.0))
    for arm, value in ((RANDOM, 38.0), ("relvit-joint", 40.0)):
        own = tuned(arm, 0, "labels-10", {"labels_10": value})
        write(tmp_path, "elpv", {**own, "machine": {"processor": "another"}})
    text = evidence_page.page_text(tmp_path)
    frozen, _, finetuned = text.partition(f"## {ELPV.title}\n")[2].partition("Fine-tuned:")
    assert "RelViT" not in frozen
    assert [line for line in squeezed(finetuned) if line.startswith("|")] == [
        "|arm|10%oflabels|seeds|",
        "|---|---|---|",
        "|randomweights|38.0|1|",
        "|RelViT,joint|40.0|1|",
        "|pair|10%oflabels|seeds|",
        "|---|---|---|",
        "|RelViT,jointagainstrandomweights|+2.0|1|",
        "|arm|aprocessor|commits|",
        "|---|---|---|",
        "|DINO|100(1)|abc|",
    ]


def tuned(arm: str, seed: int, task: str, figures: dict[str, float]) -> dict[str, Any]:
    return {
        "inputs": {"arm": arm, "seed": seed, "task": task},
        "figures": figures,
        "commit": "abc",
        "machine": {"processor": "a processor"},
    }


def test_results__a_fine_tuning_adds_to_its_run(tmp_path: Path) -> None:
    for number, arm in enumerate(("dino", "dino-sere")):
        write(tmp_path, "scenes", record(arm, 0, 60.0, 40.0))
        write(tmp_path, "scenes", tuned(arm, 0, "mask-rcnn", {"box_ap": 12.0 + number}))
    runs = read_results(tmp_path / "scenes")
    assert runs["dino"][0]["figures"]["box_ap"] == 12.0
    assert runs["dino"][0]["figures"]["knn_cls"] == 40.0
    lines = squeezed(evidence_page.page_text(tmp_path))
    start = lines.index("Fine-tuned:")
    assert lines[start + 2 :][:5] == [
        "|arm|boxAP|seeds|",
        "|---|---|---|",
        "|randomweights|-|notrun|",
        "|DINO|12.0|1|",
        "|SEREonDINO|13.0|1|",
    ]
    assert "|SEREonDINOagainstDINO|+1.0|1|" in lines


def test_page__fine_tunings_of_all_bases_are_one_sample_when_all_are_there(tmp_path: Path) -> None:
    """Differences of 1, 2 and 3, one per base; of the single relations nothing was fine-tuned."""
    title = "|SEREagainstitsbase,allbases|"
    for number, base in enumerate(("dino", "mocov3", "ibot"), start=1):
        write(tmp_path, "scenes", record(base, 0, 60.0, 40.0))
        for arm, value in ((base, 12.0), (f"{base}-sere", 12.0 + number)):
            write(tmp_path, "scenes", tuned(arm, 0, "mask-rcnn", {"box_ap": value}))
        lines = squeezed(evidence_page.page_text(tmp_path))
        finetuned = lines[lines.index("Fine-tuned:") :]
        own = [line for line in finetuned if "allbases" in line]
        assert own == ([f"{title}+2.0±2.5|3|"] if number == 3 else [])


def test_results__of_an_arm_that_has_no_frozen_features(tmp_path: Path) -> None:
    """RelViT's joint mode is a training with labels, compared with the same from random weights."""
    for seed in (0, 1):
        for arm, value in (("relvit-joint", 40.0), (RANDOM, 38.0)):
            write(tmp_path, "scenes", tuned(arm, seed, "labels-10", {"labels_10": value + seed}))
    text = evidence_page.page_text(tmp_path)
    lines = squeezed(text[text.index("## RelViT") :])
    assert "|RelViT|-|-|-|-|-|-|-|-|-|notrun|" in lines
    assert "|RelViT,joint|40.5±0.7|2|" in lines
    assert "|RelViT,jointagainstrandomweights|**+2.0±0.0**|2|" in lines
    assert sum(line.startswith("|RelViT,joint|") for line in lines) == 1


def test_pictures__a_row_per_arm_that_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, results = tmp_path / "drawn", tmp_path / "scenes"
    drawn.mkdir()
    for strip in ("Attention-photographs", *evidence_pictures.STRIPS):
        Image.new("RGB", (30, 10)).save(drawn / f"0123-{strip}.png")
    for arm in ("dino", "dino-sere"):
        write(tmp_path, "scenes", record(arm, 0, 60.0, 40.0))
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
    with pytest.raises(FileNotFoundError, match="has no ..Attention.png"):
        evidence_pictures.keep_pictures(tmp_path, results, "dino")


def test_page__needs_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no results; run some arms first"):
        evidence_page.write_page(tmp_path)


def test_page__is_that_of_the_committed_results() -> None:
    text = (ROOT / "docs" / "evidence-tables.md").read_text()
    assert evidence_page.page_text(RESULTS) == text
