"""The quickstart: what runs again, the report from runs' files, and a whole tiny run."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmrel.datasets.scenes import CLASSES
from mmrel.quickstart import plan as quickstart_plan
from mmrel.quickstart import report as quickstart_report
from mmrel.quickstart.plan import Options, Plan, backbone_options, shorter_schedule
from mmrel.quickstart.results import (
    Result,
    read_results,
    read_runs,
    thumbnail_accuracy,
    verdict,
)
from mmrel.quickstart.stages import StageRunner

ROOT = Path(__file__).parents[2]
CONFIG = Path("configs/quickstart/mocov3-sere_vit-tiny-p8_scenes.py")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "tools" / "quickstart.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(
        ROOT,
        tmp_path / "work",
        tmp_path / "scenes",
        CONFIG,
        num_train=20,
        num_val=10,
    )


def stages(plan: Plan) -> dict:
    return {stage.name: stage for stage in plan.stages()}


def test_plan__stages_in_order(options: Options) -> None:
    """What is pretrained goes first; the random detector needs the scenes alone and gives way meanwhile."""
    found = [(stage.name, stage.needs, stage.gives_way) for stage in Plan(options).stages()]
    assert found == [
        ("scenes", (), False),
        ("pretrain", ("scenes",), False),
        ("export", ("pretrain",), False),
        ("mask-rcnn-sere", ("export",), False),
        ("mask-rcnn-random", ("scenes",), True),
        ("linear-random", ("scenes",), False),
        ("linear-sere", ("export",), False),
    ]


@pytest.mark.parametrize(("cores", "at_once", "threads"), [(1, 1, 1), (2, 2, 1), (16, 2, 8)])
def test_plan__two_tasks_share_the_cores(
    options: Options, cores: int, at_once: int, threads: int
) -> None:
    plan = Plan(options)
    plan.cores = cores
    assert plan.at_once == at_once
    assert plan.pretrain.environment["OMP_NUM_THREADS"] == str(cores)
    assert plan.learn("linear", "random").environment["OMP_NUM_THREADS"] == str(threads)


def test_plan__a_changed_epoch_count_reruns_what_depends_on_it(options: Options) -> None:
    """Pretraining, export and the tasks on the backbone; the scenes and the random baselines stay."""
    first, second = stages(Plan(options)), stages(Plan(replace(options, epochs=99)))
    changed = {name for name in first if first[name].inputs != second[name].inputs}
    assert changed == {"pretrain", "export", "mask-rcnn-sere", "linear-sere"}
    other = stages(Plan(replace(options, seed=1)))
    assert {name for name in first if first[name].inputs == other[name].inputs} == {"scenes"}


def test_plan__commands(options: Options) -> None:
    """Short with the defaults; the random baseline differs from the other by its checkpoint alone."""
    default = stages(Plan(replace(options, data_root=ROOT / "data" / "scenes")))
    assert "data_root" not in default["pretrain"].line()
    assert default["pretrain"].command[:2] == (
        "tools/train.py",
        "configs/quickstart/mocov3-sere_vit-tiny-p8_scenes.py",
    )
    for task in ("mask-rcnn", "linear"):
        own, random = default[f"{task}-sere"].command, default[f"{task}-random"].command
        extra = set(own) - set(random)
        work = str(options.work_dir)
        assert extra == {
            f"model.backbone.init_cfg.checkpoint={work}/backbone.pth",
            f"{work}/{task}-sere",
        }
    moved = stages(Plan(options))
    assert f"data_root={options.data_root}/detection" in moved["mask-rcnn-random"].command


def test_plan__long_pretraining_evaluates_less_often(options: Options) -> None:
    command = Plan(replace(options, epochs=200)).pretrain.command
    assert "default_hooks.knn.interval=7" in command and "train_cfg.max_epochs=200" in command
    assert not any(
        "knn.interval" in part for part in Plan(replace(options, epochs=30)).pretrain.command
    )


def test_plan__configs_fit_together(options: Options) -> None:
    """The pretrained backbone is the one that both tasks build, frozen; the linear layer sees no more of it."""
    configs = Plan(options).configs
    own = configs["pretrain"].model.base.backbone
    for task in ("mask-rcnn", "linear"):
        other = configs[task].model.backbone
        assert (own.arch, own.patch_size) == (other.arch, other.patch_size)
        scheduler = configs[task].param_scheduler
        assert [s.type for s in scheduler] == ["LinearLR", "CosineAnnealingLR"]
        assert other.frozen_stages == own.arch["num_layers"]
    linear = configs["linear"].model
    assert linear.decode_head.num_convs == 0 and linear.auxiliary_head is None
    knn = configs["pretrain"].default_hooks.knn
    assert knn.at_start and tuple(knn.k) == (20,)
    assert shorter_schedule(2)["param_scheduler.1.T_max"] == 1


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (dict(), {}),
        (dict(with_cls_token=True, final_norm=True), {}),
        (
            dict(with_cls_token=False, final_norm=False),
            {"model.backbone.with_cls_token": False, "model.backbone.out_norm": "none"},
        ),
        (dict(with_cls_token=False), {"model.backbone.with_cls_token": False}),
    ],
)
def test_backbone_options__take_away_what_the_pretrained_one_lacks(
    backbone: dict, expected: dict
) -> None:
    for model in (dict(backbone=backbone), dict(base=dict(backbone=backbone))):
        assert backbone_options(Config(dict(model=model))) == expected


def test_plan__both_initialisations_build_the_pretrained_backbone(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pretraining without class token and final norm: so are the tasks' backbones, random ones too."""
    plan = Plan(options)
    changed = {name: Config(config.to_dict()) for name, config in plan.configs.items()}
    changed["pretrain"].model.base.backbone.update(with_cls_token=False, final_norm=False)
    monkeypatch.setattr(quickstart_plan, "load_configs", lambda root, pretraining: changed)
    for task in ("mask-rcnn", "linear"):
        for initialisation in plan.initialisations:
            command = plan.learn(task, initialisation).command
            assert "model.backbone.with_cls_token=False" in command
            assert "model.backbone.out_norm=none" in command


def test_find_method__by_the_first_word(tool: ModuleType) -> None:
    assert tool.find_method(tool.METHOD) == CONFIG


def test_main__unknown_method(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--method", "mim"]) == 1
    methods = "ibot-sere, mocov3-sere, relvit, selfpatch, sit."
    assert f"'mim'; there is one for: {methods}" in capsys.readouterr().err


def test_main__failing_stage_ends_with_code_1(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that holds somebody's own data is not overwritten."""
    mine = tmp_path / "scenes" / "detection" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    arguments = ["--data-root", str(tmp_path / "scenes"), "--work-dir", str(tmp_path / "work")]
    assert tool.main(arguments) == 1
    assert mine.exists()
    error = capsys.readouterr().err
    assert "make_scenes: error:" in error and "stage 'scenes' ended with code 1" in error


def write_scalars(folder: Path, records: list[dict]) -> None:
    path = folder / "20300101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(map(json.dumps, records)))


@pytest.fixture
def finished(options: Options) -> Plan:
    """A plan whose runs have left their numbers, but no checkpoints."""
    plan = Plan(options)
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for shade, name in enumerate(CLASSES):
            folder = options.data_root / "classification" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 20, (24, 24, 3)) + np.array(
                    [25 * shade, 250 - 25 * shade, 0]
                ).clip(0, 230)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")
    knn = [{"knn/top1_k20": 30.0 + 6 * e, "epoch": e, "step": 5 * e} for e in range(3)]
    losses = [{"loss": 9.0 - i, "loss_cls": 5.0 - i, "step": 5 * i} for i in range(1, 3)]
    write_scalars(plan.folder("pretrain"), [*knn, *losses])
    for name, bonus in (("sere", 0.05), ("random", 0.0)):
        box = {"coco/bbox_mAP": 0.20 + bonus, "coco/segm_mAP": 0.15 - bonus, "step": 2}
        write_scalars(plan.folder(f"mask-rcnn-{name}"), [{"loss": 3.0, "step": 1}, box])
        write_scalars(
            plan.folder(f"linear-{name}"),
            [{"loss": 2.0, "step": 1}, {"mIoU": 40 + 100 * bonus, "step": 2}],
        )
    runner = StageRunner(options.work_dir, ROOT, lambda stage, line: None)
    for stage in stages(plan).values():
        runner.write_stamp(stage, 75.0)
    return plan


def test_results__come_from_the_runs_files(finished: Plan) -> None:
    results = read_results(finished, read_runs(finished))
    table = [
        (r.name, round(r.pretrained, 1), round(r.random, 1), round(r.gain, 1)) for r in results
    ]
    assert table == [
        ("k-NN top-1", 42.0, 30.0, 12.0),
        ("box AP", 25.0, 20.0, 5.0),
        ("mask AP", 10.0, 15.0, -5.0),
        ("linear mIoU", 45.0, 40.0, 5.0),
    ]
    root = finished.options.data_root / "classification"
    assert results[0].thumbnail == thumbnail_accuracy(root)


def test_results__patches_of_the_frozen_network_where_there_are_masks(finished: Plan) -> None:
    runs = read_runs(finished)
    for record in runs["pretrain"]:
        if "knn/top1_k20" in record:
            record["knn/patch_miou"] = 20.0 + 3 * record["epoch"]
    found = read_results(finished, runs)[1]
    assert (found.name, found.pretrained, found.random) == ("patch k-NN mIoU", 26.0, 20.0)


def test_thumbnail_accuracy__equal_to_a_plain_loop(finished: Plan) -> None:
    """Cosine similarity to the mean-free training thumbnails; 20 neighbours vote with exp(similarity / 0.07)."""
    root = finished.options.data_root / "classification"
    files = {
        s: [(f, k) for k, c in enumerate(CLASSES) for f in sorted((root / s / c).glob("*"))]
        for s in ("train", "val")
    }
    pixels = {
        s: [np.asarray(Image.open(f).resize((16, 16), 4), float).ravel() for f, _ in v]
        for s, v in files.items()
    }
    mean = np.mean(pixels["train"], axis=0)
    unit = {s: [(p - mean) / np.linalg.norm(p - mean) for p in v] for s, v in pixels.items()}
    hits = 0
    for query, (_, label) in zip(unit["val"], files["val"], strict=True):
        ranked = sorted(
            ((query @ p, k) for p, (_, k) in zip(unit["train"], files["train"], strict=True)),
            reverse=True,
        )
        votes = np.zeros(len(CLASSES))
        for similarity, k in ranked[:20]:
            votes[k] += np.exp(similarity / 0.07)
        hits += int(votes.argmax() == label)
    assert thumbnail_accuracy(root) == pytest.approx(100 * hits / len(files["val"]))


def test_results__need_the_untrained_network(finished: Plan) -> None:
    runs = read_runs(finished)
    runs["pretrain"] = [record for record in runs["pretrain"] if record.get("epoch") != 0]
    with pytest.raises(ValueError, match="for epoch 0.*at_start=True"):
        read_results(finished, runs)


def test_verdict__says_plainly_where_it_is_not_ahead() -> None:
    good, bad = Result("k-NN top-1", 42.04, 30.0), Result("mIoU", 40.04, 40.0)
    assert verdict([good], "SERE") == (
        "SERE is ahead of random weights on k-NN top-1 (+12.0), in points.",
        True,
    )
    text, ahead = verdict([good, bad], "SERE")
    assert not ahead and text.startswith(
        "SERE is not ahead of random weights on mIoU (+0.0); it is ahead on k-NN"
    )


def test_summary__columns_fit_the_longest_name() -> None:
    results = [Result("box AP", 9.0, 10.0), Result("patch k-NN mIoU", 32.5, 29.3)]
    assert quickstart_report.summary(results, "SERE", Path("x.html")).splitlines()[:3] == [
        "                     SERE    random    gain",
        "box AP                9.0      10.0    -1.0",
        "patch k-NN mIoU      32.5      29.3    +3.2",
    ]


def test_report__table_commands_times_and_verdict(
    finished: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page from faked runs; the figures that need checkpoints are replaced."""
    png = finished.options.work_dir / "x.png"
    Image.new("RGB", (4, 4)).save(png)
    monkeypatch.setattr(quickstart_report, "_relation_part", lambda: [])
    monkeypatch.setattr(quickstart_report, "draw_relations", lambda plan: ())
    monkeypatch.setattr(quickstart_report, "draw_predictions", lambda plan: (png, png))
    runner = StageRunner(finished.options.work_dir, ROOT, lambda stage, line: None)
    summary = quickstart_report.write_report(finished, runner)
    page = (finished.options.work_dir / "report.html").read_text()
    assert (
        "SERE is not ahead of random weights on mask AP (-5.0)" in summary
        and 'class="verdict behind"' in page
    )
    assert (
        '<td class="number best">42.0</td><td class="number">30.0</td><td class="number">+12.0</td>'
        in page
    )
    assert "\N{MINUS SIGN}5.0" in page and "1:15" in page and "torch" in page
    for stage in stages(finished).values():
        assert stage.line() in page.replace("&#39;", "'")
    for name in ("pretraining.png", "tasks.png"):
        assert (finished.options.work_dir / name).is_file()


@pytest.mark.slow
def test_quickstart__whole_run_in_miniature(tmp_path: Path) -> None:
    """All stages for real; a second call repeats none of them."""
    command = [
        sys.executable,
        str(ROOT / "tools" / "quickstart.py"),
        "--epochs",
        "1",
        "--task-iters",
        "2",
    ]
    command += ["--num-train", "70", "--num-val", "20"]
    command += ["--data-root", str(tmp_path / "scenes"), "--work-dir", str(tmp_path / "work")]
    first = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    page = (tmp_path / "work" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5 and "random weights" in page
    for name in ("pretraining", "tasks", "relations", "detections", "segmentations"):
        assert min(Image.open(tmp_path / "work" / f"{name}.png").size) > 300
    second = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert second.returncode == 0 and second.stdout.count("already done") == 7
